"""Inspection of a 200 MB chat file: MB/s and peak memory of `pilotlight.dataset.scan`, in a process of its own.

    python -m benchmarks.inspection [--megabytes 200]

The rows are made from a seed: 2 to 8 messages of 40 to 900 characters, 1 in 1,000 rows with something wrong. Peak
memory is taken at 10 MB and at the full size: bounded means that the two hardly differ.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

_TEXT = 'the model answers a question about orders, invoices and (sometimes) "quotes": été, naïve, 東京 {"a": 1}'
_WORDS = _TEXT.split()
_MEASURE = """
import json, resource, sys, time
from pathlib import Path
from pilotlight.dataset import scan
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
wall, cpu = time.perf_counter(), time.process_time()
report = scan(Path(sys.argv[1]))
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"rows": report.rows, "errors": report.errors, "warnings": report.warnings, "mb": report.bytes / 1e6,
    "wall": wall, "cpu": cpu, "before": before / 1024, "peak": peak / 1024}))
"""


def write_chats(path: Path, size: int, seed: int = 7) -> None:
    """Write about `size` bytes of chat rows."""
    source = random.Random(seed)
    passages = [" ".join(source.choices(_WORDS, k=source.randint(6, 140))) for _ in range(500)]
    written = 0
    with path.open("wb") as file:
        while written < size:
            line = json.dumps(_make_row(source, passages), ensure_ascii=False).encode() + b"\n"
            written += file.write(line)


def _make_row(source: random.Random, passages: list[str]) -> dict[str, object]:
    turns = source.randint(1, 4)
    messages = [
        {"role": role, "content": source.choice(passages)} for _ in range(turns) for role in ("user", "assistant")
    ]
    if source.random() < 0.001:
        messages[0]["role"] = "human"
    return {"messages": messages}


def measure(path: Path) -> dict[str, float]:
    """Scan in a fresh process, so that its peak memory is its own."""
    result = subprocess.run([sys.executable, "-c", _MEASURE, str(path)], check=True, capture_output=True, text=True)
    return json.loads(result.stdout)


def main() -> None:
    """Print one line per size."""
    parser = argparse.ArgumentParser(description="Inspection speed and memory.")
    parser.add_argument("--megabytes", type=int, default=200)
    megabytes: int = parser.parse_args().megabytes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chats.jsonl"
        for size in sorted({10, megabytes}):
            write_chats(path, size * 1_000_000)
            found = measure(path)
            print(
                f"{found['mb']:.0f} MB, {found['rows']:.0f} rows, {found['errors']:.0f} errors: "
                f"{found['mb'] / found['wall']:.0f} MB/s wall, {found['mb'] / found['cpu']:.0f} MB per CPU second, "
                f"peak {found['peak']:.0f} MB ({found['peak'] - found['before']:.0f} MB more than before the scan)"
            )


if __name__ == "__main__":
    main()
