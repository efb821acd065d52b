"""From a job resource to the spec file its trainer is started with."""

from pathlib import Path

from sqlmodel import Session

from local_platform.context import Platform
from local_platform.jobs.creation import EVALUATION_FILE, TRAIN_FILE
from local_platform.jobs.runs import work_directory
from local_platform.resources import get
from local_platform.tables import JobRow, ModelRow
from local_platform.training.spec import JobSpec

ADAPTER_FOLDER = "adapter"


def write_spec(platform: Platform, db: Session, job: JobRow, threads: int) -> Path:
    """Write `spec.json` into the job's folder; the same job gives the same bytes, so that a trainer can resume.

    Raises NotFound when a model it needs was deleted.
    """
    folder = work_directory(platform.home, job)
    body, base = job.body, get(db, ModelRow, job.body["_base"])
    warm_start = get(db, ModelRow, body["warmStartFrom"]) if body.get("warmStartFrom") else None
    evaluation = folder / EVALUATION_FILE
    spec = JobSpec(
        job=job.name,
        base_model_directory=Path(base.body["_directory"]),
        lora_alpha_ratio=float(base.body["localDetails"]["loraAlphaRatio"]),
        dataset_path=folder / TRAIN_FILE,
        evaluation_path=evaluation if evaluation.exists() else None,
        eval_auto_carveout=body["evalAutoCarveout"],
        output_directory=folder / ADAPTER_FOLDER,
        work_directory=folder,
        epochs=body["epochs"],
        learning_rate=body["learningRate"],
        learning_rate_warmup_steps=body["learningRateWarmupSteps"],
        gradient_accumulation_steps=body["gradientAccumulationSteps"],
        batch_size=body["batchSize"],
        batch_size_samples=body.get("batchSizeSamples"),
        lora_rank=body["loraRank"],
        max_context_length=body["maxContextLength"],
        optimizer_weight_decay=body["optimizerWeightDecay"],
        early_stop=body["earlyStop"],
        warm_start_directory=Path(warm_start.body["_directory"]) if warm_start else None,
        threads=threads,
        jinja_template=body.get("jinjaTemplate"),
        **body.get("_loss", {}),
    )
    path = folder / "spec.json"
    path.write_text(spec.model_dump_json(indent=2))
    return path
