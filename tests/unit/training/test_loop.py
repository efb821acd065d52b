"""The run as a whole, in this process: weights, accumulation, evaluation, early stop, warm start, carve-out."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from local_platform.training.carveout import carve_out
from local_platform.training.rows import Example, RowsBuilder
from local_platform.training.spec import JobSpec
from pilotlight.errors import FailedPrecondition, InvalidArgument, PilotlightError
from tests.fixtures.training import (
    SpecMaker,
    adapter_of,
    byte_tokenizer,
    chat,
    colours,
    losses_of,
    metrics_of,
    write_rows,
)

Run = Callable[[JobSpec], dict[str, Any]]


def evaluations_of(spec: JobSpec) -> list[tuple[int, float]]:
    return [(row["step"], row["evalLoss"]) for row in metrics_of(spec) if "evalLoss" in row]


def assert_same_adapter(left: JobSpec, right: JobSpec) -> None:
    """Equal to the last bit."""
    ours, theirs = adapter_of(left), adapter_of(right)
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_learns_and_reports(make_spec: SpecMaker, run: Run) -> None:
    evaluation = write_rows(make_spec("eval").work_directory / "rows.jsonl", colours(8, start=100))
    spec = make_spec(epochs=2.5, evaluation_path=evaluation, eval_interval_steps=2)
    progress = run(spec)
    rows = [row for row in metrics_of(spec) if "loss" in row]
    total = progress["totalSteps"]
    assert [row["step"] for row in rows] == list(range(1, total + 1))
    assert rows[-1]["epoch"] == 2.5
    assert rows[-1]["tokens"] == progress["tokens"]
    assert 0 < progress["trainedTokens"] < progress["tokens"]
    steps = [step for step, _ in evaluations_of(spec)]
    assert steps[0] == 0
    assert steps[-1] == total
    assert set(range(2, total, 2)) <= set(steps)
    losses = dict(evaluations_of(spec))
    assert progress["evalLoss"] == min(loss for step, loss in losses.items() if step) < losses[0] - 0.5
    assert (progress["state"], progress["percent"], progress["etaSeconds"]) == ("COMPLETED", 100.0, 0.0)
    ends = {row["epoch"]: row["evalLoss"] for row in metrics_of(spec) if "evalLoss" in row}
    assert progress["epochLosses"] == {"1": ends[1.0], "2": ends[2.0], "2.5": ends[2.5]}


def test_the_published_adapter_gives_the_reported_loss(make_spec: SpecMaker, run: Run) -> None:
    """Loaded by PEFT onto the plain model, measured by the model's own loss."""
    held_out = colours(8, start=100)
    evaluation = write_rows(make_spec("eval").work_directory / "rows.jsonl", held_out)
    spec = make_spec(epochs=2, evaluation_path=evaluation)
    reported = run(spec)["evalLoss"]
    tokenizer = byte_tokenizer()
    base = AutoModelForCausalLM.from_pretrained(spec.base_model_directory)
    plain = PeftModel.from_pretrained(base, str(spec.output_directory))
    total = count = 0.0
    by_row: list[float] = []
    for row in held_out:
        encoded: Any = tokenizer.apply_chat_template(
            row["messages"], return_dict=True, return_assistant_tokens_mask=True, return_tensors="pt"
        )
        ids, kept = encoded["input_ids"], encoded["assistant_masks"].bool()
        with torch.no_grad():
            loss = plain(input_ids=ids, labels=ids.masked_fill(~kept, -100)).loss
        total, count = total + loss.item() * int(kept.sum()), count + int(kept.sum())
        by_row.append(loss.item() * int(kept.sum()))
    assert reported == pytest.approx(total / count, abs=1e-5)
    kept_rows = json.loads((spec.work_directory / "heldout_losses.json").read_text())
    assert kept_rows["tuned"] == pytest.approx(by_row, abs=1e-4)
    assert sum(kept_rows["tokens"]) == count
    assert sum(kept_rows["base"]) / count == pytest.approx(dict(evaluations_of(spec))[0], abs=1e-5)


def test_two_runs_are_equal_to_the_last_bit_and_another_seed_is_not(make_spec: SpecMaker, run: Run) -> None:
    one, two, other = make_spec("one"), make_spec("two"), make_spec("other", seed=43)
    for spec in (one, two, other):
        run(spec)
    assert losses_of(one) == losses_of(two) != losses_of(other)
    assert_same_adapter(one, two)


