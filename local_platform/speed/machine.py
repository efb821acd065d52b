"""What this machine is, told without importing torch: its accelerator, and what speed depends on."""

import os
import platform
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path

_GPUS = Path("/proc/driver/nvidia/gpus")


@cache
def accelerator() -> str:
    """`CPU`, or the model of the first GPU where the installed torch can use one, such as `NVIDIA_H200`."""
    models = [_field(path / "information", "Model") for path in sorted(_GPUS.glob("*"))]
    usable = models and "+cpu" not in version("torch")
    return re.sub(r"\W+", "_", models[0]).upper() if usable else "CPU"


def describe_machine() -> str:
    """A fingerprint in words: architecture, processor, cores, accelerator, torch."""
    processor = _field(Path("/proc/cpuinfo"), "model name") or platform.processor()
    cores = f"{os.cpu_count()} cores"
    return "; ".join((platform.machine(), processor, cores, accelerator(), f"torch {version('torch')}"))


def _field(path: Path, name: str) -> str:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name) and ":" in line), "")
