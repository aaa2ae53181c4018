"""A study carried out by `afina study`, as a person would, with what it took."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def carry_out(study: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """Return a study's seconds from start to report, its largest peak of a process, and what its steps took.

    What it leaves stays in `folder` if one is given.
    """
    with tempfile.TemporaryDirectory() as temporary:
        file, out = Path(temporary) / "study.yaml", folder or Path(temporary) / "out"
        file.write_text(json.dumps(study))  # JSON is YAML
        started = time.perf_counter()
        command = [sys.executable, "-m", "afina", "study", str(file), "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
        reports = [json.loads(path.read_text()) for path in sorted((out / "cohorts").glob("*/cohort.json"))]
        own = [result for result in results if result["measured"] == "solo"]
        return {
            "seconds": seconds,
            "peak_memory_megabytes": max(report["peak_memory_bytes"] for report in [*reports, *own]) / 1e6,
            "train_seconds": sum(report["train_seconds"] for report in [*reports, *own]),
            "cohort_train_seconds": sum(report["train_seconds"] for report in reports),
            "alone_train_seconds": sum(result["train_seconds"] for result in results if result not in own),
            "together": [report["together"] for report in reports],
            "results": results,
        }  # fmt: skip
