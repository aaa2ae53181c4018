"""Gather what studies of `studies/dictionary.yaml` found: dictionaries, frozen embeddings, the head alone, and all layers.

    python benchmarks/dictionary.py FOLDER... --out benchmarks/results/dictionary.json

Folders are studies of the same protocol, whole or in parts (a data set, fewer rows): each run's figure is told with its rows.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

from afina.results.results_jsonl import read_results
from record import write_record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    figures: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for folder in options.folders:
        for result in read_results(folder):
            if result["status"] != "ok":
                continue
            # A study of several lengths has them in its data sets' names, too.
            name = result["dataset"].removesuffix(f", {result['max_length']} tokens")
            data = figures[f"{name}, at most {result['max_length']} tokens"]
            own = data.setdefault(
                result["method_label"],
                {"train_rows": result["train_rows"], "test_rows": result["test_rows"], "test": [], "test_r2": []},
            )
            own["test"].append(round(result["test_metric"], 4))
            if (explained := result["test_metrics"].get("r2")) is not None:
                own["test_r2"].append(round(explained, 4))
    write_record(options.out, "scikit-learn", "xgboost-cpu", figures=figures)


if __name__ == "__main__":
    main()
