"""Time and memory of `afina watch` as rows grow: 10,000 rows and 100,000, in windows of 1,000, each in a process of its own.

    python benchmarks/watch.py --out benchmarks/results/watch.json

An adapter of MiniLM on the packaged tickets watches rows of these, as JSON lines: all rows of each window are read, and
`--most` of them answered. Memory is the process's peak; what grows with the number of rows would show.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import write_record

ROWS = (10_000, 100_000)


def made(folder: Path) -> Path:
    """Train an adapter with its reference, and return its folder."""
    from afina import api

    keys = {"model": "minilm", "dataset": "tickets", "epochs": 1, "precision": "fp32", "max_length": 64}
    return api.train(out=folder / "run", method="lora", **keys).adapters[0]


def write_rows(path: Path, count: int) -> None:
    """Write rows of the tickets again and again, each with a number that makes it another text."""
    from afina.config import StudyConfig
    from afina.dataset_spec import DatasetSpec
    from afina.study.data import study_data

    config = StudyConfig.parse({"model": "minilm", "dataset": "tickets", "methods": "lora"}, "benchmark")
    texts = study_data(config, DatasetSpec(path="tickets")).test.text
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            row = {"id": number, "text": f"{texts[number % len(texts)]} {number}"}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def watch(adapter: str, rows: str, most: int) -> None:
    """Watch in this process, and print what it took."""
    from afina import api
    from afina.audit.watch.settings import WatchSettings

    began = time.perf_counter()
    audit = api.watch(adapter, rows, WatchSettings(window=1000, most=most))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answered = sum(window.looked_at for window in audit.windows)
    seconds = time.perf_counter() - began
    print(
        json.dumps({"windows": len(audit.windows), "answered": answered, "seconds": seconds, "peak_memory_bytes": peak})
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=100, help="rows of a window that are answered")
    parser.add_argument("--watch", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.watch:
        watch(*given.watch, given.most)
        return
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        adapter = made(Path(place))
        for count in ROWS:
            write_rows(rows := Path(place) / f"{count}.jsonl", count)
            done = subprocess.run(
                [sys.executable, __file__, "--watch", str(adapter), str(rows), "--most", str(given.most)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            figures[f"{count:,} rows"] = json.loads(done.stdout.splitlines()[-1])
            print(count, figures[f"{count:,} rows"], flush=True)
    if given.out is not None:
        write_record(given.out, "scipy", **figures)


if __name__ == "__main__":
    main()
