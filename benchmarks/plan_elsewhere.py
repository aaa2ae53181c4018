"""Hold the times that `afina plan --device` computes against runs of which the machine is known.

    python benchmarks/plan_elsewhere.py --data ../shared/data --published ../shared/reference/peft_comparison_2024.yaml

A card's: the published comparison's 36 runs on an A100 of 80 GB, made by another program; float32 and texts padded to 512
tokens are assumed, as a step takes as long on every data set. A processor's: MiniLM's runs in `solo_profile_fp32_all.json`.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from afina.backbone.shapes import read_shape
from afina.config import StudyConfig
from afina.study.devices.device import device_named
from afina.study.devices.figures import computed
from afina.study.plan import expand
from afina.study.sizes import Sizes, sizes_of
from record import write_record

RESULTS = Path(__file__).parent / "results"
HUB = {"tinyllama": "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T"}


def held(
    config: StudyConfig, device: str, sizes: Sizes, seconds: dict[str, float], **names: str
) -> list[dict[str, Any]]:
    """Return the computed range of each method's training beside what was measured of it."""
    machine, shape, found = device_named(device), read_shape(config.model[0]), []
    for run in expand(config):
        train = computed(run, config, shape, sizes, machine, run.method.precision_on("fp32")).on(machine).train_seconds
        assert train is not None, "the machine's speed is known"
        measured = seconds[run.method.name]
        found.append(
            {"device": device, **names, "method": run.method.name, "measured": round(measured, 1),
             "low": round(train.low, 1), "high": round(train.high, 1), "within": train.low <= measured <= train.high}
        )  # fmt: skip
        print(found[-1], flush=True)
    return found


def published(path: Path) -> list[dict[str, Any]]:
    """Return the published runs' times beside what is computed of them."""
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    runs = []
    for column, place in enumerate(told["columns"]):
        model, dataset = place.split("/")
        name = HUB.get(model, told["models"][model]["hub"])
        config = StudyConfig.parse(
            {"model": name, "dataset": dataset, "methods": ["full", "lora", {"adalora": {"start_rank": 4}}, "ia3"],
             "epochs": 3, "batch_size": 6, "rank": 4, "targets": ["query", "value"], "max_length": 512, "precision": "fp32"},
            "the published protocol",
        )  # fmt: skip
        sizes = replace(
            sizes_of(config, config.dataset[0], name), tokens=512.0, longest=512, lengths=None, longest_rows=None
        )
        minutes = {method: 60.0 * row[column] for method, row in told["train_minutes"].items()}
        runs += held(config, "A100 80GB", sizes, minutes, model=model, dataset=dataset)
    return runs


def recorded(data: Path) -> list[dict[str, Any]]:
    """Return MiniLM's recorded runs on two cores beside what is computed of them."""
    figures = json.loads((RESULTS / "solo_profile_fp32_all.json").read_text())["figures"]
    config = StudyConfig.parse(
        {"model": "minilm", "dataset": str(data / "ag_news"), "methods": list(figures), "epochs": 2, "train_limit": 360,
         "test_limit": 360, "train_evaluation_limit": 100, "precision": "fp32"},
        "solo_profile",
    )  # fmt: skip
    seconds = {method: own["run_seconds"] for method, own in figures.items()}
    sizes = sizes_of(config, config.dataset[0], "minilm")
    return held(config, "8GB RAM, 2 cores", sizes, seconds, model="minilm", dataset="ag_news")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with ag_news")
    parser.add_argument("--published", type=Path, required=True, help="the published comparison's figures")
    parser.add_argument("--out", type=Path, default=RESULTS / "plan_elsewhere.json")
    options = parser.parse_args()
    runs = published(options.published) + recorded(options.data)
    write_record(options.out, runs=runs)
    for device in dict.fromkeys(run["device"] for run in runs):
        own = [run["within"] for run in runs if run["device"] == device]
        print(f"{device}: {sum(own)} of {len(own)} within")


if __name__ == "__main__":
    main()
