"""What each optimiser keeps and learns beside AdamW: memory, measured and planned, seconds of a step, and the metric.

    python benchmarks/optimisers.py --data ../shared/data --out OUT --rows 450 --method full

One study of MiniLM on AG News: the method with each optimiser that works here, at auto's rate of AdamW times 0.3, 1 and 3.
It is gone on with where OUT is there. Every run has a process of its own. A table is printed at the end.
"""

import argparse
from pathlib import Path
from typing import Any

from afina.errors import UsageError
from afina.optimisers.base import OPTIMISERS, Trained
from afina.study.planned import plan
from afina.study.study import Study
from record import write_record

SMALL = {"galore": {"rank": 64, "period": 50}, "apollo": {"rank": 16, "period": 50}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--set", default="ag_news")
    parser.add_argument("--rows", type=int, default=450)
    parser.add_argument("--test", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--method", default="full")
    parser.add_argument("--factors", type=float, nargs="+", default=(0.3, 1.0, 3.0))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    methods: list[Any] = [
        {
            options.method: {
                "optimiser": {name: SMALL.get(name, {})},
                "rate_factor": factor / OPTIMISERS[name].rate_factor,
            }
        }
        for name in OPTIMISERS
        if works(name)
        for factor in options.factors
    ]
    study: dict[str, Any] = {
        "model": "minilm", "dataset": str(options.data / options.set), "methods": methods, "epochs": options.epochs,
        "train_limit": options.rows, "test_limit": options.test, "max_length": 48, "precision": "fp32", "cohort": "off",
        "seeds": options.seeds,
    }  # fmt: skip
    planned = {own.run.id: own for own in plan(**study).estimates}
    results = Study(options.out, **study).run()
    runs = [
        {
            # A run that failed has no figures, and stands in the table all the same.
            "optimiser": result.get("optimiser") or next(iter(result["method_config"]["optimiser"])),
            "name": next(iter(result["method_config"]["optimiser"])),
            "rate": result["method_config"].get("learning_rate"),
            "metric": result.get("test_metric"),
            "peak_memory_bytes": result.get("peak_memory_bytes"),
            "planned_bytes": planned[result["run"]].peak_memory_bytes,
            "step_seconds": result.get("step_seconds"),
            "status": result["status"],
        }
        for result in results
    ]
    write_record(options.out / "optimisers.json", runs=runs)
    print(table(runs, len(options.seeds)))


def works(name: str) -> bool:
    """Say whether an optimiser works on this machine's processor at all."""
    try:
        OPTIMISERS[name]().check("full", Trained({}))
    except UsageError as error:
        return "GPU" not in str(error)
    return True


def table(runs: list[dict[str, Any]], seeds: int) -> str:
    """Return the README's table: an optimiser a row, its metric at each rate."""
    rates = sorted({run["rate"] for run in runs if run["rate"] is not None})
    head = " | ".join(f"rate {rate:g}" for rate in rates)
    lines = [
        f"| | {head} | peak memory | planned | ms a step |", f"|---|{'--:|' * (len(rates) + 3)}",
    ]  # fmt: skip
    for name in dict.fromkeys(run["optimiser"] for run in runs):
        own = [run for run in runs if run["optimiser"] == name]
        means = []
        for rate in rates:
            values = [100 * (run["metric"] or 0.0) for run in own if run["rate"] == rate]
            means.append(f"{sum(values) / len(values):.1f}" if values else "–")
        peak, told = (max(run[key] or 0 for run in own) / 1e6 for key in ("peak_memory_bytes", "planned_bytes"))
        steps = sorted(run["step_seconds"] or 0.0 for run in own)
        lines.append(
            f"| {name} | {' | '.join(means)} | {peak:,.0f} MB | {told:,.0f} MB | {1000 * steps[len(steps) // 2]:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
