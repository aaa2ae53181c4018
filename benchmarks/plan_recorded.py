"""Fit what a plan cannot count to runs that were carried out, and write it with its ranges into the plan's own files.

    python benchmarks/plan.py --data ../shared/data --runs 40 --seed 11 --out runs.json
    python benchmarks/plan_recorded.py --runs runs.json
    python benchmarks/plan_recorded.py --again ../shared/data    # after a change of what is counted of memory

Of memory: the bytes of libraries' pages and of small objects, in each arithmetic and phase (`memory_ratios.json`); of time,
how much of what products, moved bytes, calls and prepared code take by themselves a run takes (`time_ratios.json`). What is
left is kept as ratios of measured to planned, each run's by what the others gave, by which a plan makes its ranges.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

import afina.study as study_room
from afina.study.needs import interval
from afina.study.time_needs import PARTS
from plan import given, models
from record import write_record

RECORD = Path(__file__).parent / "results" / "plan_recorded.json"
KEPT = Path(study_room.__file__).parent
PHASES = ("train", "evaluate")
KINDS = ("float32", "bfloat16", "quantised")
Runs = Sequence[dict[str, Any]]
Fit = Callable[[Runs, str], list[float]]


def of_record(runs: Runs) -> list[dict[str, Any]]:
    """Return for each run that was planned and carried out its settings, what was counted of it, and what was measured."""
    return [
        {
            "settings": own["settings"], "measured": own["measured"],
            "kind": own["planned"]["memory"]["kind"],
            "counted": {what: own["planned"][what]["counted"] for what in ("memory", "time")},
        }
        for own in runs if "error" not in own["measured"] and "error" not in own["planned"]
    ]  # fmt: skip


def measured(run: dict[str, Any], phase: str, what: str) -> float | None:
    """Return what was measured, None where it was not: evaluations of a cohort are not one run's."""
    if what == "memory":
        value: float | None = run["measured"]["memory"][phase]
        return value
    own: float | None = run["measured"][f"{phase}_seconds"]
    return own


def memory_columns(run: dict[str, Any], phase: str) -> list[float]:
    """Return of what there are so many bytes: code, by what it goes by."""
    return [float(run["kind"] == name) for name in KINDS]


def fitted_memory(runs: Runs, phase: str) -> list[float]:
    """Fit the bytes beside what is counted, relative to what was measured; none below 0."""
    took = np.array([measured(run, phase, "memory") for run in runs], dtype=float)
    left = 1 - np.array([run["counted"]["memory"][phase] for run in runs]) / took
    found: list[float] = nnls(np.array([memory_columns(run, phase) for run in runs]) / took[:, None], left)[0].tolist()
    return found


def memory_said(run: dict[str, Any], phase: str, found: Sequence[float]) -> float:
    return float(run["counted"]["memory"][phase] + np.dot(memory_columns(run, phase), found))


def time_columns(run: dict[str, Any], phase: str) -> list[float]:
    counted = run["counted"]["time"][phase]
    return [counted[part] for part in PARTS]


def fitted_time(runs: Runs, phase: str) -> list[float]:
    """Fit how much of each part of the work there is, relative to what was measured; none below 0."""
    took = np.array([measured(run, phase, "time") for run in runs], dtype=float)
    columns = np.array([time_columns(run, phase) for run in runs]) / took[:, None]
    found: list[float] = nnls(columns, np.ones(len(runs)))[0].tolist()
    return found


def time_said(run: dict[str, Any], phase: str, found: Sequence[float]) -> float:
    return float(np.dot(time_columns(run, phase), found))


def ratios(runs: Runs, phase: str, what: str, fit: Fit, said: Callable[..., float]) -> list[float]:
    """Return measured to planned of each run, by what the runs of all other methods gave."""
    found = []
    for name in dict.fromkeys(run["settings"]["methods"][0] for run in runs):
        others = fit([run for run in runs if run["settings"]["methods"][0] != name], phase)
        found += [
            (measured(run, phase, what) or 0.0) / said(run, phase, others)
            for run in runs if run["settings"]["methods"][0] == name
        ]  # fmt: skip
    return found


def counted_again(runs: list[dict[str, Any]], data: Path) -> list[dict[str, Any]]:
    """Return recorded runs with what is counted of their memory now; their time is of their machine's pace, and stays."""
    from afina.backbone.shapes import read_shape
    from afina.backbone.storage.base import elsewhere
    from afina.config import StudyConfig
    from afina.study.needs import memory_of
    from afina.study.plan import expand
    from afina.study.sizes import sizes_of
    from afina.study.staging import rehearsed_run

    again = []
    with tempfile.TemporaryDirectory() as folder, elsewhere(bfloat16=True):  # as their machine had it
        places = models(Path(folder))
        for own in runs:
            config = StudyConfig.parse(given(own["settings"], places, data), "study")
            run = expand(config)[0]
            shape, sizes = read_shape(run.model), sizes_of(config, config.dataset[0], run.model)
            rehearsed, made = rehearsed_run(
                run, config, shape, sizes, device="cpu", precision=run.method.precision_on(config.precision)
            )
            counted = memory_of(rehearsed, made, trains=not run.method.gradient_free, on_cpu=True).counted
            print(own["settings"]["model"], own["settings"]["methods"], counted, own["counted"]["memory"], flush=True)
            again.append(own | {"counted": own["counted"] | {"memory": counted}})
    return again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=Path, nargs="+", help="what benchmarks/plan.py wrote; left out, the last record is fitted anew"
    )
    parser.add_argument("--again", type=Path, metavar="DATA", help="count the memory of the last record's runs anew")
    options = parser.parse_args()
    if options.again is not None:
        record = json.loads(RECORD.read_text())  # of the machine that carried the runs out
        again = {"counted": datetime.now(UTC).date().isoformat(), "runs": counted_again(record["runs"], options.again)}
        RECORD.write_text(json.dumps(record | again, indent=2) + "\n")
    if options.runs is not None:
        runs = [run for path in options.runs for run in json.loads(path.read_text())["runs"]]
        write_record(RECORD, runs=of_record(runs))
    runs = json.loads(RECORD.read_text())["runs"]
    for what, fit, said in (("memory", fitted_memory, memory_said), ("time", fitted_time, time_said)):
        found: dict[str, Any] = {"source": "benchmarks/plan_recorded.py", "shares": {}, "ratios": {}}
        for phase in PHASES:
            of_it = [run for run in runs if measured(run, phase, what)]
            each = ratios(of_it, phase, what, fit, said)
            names = KINDS if what == "memory" else PARTS
            shares = fit(of_it, phase)
            found["shares"][phase] = dict(zip(names, (float(f"{own:.4g}") for own in shares), strict=True))
            found["ratios"][phase] = sorted(round(ratio, 4) for ratio in each)
            low, middle, high = interval(each)
            error = np.median(np.abs(np.array(each) / middle - 1))
            nine = f"nine of ten {low:.2f} to {high:.2f}"
            print(f"{what}, {phase}: {len(each)} runs, median error {error:.1%}, {nine}, {found['shares'][phase]}")
        (KEPT / f"{what}_ratios.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
