"""One fine-tuning job as a process of its own: `python -m local_platform.training <work_dir>/spec.json`.

Reads a JobSpec, writes progress.json, metrics.jsonl, render_samples.jsonl, trainer.log and checkpoints/ into the work
directory and, at the end, a PEFT adapter into the output directory. Nothing here knows of HTTP, accounts or schedulers.

Exit status: 0 completed or early stopped; 1 a defect or the machine failed; 2 the job cannot be done as asked (both
leave progress.json FAILED with a message); 143 SIGTERM, with a checkpoint from which the same command goes on.
"""