def test_accumulation_equals_a_larger_pass(make_spec: SpecMaker, run: Run) -> None:
    one = make_spec("one", batch_size_samples=8, epochs=2)
    four = make_spec("four", batch_size_samples=2, gradient_accumulation_steps=4, epochs=2)
    run(one)
    run(four)
    assert losses_of(four) == pytest.approx(losses_of(one), abs=1e-4)


def test_a_message_of_weight_0_is_as_if_it_were_prompt(make_spec: SpecMaker, run: Run) -> None:
    def rows(second: str, weight: int) -> list[dict[str, Any]]:
        turns = chat("one?", "red")["messages"] + chat("two?", second)["messages"]
        turns[3]["weight"] = weight
        return [{"messages": turns}] * 4

    ignored, other, trained = (
        make_spec("a", rows("blue", 0)),
        make_spec("b", rows("gold", 0)),
        make_spec("c", rows("blue", 1)),
    )
    for spec in (ignored, other, trained):
        run(spec)
    assert_same_adapter(ignored, other)
    assert losses_of(ignored) != losses_of(trained)


def test_sample_weights_multiply_the_loss(make_spec: SpecMaker, run: Run) -> None:
    def weighted(weight: float) -> list[dict[str, Any]]:
        return [row | {"weight": weight} for row in colours(8)]

    first: dict[float, float] = {}
    for weight in (1.0, 0.5, 3.0, -1.0):
        spec = make_spec(f"w{weight}", weighted(weight), batch_size_samples=8)
        run(spec)
        first[weight] = losses_of(spec)[0]
    assert first[0.5] == pytest.approx(0.5 * first[1.0], rel=1e-5)
    assert first[3.0] == pytest.approx(3 * first[1.0], rel=1e-5)
    assert first[-1.0] == pytest.approx(-first[1.0], rel=1e-5)


def test_rows_of_sample_weight_0_are_as_if_absent(make_spec: SpecMaker, run: Run) -> None:
    kept = [row | {"weight": 1.0} for row in colours(8)]
    ignored = [row | {"weight": 0.0} for row in colours(8, start=50)]
    without, among = make_spec("without", kept), make_spec("among", [*kept, *ignored])
    run(without)
    run(among)
    assert_same_adapter(without, among)


def test_a_negative_weight_makes_the_answer_less_likely(make_spec: SpecMaker, run: Run) -> None:
    rows = [chat("colour?", "red", weight=-1.0), chat("colour?", "blue", weight=1.0)] * 4
    spec = make_spec(rows=rows, epochs=6, batch_size_samples=8, learning_rate=1e-3)
    run(spec)
    red = write_rows(spec.work_directory / "red.jsonl", [chat("colour?", "red")] * 3)
    judged = make_spec(
        "judge", epochs=1, learning_rate=1e-12, warm_start_directory=spec.output_directory, evaluation_path=red
    )
    run(judged)
    first = metrics_of(judged)[0]
    assert first["warmStartEvalLoss"] > first["evalLoss"] + 1


def test_early_stop_after_an_epoch_without_improvement(make_spec: SpecMaker, run: Run) -> None:
    """The evaluation set contradicts the training set, so training can only make it worse."""
    names = {"red": "blue", "green": "red", "blue": "dark violet", "dark violet": "green"}
    wrong = colours(12)
    for row in wrong:
        row["messages"][1]["content"] = names[row["messages"][1]["content"]]
    evaluation = write_rows(make_spec("eval").work_directory / "rows.jsonl", wrong)
    fields = {"epochs": 30.0, "evaluation_path": evaluation, "batch_size_samples": 4, "learning_rate": 2e-3}
    spec = make_spec(rows=colours(12), early_stop=True, **fields)
    progress = run(spec)
    assert progress["state"] == "EARLY_STOPPED"
    assert progress["step"] < progress["totalSteps"]
    losses = evaluations_of(spec)
    *before, last = [loss for _, loss in losses]
    assert last >= min(before), "the last epoch improved nothing"
    assert all(b < min(losses[: i + 1], key=lambda e: e[1])[1] for i, (_, b) in enumerate(losses[1:-1]))
    trained = [loss for step, loss in losses if step]
    assert progress["evalLoss"] == min(trained)


