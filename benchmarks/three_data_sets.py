"""Every efficient method with five seeds on AG News, SNLI and IMDb, as cohorts; and one by one.

    python benchmarks/three_data_sets.py --data ../shared/data --keep /tmp/three

MiniLM, batch 6, three epochs (IMDb two), bf16 where the processor has it; whole studies by `afina study`, with their tables.
The rates are those of runs of a few hundred steps, some four times the defaults, which are for thousands, and the same on all
three. `--one-by-one` also carries each run out in a process of its own, on the data sets it names.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from record import precision, write_record
from whole_study import carry_out

METHODS: list[Any] = [
    "head", "features", {"bitfit": {"learning_rate": 0.004}}, {"norms": {"learning_rate": 0.005}},
    {"lora": {"learning_rate": 0.002}}, {"lora": {"learning_rate": 0.002, "init": "pissa"}},
    {"dora": {"learning_rate": 0.002}}, {"adalora": {"learning_rate": 0.005}}, {"ia3": {"learning_rate": 0.02}},
    "prompt", {"ptuning": {"learning_rate": 0.005}}, "prefix", "llama-adapter", {"houlsby": {"learning_rate": 0.001}},
    {"pfeiffer": {"learning_rate": 0.001}}, {"parallel": {"learning_rate": 0.0003}}, "loreft",
    {"qlora": {"learning_rate": 0.002}},
]  # fmt: skip
SETS: dict[str, dict[str, int]] = {
    "ag_news": {"train_limit": 300, "test_limit": 240, "train_evaluation_limit": 60},
    "snli": {"train_limit": 450, "test_limit": 300, "train_evaluation_limit": 60},
    "imdb": {"train_limit": 102, "test_limit": 80, "train_evaluation_limit": 30, "max_length": 128, "epochs": 2},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with ag_news, snli and imdb")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--one-by-one", nargs="*", choices=SETS, default=[])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="folder for the studies themselves")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    record: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        for name in options.sets:
            study: dict[str, Any] = {
                "model": "minilm", "dataset": {"path": str(options.data / name), "name": name}, "methods": METHODS,
                "seeds": options.seeds, "epochs": 3, "precision": precision(), "cohort": 100, **SETS[name],
            }  # fmt: skip
            own = carry_out(study, folder / name)
            own["table"] = (folder / name / "tables" / f"comparison-minilm-{name.replace('_', '-')}.md").read_text()
            record[name] = {"rows": SETS[name], "runs": len(own.pop("results")), **own}
            print(f"{name}: {record[name]}\n{own['table']}", flush=True)
            if name in options.one_by_one:
                alone = carry_out(study | {"cohort": "off"}, folder / f"{name}_one_by_one")
                record[name]["one by one"] = {"runs": len(alone.pop("results")), **alone}
                print(f"{name}, one by one: {alone}", flush=True)
            if options.out:
                write_record(options.out, figures=record)


if __name__ == "__main__":
    main()
