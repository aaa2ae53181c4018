"""Hold planned memory against runs that other benchmarks recorded, and write how far they lay apart into the plan's own file.

    python benchmarks/plan_recorded.py --data ../shared/data

One run a process: MiniLM's in `solo_profile*.json` and `three_data_sets.json`, other models' in `plan.json`. What a process
keeps beside its tensors (bytes always there, bytes for each size of product in an arithmetic, a share of the pass) is
fitted to these runs. What is left is kept as ratios of measured to planned in `src/afina/study/memory_ratios.json`, by
which a plan makes its ranges.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

import afina.study as study_room
from afina.backbone.load import load_tokenizer
from afina.backbone.shapes import read_shape
from afina.config import StudyConfig
from afina.study.needs import interval, memory_of, training_peaks
from afina.study.plan import expand
from afina.study.sizes import sizes_of
from afina.study.staging import rehearsed_run
from plan import SHAPES, configuration
from record import write_record

RESULTS = Path(__file__).parent / "results"
KEPT = Path(study_room.__file__).parent / "memory_ratios.json"
"""The plan's own file."""
COPIES_BF16 = 21_500_000
"""One copy of MiniLM's frozen linear layers in bf16, as the processor of `three_data_sets.json` had that arithmetic."""


def recorded(data: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, float]]]:
    """Yield each record's name, the study that it is of, and its runs' measured bytes by method."""
    every = {"model": "minilm", "seeds": 1, "cohort": "off"}
    for name, rows, precision in (("solo_profile_fp32_all", 360, "fp32"), ("solo_profile", 900, "bf16")):
        figures = json.loads((RESULTS / f"{name}.json").read_text())["figures"]
        limits = {"train_limit": rows, "test_limit": rows, "train_evaluation_limit": 100, "epochs": 2}
        yield name, {**every, **limits, "dataset": str(data / "ag_news"), "precision": precision}, {
            method: own["run_bytes"] for method, own in figures.items()
        }  # fmt: skip
    for index, own in enumerate(json.loads((RESULTS / "plan.json").read_text())["runs"]):
        settings, dataset = own["settings"], str(data / own["settings"]["dataset"])
        yield (
            f"plan, run {index}",
            {**settings, "dataset": dataset},
            {settings["methods"][0]: own["measured"]["memory"]["train"]},
        )
    for name, figures in json.loads((RESULTS / "three_data_sets.json").read_text())["figures"].items():
        measured = {}
        cells = [[cell.strip(" *") for cell in line.split("|")] for line in figures["table"].splitlines()]
        for cell in cells:
            # The fourth column is the memory, in MB; of a method that stands twice the first, which has its defaults.
            if len(cell) > 5 and cell[4].isdigit() and (method := cell[1].partition("(")[0]) != "features":
                measured.setdefault(method, 1e6 * int(cell[4]))
        study = {**every, "epochs": 3, **figures["rows"], "dataset": str(data / name), "precision": "bf16"}
        yield f"three_data_sets, {name}", study, measured


def planned(name: str, study: dict[str, Any], measured: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Yield for each run what was measured, the sizes of products that code was made for, and all else that is counted."""
    config = StudyConfig.parse({**study, "methods": list(measured)}, name)
    (model,), (spec,) = config.model, config.dataset
    # What the tokenizer says is the same for all: it is MiniLM's.
    shape, sizes = read_shape("minilm"), sizes_of(config, spec, "minilm")
    if model in SHAPES:
        shape = configuration(model, load_tokenizer("minilm")[0])
    for run in expand(config):
        precision = run.method.precision_on(config.precision)
        rehearsed, standing = rehearsed_run(run, config, shape, sizes, device="cpu", precision=precision)
        if config.precision == "bf16" and standing.computes_in != "bfloat16":
            continue  # a quantised base, which computes in what the processor has: another here than there
        parts = memory_of(rehearsed, standing, trains=True, on_cpu=False).parts
        if name.startswith("three") and run.method.name != "qlora" and not standing.copies:
            parts["copies of weights"] = 2 * COPIES_BF16 if standing.goes_through else COPIES_BF16
        instants, products = training_peaks(rehearsed, standing)
        # While it trains, whichever phase is the worst.
        beside = sum(size for part, size in parts.items() if part not in ("the pass", "code"))
        tensors = beside + standing.dequantised + max(instants.values())
        yield {
            "record": name, "method": run.method.name, "measured": measured[run.method.name], "tensors": tensors,
            "pass": max(instants.values()),
            "products": min(1024, products),
            "computes_in": standing.computes_in,
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, help="folder with ag_news, snli and imdb; left out, the last record is fitted anew"
    )
    options = parser.parse_args()
    record = RESULTS / "plan_recorded.json"
    if options.data is not None:
        write_record(record, runs=[run for study in recorded(options.data) for run in planned(*study)])
    runs = json.loads(record.read_text())["runs"]

    # Each method's runs by what the other methods' alone give: a new run is none of those that were fitted.
    ratios: list[float] = []
    for name in dict.fromkeys(run["method"] for run in runs):
        others = fitted([run for run in runs if run["method"] != name])
        ratios += [run["measured"] / run_bytes(run, others) for run in runs if run["method"] == name]
    always, fp32, bf16, slack = fitted(runs)
    found = {
        "source": "benchmarks/plan_recorded.py", "always": round(always), "slack": round(slack, 3),
        "each_product": {"float32": round(fp32), "bfloat16": round(bf16)},
        "ratios": sorted(round(ratio, 4) for ratio in ratios),
    }  # fmt: skip
    KEPT.write_text(json.dumps(found, indent=2) + "\n")
    low, _, high = interval(ratios)
    errors = np.abs(np.array(ratios) - 1)
    print(
        f"{len(runs)} runs: median error {np.median(errors):.1%}, nine of ten within {low:.2f} to {high:.2f} of the plan"
    )


def columns(run: dict[str, Any]) -> list[float]:
    """Return of what there is a share: always the same, each product's code in one arithmetic or the other, the pass."""
    by_arithmetic = [run["products"] * (run["computes_in"] == name) for name in ("float32", "bfloat16")]
    return [1.0, *by_arithmetic, run["pass"]]


def run_bytes(run: dict[str, Any], found: Sequence[float]) -> float:
    """Return what is planned with what was found."""
    return float(run["tensors"] + np.dot(columns(run), found))


def fitted(runs: Sequence[dict[str, Any]]) -> list[float]:
    """Fit what a process keeps beside its tensors, relative to what was measured."""
    measured = np.array([run["measured"] for run in runs])
    left = 1 - np.array([run["tensors"] for run in runs]) / measured
    # None below 0, which no part of a process can be.
    found: list[float] = nnls(np.array([columns(run) for run in runs]) / measured[:, None], left)[0].tolist()
    return found


if __name__ == "__main__":
    main()
