"""Training tokens per CPU second: our trainer against TRL's SFTTrainer at equal loss.

    pip install -e .[bench]
    python -m benchmarks.trainer

The same base model, LoRA, rows, order of rows, rows per step, optimizer and schedule; float32; one thread; a process
per run, the trainers in turn. Only the training loop is timed: not imports, not tokenising. The losses must agree, or
the comparison is void and the script fails. TRL runs twice: as it comes (float32, gradient checkpointing on, its
default) and tuned for a model this small (checkpointing off). Two data sets: tickets whose rows share a system prompt,
which our trainer computes once per step, and the same tickets without it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import LOG_EVERY, RANK, SEED, Result, Runs, compare, describe_job, means, read_setting

ROWS_PER_STEP = 8
LEARNING_RATE = 1e-4


def run_ours(work: Path) -> Result:
    """The timed loop of local_platform.training."""
    from local_platform.training.data import load_data, load_tokenizer
    from local_platform.training.files import append_json_line
    from local_platform.training.forward import build_network
    from local_platform.training.loop import Loop, Outputs
    from local_platform.training.model import add_adapter, choose_device, load_base, prepare_process, vocabulary_size
    from local_platform.training.objective import CrossEntropy
    from local_platform.training.packing import Budget, Plan
    from local_platform.training.progress import Metrics, Progress
    from local_platform.training.signals import StopSignal

    spec = describe_job(work, learning_rate=LEARNING_RATE, batch_size_samples=ROWS_PER_STEP)
    run = spec.work_directory
    device, progress = choose_device(spec), Progress(run / "progress.json")
    prepare_process(spec, device)
    model = load_base(spec, device)
    rows, _ = load_data(spec, load_tokenizer(spec), vocabulary_size(model), progress)
    plan = Plan(rows.lengths, Budget(0, ROWS_PER_STEP), 1, spec.epochs, SEED)
    with (work / "ordered.jsonl").open("w") as file:
        texts = (work / "rows.jsonl").read_text().splitlines()
        for epoch in range(len(plan.epoch_ends())):
            for row in (row for step in plan.epoch_steps(epoch) for chosen in step for row in chosen):
                append_json_line(file, json.loads(texts[row]))
    network = build_network(add_adapter(model, spec), device)
    loop = Loop(spec, network, CrossEntropy(rows, device.device), plan, None)
    outputs = Outputs(progress, Metrics(run / "metrics.jsonl", 0), lambda _: None)
    stop, started = StopSignal(), time.process_time()
    loop.run(outputs, stop)
    seconds = time.process_time() - started
    outputs.metrics.close()
    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {"seconds": seconds, "tokens": plan.total_tokens(), "losses": means(losses)}


def run_trl(work: Path, *, checkpointing: bool) -> Result:
    """The timed SFTTrainer.train() on the rows in our order."""
    import torch
    from datasets import Dataset  # pyright: ignore[reportMissingImports] the bench extra
    from datasets.table import InMemoryTable  # pyright: ignore[reportMissingImports] the bench extra
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportMissingImports] the bench extra

    torch.set_num_threads(1)
    base, _, ratio = read_setting(work)
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows: list[dict[str, list[int]]] = []
    for line in (work / "ordered.jsonl").read_text().splitlines():
        encoded: Any = tokenizer.apply_chat_template(
            json.loads(line)["messages"], return_dict=True, return_assistant_tokens_mask=True
        )
        pairs = zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
        rows.append({"input_ids": encoded["input_ids"], "labels": [token if kept else -100 for token, kept in pairs]})
    torch.manual_seed(SEED)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=RANK, lora_alpha=int(ratio * RANK), target_modules="all-linear", task_type="CAUSAL_LM")
    arguments = SFTConfig(
        output_dir=str(work / "trl"),
        per_device_train_batch_size=ROWS_PER_STEP,
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="linear",
        max_length=None,
        bf16=False,
        gradient_checkpointing=checkpointing,
        logging_steps=LOG_EVERY,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=SEED,
    )
    trainer = SFTTrainer(
        model=get_peft_model(model, config),
        args=arguments,
        train_dataset=Dataset(InMemoryTable.from_pylist(rows), fingerprint="rows"),  # hashing fails on some pyarrow
        processing_class=tokenizer,
    )
    tokens = sum(len(row["input_ids"]) for row in rows)
    started = time.process_time()
    trainer.train()
    seconds = time.process_time() - started
    return {
        "seconds": seconds,
        "tokens": tokens,
        "losses": [e["loss"] for e in trainer.state.log_history if "loss" in e],
    }


RUNS: Runs = {
    "pilotlight": run_ours,
    "trl": lambda work: run_trl(work, checkpointing=True),
    "trl, tuned": lambda work: run_trl(work, checkpointing=False),
}


def choose_data(data: Path | None, count: int) -> dict[str, list[dict[str, Any]]]:
    """Rows by name of the data set."""
    from local_platform.basemodels.demo_data import generate_rows

    if data is not None:
        return {data.name: [json.loads(line) for line in data.read_text().splitlines()[:count]]}
    tickets = list(generate_rows(count, SEED))
    without = [{"messages": row["messages"][1:]} for row in tickets]
    return {"tickets with a system prompt": tickets, "tickets without one": without}


if __name__ == "__main__":
    sys.exit(compare("benchmarks.trainer", __doc__, RUNS, choose_data, 320))
