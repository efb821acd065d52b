"""The engine against plain transformers: same tokens, same probabilities, whoever shares the batch."""

import asyncio
import json
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from local_platform.serving.engine import MAX_ROWS, LocalEngine
from local_platform.serving.requests import Delta, GenerateRequest, Sampling
from local_platform.serving.targets import AdapterFailed
from pilotlight.errors import Internal, InvalidArgument, NotFound, ResourceExhausted, Unavailable

Run = Callable[[LocalEngine, Sequence[GenerateRequest]], list[Delta]]
Continue = Callable[[Any, Sequence[int], int], list[int]]
NAMES = (None, "one", "two", "three")
GREEDY = Sampling(temperature=0)


def prompt_of(length: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(
        torch.randint(3, 300, (length,), generator=torch.Generator().manual_seed(1000 * seed + length)).tolist()
    )


def greedy(prompt: tuple[int, ...], count: int, adapter: str | None = None, **extra: Any) -> GenerateRequest:
    return GenerateRequest(prompt, count, adapter, GREEDY, ignore_eos=True, top_logprobs=0, **extra)


def ids(delta: Delta) -> list[int]:
    return [token.id for token in delta.tokens]


def test_mixed_batch_equals_generate_on_merged_models(
    engine: LocalEngine, references: dict[str | None, Any], run: Run, continue_greedily: Continue
) -> None:
    requests = [greedy(prompt_of(length), 24, name) for length in (1, 7, 40) for name in NAMES]
    seen: set[int] = set()
    for request, delta in zip(requests, run(engine, requests), strict=True):
        expected = continue_greedily(references[request.adapter], request.prompt_ids, 24)
        assert ids(delta) == expected
        assert (delta.finish_reason, delta.sampled) == ("length", 24)
        seen |= set(expected)
    assert len(seen) > 30, "the models repeat themselves: the comparison would show little"


@pytest.mark.parametrize("name", NAMES)
def test_batch_of_one_kind_equals_generate(
    engine: LocalEngine, references: dict[str | None, Any], run: Run, continue_greedily: Continue, name: str | None
) -> None:
    requests = [greedy(prompt_of(length, 1), 10, name) for length in (3, 30)]
    for request, delta in zip(requests, run(engine, requests), strict=True):
        assert ids(delta) == continue_greedily(references[name], request.prompt_ids, 10)


def test_live_merge_equals_generate_on_merged_model(
    tiny_checkpoint: Path,
    adapters: dict[str, Path],
    references: dict[str | None, Any],
    run: Run,
    continue_greedily: Continue,
) -> None:
    engine = LocalEngine(tiny_checkpoint, "cpu", merged_adapter=adapters["two"])
    (delta,) = run(engine, [greedy(prompt_of(9), 16)])
    engine.close()
    assert ids(delta) == continue_greedily(references["two"], prompt_of(9), 16)


def test_long_prompt_in_chunks_equals_generate(
    engine: LocalEngine, references: dict[str | None, Any], run: Run, continue_greedily: Continue
) -> None:
    requests = [greedy(prompt_of(900), 8), greedy(prompt_of(5), 8)]
    for request, delta in zip(requests, run(engine, requests), strict=True):
        assert ids(delta) == continue_greedily(references[None], request.prompt_ids, 8)


def test_rows_join_and_leave_a_running_batch(
    engine: LocalEngine, references: dict[str | None, Any], continue_greedily: Continue
) -> None:
    """Later requests finish first, and nobody's tokens change by the company."""

    async def scenario() -> tuple[list[int], list[int], list[int]]:
        first = engine.generate([greedy(prompt_of(4), 120, "one")])
        got = [token.id for token in (await anext(first)).tokens]
        order: list[int] = []

        async def later(length: int) -> list[int]:
            (delta,) = [d async for d in engine.generate([replace(greedy(prompt_of(length), 12), incremental=False)])]
            order.append(length)
            return ids(delta)

        tasks = [asyncio.create_task(later(length)) for length in (60, 2)]
        async for delta in first:
            got += ids(delta)
        order.append(4)
        return got, order, [await task for task in tasks][1]

    got, order, short = asyncio.run(scenario())
    assert got == continue_greedily(references["one"], prompt_of(4), 120)
    assert short == continue_greedily(references[None], prompt_of(2), 12)
    assert order[-1] == 4


def test_more_requests_than_slots_all_finish(engine: LocalEngine, run: Run) -> None:
    requests = [greedy(prompt_of(3, seed), 5, NAMES[seed % 4]) for seed in range(3 * MAX_ROWS)]
    deltas = run(engine, requests)
    assert all(delta.sampled == 5 for delta in deltas)
    assert engine.active == 0


def test_seed_decides_alone(engine: LocalEngine, run: Run) -> None:
    def drawn(seed: str) -> GenerateRequest:
        return GenerateRequest(prompt_of(6), 30, None, Sampling(seed=seed), ignore_eos=True, top_logprobs=0)

    (alone,) = run(engine, [drawn("a")])
    crowd = run(engine, [greedy(prompt_of(50), 10, "one"), drawn("b"), drawn("a"), drawn("c")])
    assert ids(alone) == ids(crowd[2])
    assert ids(crowd[1]) != ids(crowd[3])


def test_samples_follow_the_distribution(engine: LocalEngine, references: dict[str | None, Any], run: Run) -> None:
    """2,000 draws: each frequency within five standard errors of the model's own probability."""
    count = 2000
    probabilities = references[None](torch.tensor([list(prompt_of(6))])).logits[0, -1].softmax(-1)
    hits = torch.zeros_like(probabilities)
    for start in range(0, count, 500):
        draws = [
            GenerateRequest(prompt_of(6), 1, None, Sampling(seed=str(i)), ignore_eos=True, top_logprobs=0)
            for i in range(start, start + 500)
        ]
        for delta in run(engine, draws):
            hits[ids(delta)[0]] += 1
    error = (probabilities * (1 - probabilities) / count).sqrt()
    assert bool(((hits / count - probabilities).abs() <= 5 * error + 2 / count).all())


@pytest.mark.parametrize("name", NAMES)
def test_logprobs_equal_a_forward_pass(
    engine: LocalEngine, references: dict[str | None, Any], run: Run, name: str | None
) -> None:
    prompt = prompt_of(20)
    request = GenerateRequest(prompt, 10, name, Sampling(temperature=0.7, seed="s"), (), True, 5, 0)
    delta, _ = run(engine, [request, greedy(prompt_of(70), 3, "three")])
    whole = [*prompt, *ids(delta)]
    table = references[name](torch.tensor([whole])).logits[0].log_softmax(-1)
    tokens = [*delta.prompt_tokens, *delta.tokens]
    assert [token.id for token in tokens] == whole
    assert tokens[0].logprob is None
    for place, token in enumerate(tokens[1:], start=1):
        assert token.logprob == pytest.approx(float(table[place - 1, token.id]), abs=2e-4)
        values, order = table[place - 1].topk(5)
        assert [value for _, value in token.top] == pytest.approx(values.tolist(), abs=2e-4)
        assert token.top[0][0] == int(order[0])


def test_score_equals_a_forward_pass(engine: LocalEngine, references: dict[str | None, Any]) -> None:
    prompt, continuation = prompt_of(600), prompt_of(7, 3)
    table = references["two"](torch.tensor([[*prompt, *continuation]])).logits[0].log_softmax(-1)
    expected = [float(table[len(prompt) - 1 + i, token]) for i, token in enumerate(continuation)]
    assert asyncio.run(engine.score(prompt, continuation, "two")) == pytest.approx(expected, abs=3e-4)


def test_end_token_ends_and_ignore_eos_does_not(engine: LocalEngine, run: Run) -> None:
    end = engine.vocabulary.tokenizer.eos_token_id
    forced = Sampling(temperature=0, logit_bias={end: 100.0})
    ends, runs = run(
        engine,
        [
            GenerateRequest(prompt_of(4), 9, None, forced, top_logprobs=0),
            GenerateRequest(prompt_of(4), 9, None, forced, ignore_eos=True, top_logprobs=0),
        ],
    )
    assert (ends.finish_reason, ends.text, ends.tokens, ends.sampled) == ("stop", "", [], 1)
    assert (runs.finish_reason, runs.sampled) == ("length", 9)


def test_stop_string_ends_the_text_before_it(engine: LocalEngine, run: Run) -> None:
    (whole,) = run(engine, [greedy(prompt_of(8), 60)])
    stop = whole.text[10:13]
    (cut,) = run(engine, [greedy(prompt_of(8), 60, stop=(stop,))])
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.sampled < whole.sampled
    assert engine.vocabulary.decode(ids(cut)).startswith(cut.text)


def test_frequency_penalty_forbids_repeats(engine: LocalEngine, run: Run) -> None:
    heavy = Sampling(temperature=0, frequency_penalty=2.0, presence_penalty=2.0, logit_bias={40: 3.0, 41: 3.0})
    plain = replace(heavy, frequency_penalty=0.0, presence_penalty=0.0)
    free, held = run(engine, [GenerateRequest(prompt_of(5), 40, None, s, (), True, 0) for s in (plain, heavy)])
    assert len(set(ids(held))) > len(set(ids(free)))


def test_cancel_frees_the_slots(engine: LocalEngine) -> None:
    async def scenario() -> None:
        stream = engine.generate([greedy(prompt_of(4), 900, seed) for seed in ("one", "two", None)])
        await anext(stream)
        assert engine.active == 3
        stream.cancel()

    asyncio.run(scenario())
    deadline = time.monotonic() + 10
    while engine.active and time.monotonic() < deadline:
        time.sleep(0.01)
    assert engine.active == 0


def test_full_queue_refuses_all_or_nothing(tiny_checkpoint: Path) -> None:
    engine = LocalEngine(tiny_checkpoint, "cpu", max_waiting=4)

    async def scenario() -> None:
        with pytest.raises(ResourceExhausted, match="saturated"):
            engine.generate([greedy(prompt_of(4), 5)] * 5)
        assert engine.active == 0
        assert len([d async for d in engine.generate([replace(greedy(prompt_of(4), 5), incremental=False)] * 4)]) == 4

    asyncio.run(scenario())
    engine.close()


@pytest.mark.parametrize(
    ("request_", "error", "text"),
    [
        (GenerateRequest((), 1), InvalidArgument, "empty"),
        (GenerateRequest((5,), 1024), InvalidArgument, "context length"),
        (GenerateRequest((5, 100_000), 1), InvalidArgument, "vocabulary"),
        (GenerateRequest((-1,), 1), InvalidArgument, "vocabulary"),
        (GenerateRequest((5,), 1, None, Sampling(logit_bias={100_000: 1.0})), InvalidArgument, "vocabulary"),
        (GenerateRequest((5,), 1, "unheard-of"), NotFound, "unheard-of"),
    ],
)
def test_bad_requests_are_refused(
    engine: LocalEngine, run: Run, request_: GenerateRequest, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        run(engine, [request_])


def test_adapter_loads_and_unloads_while_it_serves(
    tiny_checkpoint: Path,
    adapters: dict[str, Path],
    run: Run,
    references: dict[str | None, Any],
    continue_greedily: Continue,
) -> None:
    engine = LocalEngine(tiny_checkpoint, "cpu")

    async def scenario() -> list[int]:
        long = engine.generate([greedy(prompt_of(4), 120)])
        got = ids(await anext(long))
        await asyncio.to_thread(engine.load_adapter, "x", adapters["one"])
        user = engine.generate([replace(greedy(prompt_of(6), 30, "x"), incremental=False)])
        engine.unload_adapter("x")
        assert engine.adapters == frozenset()
        with pytest.raises(NotFound):
            engine.generate([greedy(prompt_of(6), 1, "x")])
        assert ids(await anext(user)) == continue_greedily(references["one"], prompt_of(6), 30)
        await asyncio.to_thread(engine.load_adapter, "x", adapters["two"])
        (again,) = [d async for d in engine.generate([replace(greedy(prompt_of(6), 30, "x"), incremental=False)])]
        assert ids(again) == continue_greedily(references["two"], prompt_of(6), 30)
        async for delta in long:
            got += ids(delta)
        return got

    assert asyncio.run(scenario()) == continue_greedily(references[None], prompt_of(4), 120)
    engine.load_adapter("x", adapters["two"])
    with pytest.raises(InvalidArgument, match="Another adapter"):
        engine.load_adapter("x", adapters["one"])
    engine.unload_adapter("x")
    with pytest.raises(NotFound):
        engine.unload_adapter("x")
    (after,) = run(engine, [greedy(prompt_of(6), 30)])
    assert ids(after) == continue_greedily(references[None], prompt_of(6), 30)
    engine.close()


def test_broken_adapters_are_refused_and_harm_nothing(
    tiny_checkpoint: Path,
    adapters: dict[str, Path],
    tmp_path: Path,
    run: Run,
    references: dict[str | None, Any],
    continue_greedily: Continue,
) -> None:
    def variant(name: str, **config: Any) -> Path:
        shutil.copytree(adapters["one"], tmp_path / name)
        path = tmp_path / name / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | config))
        return tmp_path / name

    truncated = variant("truncated")
    weights = truncated / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    broken = [
        tmp_path / "absent",
        truncated,
        variant("rank", r=5),
        variant("dora", use_dora=True),
        variant("kind", peft_type="IA3"),
        variant("layers", target_modules=["no_such_layer"]),
    ]
    engine = LocalEngine(tiny_checkpoint, "cpu")
    for already in (False, True):
        if already:
            engine.load_adapter("good", adapters["two"])
        for directory in broken:
            with pytest.raises(AdapterFailed):
                engine.load_adapter("bad", directory)
        assert engine.adapters == (frozenset({"good"}) if already else frozenset())
        (delta,) = run(engine, [greedy(prompt_of(6), 10)])
        assert ids(delta) == continue_greedily(references[None], prompt_of(6), 10)
    engine.close()