def test_the_best_adapter_is_published_not_the_last(make_spec: SpecMaker, run: Run) -> None:
    rows = colours(8)
    noise = write_rows(make_spec("eval").work_directory / "rows.jsonl", [chat(f"item {i}", "red") for i in range(6)])
    spec = make_spec(rows=rows, epochs=12, batch_size_samples=4, learning_rate=3e-3, evaluation_path=noise)
    progress = run(spec)
    losses = [(loss, step) for step, loss in evaluations_of(spec) if step]
    best, step = min(losses)
    assert step != progress["totalSteps"], "the case must be real"
    assert progress["evalLoss"] == best
    again = make_spec(
        "again", epochs=1, learning_rate=1e-12, warm_start_directory=spec.output_directory, evaluation_path=noise
    )
    run(again)
    assert metrics_of(again)[0]["warmStartEvalLoss"] == pytest.approx(best, abs=1e-6)


def test_warm_start_goes_on_from_the_adapter(make_spec: SpecMaker, run: Run) -> None:
    first = make_spec("first", epochs=3)
    run(first)
    second = make_spec("second", epochs=1, warm_start_directory=first.output_directory)
    run(second)
    assert losses_of(second)[0] < losses_of(first)[0] - 0.5


def test_the_carve_out_keeps_equal_rows_together_whatever_their_order() -> None:
    def build(order: list[int]) -> Any:
        builder = RowsBuilder()
        for position, content in enumerate(order):
            builder.add(Example([1, content % 40, 2], [(1, 3)], 1.0, position, position + 1))
        return builder.build()

    order = list(range(120))
    training, held_out = carve_out(build(order))
    assert held_out is not None
    assert 1 <= len(held_out) <= 12
    assert len(training) + len(held_out) == 120
    contents = {int(row) % 40 for row in held_out.row}
    assert contents.isdisjoint({int(row) % 40 for row in training.row})
    reversed_order = order[::-1]
    _, again = carve_out(build(reversed_order))
    assert again is not None
    assert {reversed_order[int(row)] % 40 for row in again.row} == contents


def test_examples_of_one_row_stay_together() -> None:
    builder = RowsBuilder()
    for row in range(30):
        for turn in range(3):
            builder.add(Example([1, row, turn, 2], [(1, 4)], 1.0, row, row + 1))
    training, held_out = carve_out(builder.build())
    assert held_out is not None
    assert set(training.row.tolist()).isdisjoint(held_out.row.tolist())
    assert len(np.unique(held_out.row)) == 3


def test_the_carve_out_evaluates(make_spec: SpecMaker, run: Run) -> None:
    spec = make_spec(rows=colours(40), eval_auto_carveout=True, epochs=2)
    assert run(spec)["evalLoss"] < evaluations_of(spec)[0][1]


def test_equal_rows_cannot_be_carved_out(make_spec: SpecMaker, run: Run) -> None:
    spec = make_spec(rows=[chat("a", "b")] * 5, eval_auto_carveout=True)
    assert run(spec)["evalLoss"] is None


def test_the_evaluation_loss_of_the_base_is_that_of_an_untrained_adapter(make_spec: SpecMaker, run: Run) -> None:
    """A fresh adapter adds nothing: chance on a random model is about log(vocabulary)."""
    spec = make_spec(eval_auto_carveout=True)
    run(spec)
    assert evaluations_of(spec)[0][1] == pytest.approx(math.log(259), abs=1.5)


def test_render_samples_have_the_documented_fields(make_spec: SpecMaker, run: Run) -> None:
    spec = make_spec(rows=[row | {"weight": 2.0} for row in colours(30)])
    run(spec)
    samples = [json.loads(line) for line in (spec.work_directory / "render_samples.jsonl").read_text().splitlines()]
    assert len(samples) == 20
    assert set(samples[0]) == {
        "source_jsonl_row_index", "source_jsonl_line_number", "split_index", "worker_id", "renderer", "train_on_what",
        "token_ids", "decoded_tokens", "token_weights", "training_target_token_ids", "training_loss_weights",
    }  # fmt: skip
    for index, sample in enumerate(samples):
        assert (sample["source_jsonl_row_index"], sample["source_jsonl_line_number"]) == (index, index + 1)
        assert sample["train_on_what"] == "all_assistant_messages"
        assert sample["training_target_token_ids"] == sample["token_ids"][1:]
        assert sample["training_loss_weights"] == sample["token_weights"][1:]
        trained = [t for t, w in zip(sample["decoded_tokens"], sample["token_weights"], strict=True) if w == 2.0]
        assert "".join(trained) == colours(30)[index]["messages"][1]["content"] + "<|im_end|>"


