"""Is `learning_rate: auto` as good as a search? Each method at auto's rate times 0.3, 1, 3 and 10, on real data.

    python benchmarks/auto_rates.py --data ../shared/data --out results.json tickets:150 snli:500:lora,full,ia3

MiniLM, batch 6, three epochs of as many rows as make the steps asked for, bf16 where the processor has it, the four rates of
a method in one cohort, the others' own defaults. What is printed is what auto lacks of the best of the four on the test
rows, in points (of regression, hundredths of Pearson's correlation). A file that is there is gone on with; `--table` prints
it as the README has it.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from afina.adapters.adapter import build_adapter
from afina.backbone.load import Backbone, load_backbone
from afina.backbone.model_files import model_path
from afina.config import StudyConfig
from afina.data.tokens.tokens import Tokens
from afina.dataset_spec import DatasetSpec
from afina.methods.base import make_method, registry
from afina.ops.allocator import keep_freed_memory
from afina.ops.dropout import DropoutSource
from afina.tasks.base import TASKS, Task
from afina.tasks.reading import load_text_dataset
from afina.train.evaluate import predict_logits
from afina.train.loop import Callbacks, Clock, Member, train
from afina.train.optimiser import Course, Optimiser
from afina.train.passes import Passes
from record import precision, write_record

FACTORS = (0.3, 1.0, 3.0, 10.0)
LENGTHS = {"ag_news": 40, "snli": 32, "imdb": 96, "tickets": 48, "stsb_pt": 48}
"""Tokens that texts are cut to."""
NAMES = {
    "ag_news": "AG News", "snli": "SNLI", "imdb": "IMDb", "tickets": "tickets", "stsb_pt": "STS-B, Portuguese"
}  # fmt: skip
"""What the table calls the sets."""
EPOCHS, BATCH = 3, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", metavar="SET:STEPS[:METHOD,...]")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder with ag_news, snli, imdb, stsb_pt"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--test", type=int, default=800, help="test rows")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--factors", type=float, nargs="+", default=FACTORS)
    parser.add_argument("--warmup", type=float, default=0.0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="print a table of what --out holds, and train nothing")
    options = parser.parse_args()
    keep_freed_memory()
    runs: list[dict[str, Any]] = json.loads(options.out.read_text())["runs"] if options.out.exists() else []
    if options.table:
        print(table(runs))
        return
    every = [name for name, cls in registry().items() if not cls.gradient_free]
    for cell in options.cells:
        name, steps, *chosen = cell.split(":")
        data = Data(options, name, int(steps))
        for method in chosen[0].split(",") if chosen else every:
            for seed in options.seeds:
                key = {"model": options.model, "set": name, "steps": int(steps), "method": method, "seed": seed}
                if not any(key.items() <= run.items() for run in runs):
                    runs += [key | own for own in data.trained(method, seed)]
                    write_record(options.out, runs=runs, summary=summary(runs))
            print(f"{name} {steps} {method}: {told(runs, name, int(steps), method)}", flush=True)
    print(json.dumps(summary(runs), indent=2))


class Data:
    """A data set's rows as tokens, and the training of a method on them."""

    def __init__(self, options: argparse.Namespace, name: str, steps: int) -> None:
        self.model, folder = options.model, options.data / name
        self.factors, self.warmup = options.factors, options.warmup
        rows = max(2, steps * BATCH // EPOCHS)
        spec = DatasetSpec(path=str(folder) if folder.exists() else name)
        found = load_text_dataset(spec, train_limit=rows, test_limit=options.test)
        tokenizer: Any = AutoTokenizer.from_pretrained(model_path(self.model))
        config = StudyConfig.parse({"model": self.model, "dataset": spec.path, "methods": ["head"]}, "benchmark")
        self.task: Task = TASKS[found.task].made_for(found, config, spec, tokenizer)
        self.train: Tokens = self.task.tokenize(tokenizer, found.train, LENGTHS[name])
        self.test: Tokens = self.task.tokenize(tokenizer, found.test, LENGTHS[name])
        self.steps = -(-len(self.train) // BATCH) * EPOCHS
        self.metric = self.task.metric

    def trained(self, name: str, seed: int) -> list[dict[str, Any]]:
        """Return rate, metric and seconds at each factor; a method that owns its backbone trains once after another."""
        factors = [[factor] for factor in self.factors] if registry()[name].owns_backbone else [list(self.factors)]
        return [result for own in factors for result in self._together(name, seed, own)]

    def _together(self, name: str, seed: int, factors: Sequence[float]) -> list[dict[str, Any]]:
        backbone = self._backbone(name)
        members = [self._member(name, seed, factor, backbone) for factor in factors]
        started = perf_counter()
        with Passes(backbone, DropoutSource(seed), most=8, alike=True) as passes:
            passes.prepare(members, lambda member: member.tokens)
            train(passes, members, Clock(), Callbacks(lambda: None, lambda ended: None), micro_batch_size=None)
            seconds = (perf_counter() - started) / len(members)
            attached = passes.attached([member.adapter for member in members], training=False)
            logits = predict_logits(attached, self.test, batch_size=64)
        return [
            {
                "factor": factor, "rate": member.optimiser.learning_rate, "seconds": seconds,
                "metric": self._measured(own),
            }
            for factor, member, own in zip(factors, members, logits, strict=True)
        ]  # fmt: skip

    def _backbone(self, name: str) -> Backbone:
        """A backbone of its own for a method that changes it, as a study's run has it."""
        method = make_method(name, {})
        if not method.owns_backbone:
            return load_backbone(self.model, precision=method.precision_on(precision()))
        backbone = load_backbone(self.model, precision="fp32")
        backbone.autocast = torch.bfloat16 if precision() == "bf16" else None
        backbone.model.requires_grad_(True)
        return backbone

    def _member(self, name: str, seed: int, factor: float, backbone: Backbone) -> Member:
        method = make_method(name, {"rate_factor": factor}).with_rate(steps=self.steps, width=backbone.anatomy.width)
        assert method.learning_rate is not None
        adapter = build_adapter(method, backbone, self.task.outputs, seed=seed)
        trainable = adapter.trainable(backbone)
        optimiser = Optimiser(
            trainable, learning_rate=method.learning_rate, total_steps=self.steps, course=Course(warmup=self.warmup),
            rate_factors=method.rate_factors(trainable, backbone.anatomy),
        )  # fmt: skip
        beside = method.steps_beside(adapter.by_site(), self.steps)
        loss_sum = torch.zeros((), dtype=torch.float64)
        return Member(adapter, self.task, self.train, seed, EPOCHS, BATCH, optimiser, beside, loss_sum)

    def _measured(self, logits: np.ndarray) -> float | None:
        """The metric; None where training diverged."""
        if not np.isfinite(logits).all():
            return None
        value = self.task.measure(self.test.labels, self.task.decode_rows(self.test, logits))[self.metric]
        return value if math.isfinite(value) else None


def told(runs: Sequence[dict[str, Any]], name: str, steps: int, method: str) -> str:
    """Say the metric at each factor, mean over seeds."""
    own = [run for run in runs if (run["set"], run["steps"], run["method"]) == (name, steps, method)]
    return "  ".join(
        f"x{factor:g} {100 * mean_of(own, factor):.1f}" for factor in sorted({run["factor"] for run in own})
    )


def mean_of(runs: Sequence[dict[str, Any]], factor: float) -> float:
    """The mean over seeds; a seed that diverged has learned nothing."""
    return float(np.mean([run["metric"] or 0.0 for run in runs if run["factor"] == factor]))


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Return the README's tables: a row a set, method and length, the best of the rates in bold.

    Cells whose rule was changed after they were run have other multiples of auto's rate than `FACTORS`: a table of their own.
    """
    order = sorted({(run["set"], run["steps"], run["method"]) for run in runs})
    others = ["| | steps | seeds | auto's rate | at multiples of it | auto lacks |", "|---|--:|--:|--:|---|--:|"]
    lines = [
        "| | steps | seeds | auto's rate | x 0.3 | auto | x 3 | x 10 | auto lacks |", "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    ]  # fmt: skip
    for name, steps, method in order:
        cell = [run for run in runs if (run["set"], run["steps"], run["method"]) == (name, steps, method)]
        rate = next(run["rate"] for run in cell if run["factor"] == 1.0)
        means = {factor: round(100 * mean_of(cell, factor), 1) for factor in sorted({run["factor"] for run in cell})}
        best = max(means.values())
        seeds = len({run["seed"] for run in cell if run["factor"] == 1.0})
        if not set(means) <= set(FACTORS):
            at = (f"x {factor:g}: " + (f"**{mean}**" if mean == best else f"{mean}") for factor, mean in means.items())
            others.append(
                f"| {NAMES[name]}, `{method}` | {steps:,} | {seeds} | {rate:g} | {', '.join(at)} | {lack(cell):.1f} |"
            )
            continue
        shown = [
            "–" if factor not in means else f"**{means[factor]}**" if means[factor] == best else f"{means[factor]}"
            for factor in FACTORS
        ]
        lines.append(
            f"| {NAMES[name]}, `{method}` | {steps:,} | {seeds} | {rate:g} | {' | '.join(shown)} | {lack(cell):.1f} |"
        )
    return "\n".join([*lines, "", *others])


def lack(cell: Sequence[dict[str, Any]]) -> float:
    """Return what auto lacks of the best of the rates, in points, of means over seeds."""
    return round(100 * (max(mean_of(cell, run["factor"]) for run in cell) - mean_of(cell, 1.0)), 6)


def lack_of_four(cell: Sequence[dict[str, Any]]) -> float:
    """Return what auto lacks of the best of the four rates of `FACTORS` alone.

    Of a cell that lacks the rate at ten times auto's, all beyond three times are taken in its place; of one that lacks 0.3
    or 3, all that were tried.
    """
    tried = {run["factor"] for run in cell}
    if not {0.3, 3.0} <= tried:
        return lack(cell)
    return lack([run for run in cell if run["factor"] in FACTORS or (10.0 not in tried and run["factor"] > 3.0)])


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How often auto is near the best of the rates tried, and of the four, over cells, and what it lacks at most."""
    cells: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for run in runs:
        cells.setdefault((run["model"], run["set"], str(run["steps"]), run["method"]), []).append(run)
    lacks = {" ".join(cell): lack(own) for cell, own in cells.items()}
    of_four = [lack_of_four(own) for own in cells.values()]
    ordered = sorted(lacks.items(), key=lambda entry: -entry[1])
    return {
        "cells": len(lacks), "auto is the best": sum(lack == 0 for lack in lacks.values()),
        "within 1 point": sum(lack <= 1 for lack in lacks.values()),
        "within 1 point of the four": sum(lack <= 1 for lack in of_four),
        "within 2 points": sum(lack <= 2 for lack in lacks.values()),
        "median lack": float(np.median(list(lacks.values()))),
        "diverged at auto": sum(run["factor"] == 1.0 and run["metric"] is None for run in runs),
        "lacks more than 1 point": {cell: round(lack, 2) for cell, lack in ordered if lack > 1},
    }  # fmt: skip


if __name__ == "__main__":
    main()
