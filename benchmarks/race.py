"""How often a race finds the full grid's winner, and for how much of its time.

    python benchmarks/race.py --data ../shared/data/ag_news --rows 400 --repeats 10

MiniLM; four methods at three rates each are twelve candidates, one seed a repeat, another in each. The grid trains all
of them to the end as one cohort (a race at whose only rung nobody leaves, so that both keep the same rows for
validation); the race has its default rungs. Both winners are those with the best metric on the same test rows among
those that finished. Accuracies of a few hundred rows tie: beside "the same candidate" stands how much accuracy the
race's winner lacks.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

from afina.study.study import Study
from record import precision, write_record

METHODS = ("lora", "ia3", "pfeiffer", "bitfit")
FACTORS = (0.3, 1.0, 3.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0, help="to go on with repeats of another session")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    repeats: list[dict[str, Any]] = []
    for seed in range(options.first_seed, options.first_seed + options.repeats):
        grid, grid_seconds = finished(options, seed, {"rungs": [0.99], "keep": 0.99})
        race, race_seconds = finished(options, seed, {})
        best = max(grid, key=lambda label: grid[label])
        found = max(race, key=lambda label: race[label])
        repeats.append({
            "seed": seed, "grid": best, "race": found, "same": found == best, "lost": grid[best] - grid[found],
            "candidates": len(grid), "left": len(race), "time": race_seconds / grid_seconds,
            "grid_seconds": grid_seconds,
        })  # fmt: skip
        own = repeats[-1]
        print(
            f"{seed:3} grid {best:28} race {found:28} lacks {own['lost']:.4f} in {own['time']:.0%} of the time",
            flush=True,
        )
    print(
        f"the same winner in {sum(own['same'] for own in repeats)} of {len(repeats)}; the race's lacks "
        f"{mean(own['lost'] for own in repeats):.4f} accuracy on average, at most "
        f"{max(own['lost'] for own in repeats):.4f}; median time {median(own['time'] for own in repeats):.0%}"
    )
    if options.out:
        write_record(options.out, repeats=repeats)


def finished(options: argparse.Namespace, seed: int, race: dict[str, Any]) -> tuple[dict[str, float], float]:
    """Carry out a race and return the metric of each candidate that came to the end, and the seconds of it all."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(
            Path(folder) / "out", model="minilm", dataset=str(options.data), methods=list(METHODS), seeds=[seed],
            epochs=options.epochs, train_limit=options.rows, test_limit=options.rows, train_evaluation_limit=100,
            precision=precision(), race={"rate_factors": list(FACTORS), **race},
        )  # fmt: skip
        started = time.perf_counter()
        results = study.run()
        seconds = time.perf_counter() - started
    return {own["method_label"]: own["test_metric"] for own in results if own["status"] == "ok"}, seconds


if __name__ == "__main__":
    main()