def fail(run: Run, spec: JobSpec) -> PilotlightError:
    with pytest.raises(PilotlightError) as caught:
        run(spec)
    assert not spec.output_directory.exists()
    return caught.value


def test_no_trainable_token(make_spec: SpecMaker, run: Run) -> None:
    error = fail(run, make_spec(rows=[{"messages": [{"role": "user", "content": "hi"}]}] * 3))
    assert isinstance(error, InvalidArgument)
    assert "No row of job.jsonl has a token to train on." in str(error)


def test_rows_longer_than_the_context_train_on_nothing_and_are_counted(
    make_spec: SpecMaker, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    long = chat("x" * 200, "red")
    spec = make_spec(rows=[*colours(4), long], max_context_length=100)
    run(spec)
    assert "1 of 5 rows train on nothing and are left out; lines 5" in caplog.text
    assert "begins within the context length" in str(fail(run, make_spec("b", [long] * 3, max_context_length=100)))


def test_a_context_beyond_the_models(make_spec: SpecMaker, run: Run) -> None:
    error = fail(run, make_spec(max_context_length=1024))
    assert str(error) == "maxContextLength 1024 is more than the base model's context of 512 tokens."


def test_a_tokenizer_of_another_model(make_spec: SpecMaker, run: Run, tmp_path: Path) -> None:
    small = Qwen3Config(
        vocab_size=200,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
    )
    Qwen3ForCausalLM(small).save_pretrained(tmp_path / "small")
    byte_tokenizer().save_pretrained(tmp_path / "small")
    error = fail(run, make_spec(base_model_directory=tmp_path / "small"))
    assert str(error).startswith("Line 1: token id 257 is outside the model's vocabulary of 200")


def test_a_broken_line_is_named(make_spec: SpecMaker, run: Run) -> None:
    spec = make_spec()
    spec.dataset_path.write_text(spec.dataset_path.read_text() + "{broken\n")
    assert "line 25" in str(fail(run, spec))


def test_an_image_is_named_with_its_line(make_spec: SpecMaker, run: Run) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    rows = [*colours(3), {"messages": [{"role": "user", "content": [part]}, {"role": "assistant", "content": "a"}]}]
    assert "Line 4: Content parts of type 'image_url'" in str(fail(run, make_spec(rows=rows)))


def test_early_stop_needs_something_to_evaluate(make_spec: SpecMaker, run: Run) -> None:
    assert "needs an evaluation dataset" in str(fail(run, make_spec(early_stop=True)))


def test_a_folder_without_a_model(make_spec: SpecMaker, run: Run, tmp_path: Path) -> None:
    error = fail(run, make_spec(base_model_directory=tmp_path / "nothing"))
    assert isinstance(error, FailedPrecondition)
    assert "no config.json" in str(error)


def test_divergence_is_a_failure(make_spec: SpecMaker, run: Run) -> None:
    assert "diverged" in str(fail(run, make_spec(learning_rate=1.0, lora_alpha_ratio=1e30, epochs=5)))


def test_a_warm_start_of_another_rank(make_spec: SpecMaker, run: Run) -> None:
    first = make_spec("first")
    run(first)
    second = make_spec("second", lora_rank=4, warm_start_directory=first.output_directory)
    assert "has rank 8 and scale 16; this job asks for rank 4" in str(fail(run, second))


def test_a_warm_start_that_is_no_adapter(make_spec: SpecMaker, run: Run, tmp_path: Path) -> None:
    assert "cannot be read" in str(fail(run, make_spec(warm_start_directory=tmp_path / "nothing")))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(make_spec: SpecMaker, run: Run) -> None:
    assert "no usable CUDA device" in str(fail(run, make_spec(device="cuda")))