def test_a_failed_step_fails_its_rows_and_leaves_the_engine_running(
    tiny_checkpoint: Path, run: Run, references: dict[str | None, Any], continue_greedily: Continue
) -> None:
    engine = LocalEngine(tiny_checkpoint, "cpu")
    layer = engine._weights._base.model.layers[0].mlp.up_proj  # pyright: ignore[reportPrivateUsage]
    intact = layer.weight.data
    layer.weight.data = intact[:, :3]
    with pytest.raises(Internal, match="RuntimeError"):
        run(engine, [greedy(prompt_of(4), 5), greedy(prompt_of(5), 5)])
    layer.weight.data = intact
    assert engine.active == 0
    (delta,) = run(engine, [greedy(prompt_of(4), 5)])
    assert ids(delta) == continue_greedily(references[None], prompt_of(4), 5)
    engine.close()


def test_close_ends_what_runs_and_refuses_more(tiny_checkpoint: Path) -> None:
    engine = LocalEngine(tiny_checkpoint, "cpu")

    async def scenario() -> None:
        stream = engine.generate([greedy(prompt_of(4), 1000)])
        await anext(stream)
        threading.Thread(target=engine.close).start()
        with pytest.raises(Unavailable):
            async for _ in stream:
                pass
        with pytest.raises(Unavailable):
            engine.generate([greedy(prompt_of(4), 1)])

    asyncio.run(scenario())
    engine.close()
