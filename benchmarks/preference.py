"""DPO tokens per CPU second: our trainer against TRL's DPOTrainer at equal loss.

    pip install -e .[bench]
    python -m benchmarks.preference

As benchmarks.trainer: the same base model, LoRA, pairs, order of pairs, pairs per step, optimizer and schedule;
float32; one thread; a process per run, the trainers in turn. Timed are the training loop and the reference model's
passes, which ours makes once before training and TRL in each step. Tokens are those of both conversations of each pair.
TRL runs twice: as it comes (gradient checkpointing on), and without checkpointing and with its reference passes made
beforehand, which count as well. It gets the pairs tokenised, with the answers ending where ours do.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import LOG_EVERY, RANK, SEED, Result, Row, Runs, compare, describe_job, means, read_setting

PAIRS_PER_STEP = 4
LEARNING_RATE = 3e-5
BETA = 0.1


def run_ours(work: Path) -> Result:
    """The timed reference and loop of local_platform.training."""
    from local_platform.training.clock import Clock
    from local_platform.training.data import load_tokenizer
    from local_platform.training.files import append_json_line
    from local_platform.training.forward import build_network
    from local_platform.training.loop import Loop, Outputs
    from local_platform.training.model import add_adapter, choose_device, load_base, prepare_process, vocabulary_size
    from local_platform.training.packing import Budget, Plan
    from local_platform.training.progress import Metrics, Progress
    from local_platform.training.signals import StopSignal
    from local_platform.training.task import read_task

    spec = describe_job(work, learning_rate=LEARNING_RATE, batch_size_samples=PAIRS_PER_STEP, method="DPO", beta=BETA)
    run = spec.work_directory
    device, progress = choose_device(spec), Progress(run / "progress.json")
    prepare_process(spec, device)
    model = load_base(spec, device)
    budget = Budget(0, PAIRS_PER_STEP)
    load_task = read_task(spec, load_tokenizer(spec), vocabulary_size(model), progress, budget)
    network, clock = build_network(add_adapter(model, spec), device), Clock()
    stop, started = StopSignal(), time.process_time()
    task = load_task(network, clock)
    plan = Plan(task.objective.lengths, budget, 1, spec.epochs, SEED)
    loop = Loop(spec, network, task.objective, plan, None, clock)
    outputs = Outputs(progress, Metrics(run / "metrics.jsonl", 0), lambda _: None)
    loop.run(outputs, stop)
    seconds = time.process_time() - started
    outputs.metrics.close()
    with (work / "order.json").open("w") as file:
        steps = [step for epoch in range(len(plan.epoch_ends())) for step in plan.epoch_steps(epoch)]
        append_json_line(file, [int(pair) for step in steps for chosen in step for pair in chosen])
    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {"seconds": seconds, "tokens": plan.total_tokens(), "losses": means(losses)}


def run_trl(work: Path, *, tuned: bool) -> Result:
    """The timed DPOTrainer on the pairs in our order."""
    import torch
    from datasets import Dataset  # pyright: ignore[reportMissingImports] the bench extra
    from datasets.table import InMemoryTable  # pyright: ignore[reportMissingImports] the bench extra
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer  # pyright: ignore[reportMissingImports] the bench extra

    class Prepared(DPOTrainer):  # pyright: ignore[reportUntypedBaseClass]
        """Takes pairs that are tokenised."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    torch.set_num_threads(1)
    base, _, ratio = read_setting(work)
    tokenizer = AutoTokenizer.from_pretrained(base)
    pairs = read_pairs(work, tokenizer)
    torch.manual_seed(SEED)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=RANK, lora_alpha=int(ratio * RANK), target_modules="all-linear", task_type="CAUSAL_LM")
    arguments = DPOConfig(
        output_dir=str(work / "trl"),
        per_device_train_batch_size=PAIRS_PER_STEP,
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="linear",
        beta=BETA,
        max_length=None,
        bf16=False,
        gradient_checkpointing=not tuned,
        precompute_ref_log_probs=tuned,
        logging_steps=LOG_EVERY,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=SEED,
    )
    dataset = Dataset(InMemoryTable.from_pylist(pairs), fingerprint="pairs")  # hashing fails on some pyarrow
    adapted, started = get_peft_model(model, config), time.process_time()
    trainer = Prepared(model=adapted, args=arguments, train_dataset=dataset, processing_class=tokenizer)
    trainer.train()
    seconds = time.process_time() - started
    return {
        "seconds": seconds,
        "tokens": sum(2 * len(p["prompt_ids"]) + len(p["chosen_ids"]) + len(p["rejected_ids"]) for p in pairs),
        "losses": [e["loss"] for e in trainer.state.log_history if "loss" in e],
    }


def read_pairs(work: Path, tokenizer: Any) -> list[dict[str, list[int]]]:
    """The pairs in our order, tokenised; an answer ends with its end-of-turn token."""
    rows = [json.loads(line) for line in (work / "rows.jsonl").read_text().splitlines()]
    pairs: list[dict[str, list[int]]] = []
    for index in json.loads((work / "order.json").read_text()):
        prompt = rows[index]["input"]["messages"]
        start = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
        pair = {"prompt_ids": start}
        for side, field in (("chosen_ids", "preferred_output"), ("rejected_ids", "non_preferred_output")):
            whole = tokenizer.apply_chat_template([*prompt, *rows[index][field]], return_dict=True)["input_ids"]
            end = len(whole) - whole[::-1].index(tokenizer.eos_token_id)
            pair[side] = whole[len(start) : end]
        pairs.append(pair)
    return pairs


RUNS: Runs = {
    "pilotlight": run_ours,
    "trl": lambda work: run_trl(work, tuned=False),
    "trl, tuned": lambda work: run_trl(work, tuned=True),
}


def choose_data(data: Path | None, count: int) -> dict[str, list[Row]]:
    """Pairs by name of the data set; generated ones prefer a ticket's own answer to another's."""
    from local_platform.basemodels.demo_data import generate_rows

    if data is not None:
        return {data.name: [json.loads(line) for line in data.read_text().splitlines()[:count]]}
    tickets = [row["messages"] for row in generate_rows(2 * count, SEED)]
    answers = [messages[-1] for messages in tickets]
    pairs = [
        {"messages": messages[:-1], "own": answer, "other": next(a for a in answers[index:] if a != answer)}
        for index, (messages, answer) in enumerate(zip(tickets[:count], answers, strict=False))
    ]
    return {
        name: [
            {
                "input": {"messages": pair["messages"][first:]},
                "preferred_output": [pair["own"]],
                "non_preferred_output": [pair["other"]],
            }
            for pair in pairs
        ]
        for name, first in (("tickets with a system prompt", 0), ("tickets without one", 1))
    }


if __name__ == "__main__":
    sys.exit(compare("benchmarks.preference", __doc__, RUNS, choose_data, 80))
