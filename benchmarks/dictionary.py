"""Gather what studies of `studies/dictionary.yaml` found: dictionaries, frozen embeddings, the head alone, and all layers.

    python benchmarks/dictionary.py FOLDER... --out benchmarks/results/dictionary.json

Folders are studies of the same protocol, whole or in parts (a data set, fewer rows): each run's figure is told with its rows.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from record import write_record


def _found(values: Any, key: str) -> Iterator[Any]:
    """Yield what stands under a key, at any depth, in order."""
    for name, value in values.items() if isinstance(values, dict) else enumerate(values):
        if name == key:
            yield value
        if isinstance(value, dict | list):
            yield from _found(value, key)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    figures: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for folder in options.folders:
        for line in (folder / "results.jsonl").read_text().splitlines():
            result = json.loads(line)
            if result["status"] != "ok":
                continue
            data = figures[f"{result['dataset']}, at most {result['max_length']} tokens"]
            own = data.setdefault(
                result["method_label"],
                {"train_rows": result["train_rows"], "test_rows": result["test_rows"], "test": [], "test_r2": []},
            )
            own["test"].append(round(result["test_metric"], 4))
            # The last is that of the end.
            own["test_r2"] += [round(value, 4) for value in list(_found(result, "test_r2"))[-1:]]
    write_record(options.out, "scikit-learn", "xgboost-cpu", figures=figures)


if __name__ == "__main__":
    main()
