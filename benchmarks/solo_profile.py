"""What a run costs alone, told by its profile, beside the run itself: time and memory of every method.

    python benchmarks/solo_profile.py --data ../shared/data/ag_news --rows 900 --epochs 3

MiniLM, batch 6, as many test rows, one seed. Each method is profiled and run in processes of their own, in turn (profile,
run, profile again): the second profile shows how much of a difference is the noise of the machine. Ratios are
profile over run.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from afina.methods.base import registry
from afina.study.execute import run_apart
from afina.study.job import Job
from afina.study.plan import Run
from afina.study.prepare import prepare
from afina.study.study import Study
from afina.study.worker import carry_out_job, profile_job
from record import precision, write_record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=900)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--methods", help="comma-separated; every method that may join a cohort if not given")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    every = [name for name, kind in registry().items() if not (kind.owns_backbone or kind.gradient_free)]
    methods = options.methods.split(",") if options.methods else every
    with tempfile.TemporaryDirectory() as folder:
        study = Study(
            Path(folder) / "out", model="minilm", dataset=str(options.data), methods=methods, seeds=1,
            epochs=options.epochs, train_limit=options.rows, test_limit=options.rows, train_evaluation_limit=100,
            precision=precision(), cohort="off",
        )  # fmt: skip
        prepared = prepare(study.config, study.config.dataset[0], "minilm", study.directory)
        figures: dict[str, dict[str, Any]] = {}
        print(f"{'':16}{'run s':>8}{'profile':>9}{'again':>8}{'run MB':>9}{'profile':>9}{'again':>8}")
        for run in study.runs:
            figures[run.method.name] = own = measured(job_of(study, prepared, run))
            print(
                f"{run.method.name:16}{own['run_seconds']:8.2f}{own['seconds_ratio'][0]:9.3f}{own['seconds_ratio'][1]:8.3f}"
                f"{own['run_bytes'] / 1e6:9.0f}{own['bytes_ratio'][0]:9.3f}{own['bytes_ratio'][1]:8.3f}",
                flush=True,
            )
    for what, wanted in (("seconds_ratio", 0.05), ("bytes_ratio", 0.03)):
        found = [abs(statistics.mean(own[what]) - 1) for own in figures.values()]
        print(
            f"{what}: within {wanted:.0%} for {sum(value <= wanted for value in found)} of {len(found)} methods, "
            f"median {statistics.median(found):.1%}, largest {max(found):.1%}"
        )
    if options.out:
        write_record(options.out, figures=figures)


def job_of(study: Study, prepared: Any, run: Run) -> Job:
    return Job(
        run=run, config=study.config, directory=study.directory, tokens=prepared.tokens, task=prepared.task,
        precision=study.config.precision, device="cpu", train_evaluation_rows=prepared.train_evaluation_rows, fingerprint={},
    )  # fmt: skip


def measured(job: Job) -> dict[str, Any]:
    first = run_apart(profile_job, (job, None))
    result = run_apart(carry_out_job, job)
    second = run_apart(profile_job, (job, None))
    seconds, memory = result["train_seconds"], result["peak_memory_bytes"]
    return {
        "run_seconds": seconds, "run_bytes": memory,
        "seconds_ratio": [own["seconds_by_epoch"][-1] / seconds for own in (first, second)],
        "bytes_ratio": [own["memory_report"]["peak_memory_bytes"] / memory for own in (first, second)],
    }  # fmt: skip


if __name__ == "__main__":
    main()
