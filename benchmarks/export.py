"""Rows a second and the time of one row of a classifier in torch, ONNX Runtime and OpenVINO, float and int8, at real lengths.

    pip install 'afina[onnx,openvino-int8]'
    python benchmarks/export.py ADAPTER --data ../shared/data/ag_news --out benchmarks/results/export.json

ADAPTER was trained on the data (MiniLM with a LoRA, say); the same test rows say how often each is right, and how much less
than torch fp32 with a paired interval. Rows go in batches of like length (buckets), and again padded to 128 tokens, as those
do who export by hand. Contestants take turns, once a round, on as many threads as OMP_NUM_THREADS says; the best round
counts, as others share the machine.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import afina
from afina import api
from afina.backbone.attachment import Attachment
from afina.config import DatasetSpec
from afina.data.tokens.batching import Tokens, collate, evaluation_batches
from afina.export.costs import VARIABLE
from afina.export.int8 import loss_of
from afina.export.opened import arrays, open_export
from afina.tasks.reading import load_text_dataset
from record import write_record

Contestant = Callable[[Mapping[str, Tensor]], Any]
MAX_LENGTH, BATCH = 128, 32
EXPORTS: dict[str, tuple[str, dict[str, Any]]] = {
    "onnx fp32": ("onnx", {}), "onnx int8 dynamic": ("onnx", {"int8": "dynamic", "at_most": 1.0}),
    "onnx int8 static": ("onnx", {"int8": "static", "at_most": 1.0}), "openvino fp32": ("openvino", {}),
    "openvino int8 static": ("openvino", {"int8": "static", "at_most": 1.0}),
}  # fmt: skip


def batches(tokens: Tokens, size: int, width: int | None) -> Iterator[tuple[np.ndarray, Mapping[str, Tensor]]]:
    """Yield all rows: in buckets of like length, or in their order and padded to a width."""
    order = (
        evaluation_batches(tokens.lengths, size) if width is None
        else np.array_split(np.arange(len(tokens)), -(-len(tokens) // size))
    )  # fmt: skip
    for rows in order:
        inputs = dict(collate([(tokens, rows)], 0, most=MAX_LENGTH).inputs)
        if width is not None:
            inputs.setdefault("attention_mask", torch.ones_like(inputs["input_ids"]))
        missing = 0 if width is None else width - inputs["input_ids"].shape[1]
        yield rows, {name: torch.nn.functional.pad(value, (0, missing)) for name, value in inputs.items()}


def seconds(run: Contestant, inputs: Mapping[str, Tensor]) -> float:
    begin = time.perf_counter()
    run(inputs)
    return time.perf_counter() - begin


def measure(
    contestants: Mapping[str, Contestant], tokens: Tokens, padded: int, rounds: int
) -> dict[str, dict[str, Any]]:
    """Return for each rows a second, in buckets and padded, and the p50 and p99 of a single row's milliseconds."""
    found: dict[str, dict[str, Any]] = {name: {} for name in contestants}
    for kind, own, width in (("buckets", tokens, None), ("padded", tokens.take(np.arange(padded)), MAX_LENGTH)):
        given = [inputs for _, inputs in batches(own, BATCH, width)]
        taken: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, run in contestants.items():
                run(given[-1])
                taken[name].append(sum(seconds(run, inputs) for inputs in given))
        for name, values in taken.items():
            found[name][f"rows_per_second_{kind}"] = len(own) / min(values)
            print(kind, name, f"{len(own) / min(values):.1f}", flush=True)
    singles: dict[str, list[float]] = {name: [] for name in contestants}
    for row in range(min(100, len(tokens))):
        _, inputs = next(batches(tokens.take(np.array([row])), 1, None))
        for name, run in contestants.items():
            run(inputs)
            singles[name].append(1e3 * seconds(run, inputs))
    for name, values in singles.items():
        p50, p99 = np.percentile(values, [50, 99])
        found[name] |= {"one_row_ms_p50": float(p50), "one_row_ms_p99": float(p99)}
    return found


def contestants(given: argparse.Namespace, folder: Path, stack: ExitStack) -> Iterator[tuple[str, Contestant]]:
    """Yield each way to answer; what torch has attached stays so until the stack ends."""
    for precision in ("fp32", "bf16"):
        loaded = afina.load(given.adapter, precision=precision)
        attached = stack.enter_context(Attachment(loaded.backbone, [loaded.adapter]))

        @torch.inference_mode()
        def answer(inputs: Mapping[str, Tensor], attached: Attachment = attached) -> np.ndarray:
            return attached(inputs)[0].float().numpy()

        yield f"torch {precision}", answer
    for name, (to, options) in EXPORTS.items():
        place = (given.exports or folder) / name.replace(" ", "-")
        if not place.exists():
            api.export(given.adapter, to, place, data=given.data, rows=32, **options)
        opened = open_export(place)

        def run(inputs: Mapping[str, Tensor], opened: Any = opened) -> np.ndarray:
            return opened.session.outputs(arrays(inputs, opened.manifest.inputs))

        yield name, run


def outputs(run: Contestant, tokens: Tokens) -> np.ndarray:
    """Return what a contestant gives for all rows."""
    parts = [(rows, run(inputs)) for rows, inputs in batches(tokens, BATCH, None)]
    return np.concatenate([part for _, part in parts])[np.argsort(np.concatenate([rows for rows, _ in parts]))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("--data", default="../shared/data/ag_news")
    parser.add_argument("--exports", type=Path, help="where exports are, or are written")
    parser.add_argument("--rows", type=int, default=600, help="timed in buckets")
    parser.add_argument("--padded-rows", type=int, default=200, help="timed padded")
    parser.add_argument("--test-rows", type=int, default=1000, help="on which accuracy is measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/export.json"))
    settings = parser.parse_args()
    os.environ.setdefault(VARIABLE, "0")  # what an export measures of itself is measured here
    if settings.exports is not None:
        settings.exports.mkdir(parents=True, exist_ok=True)
    found = load_text_dataset(DatasetSpec(path=settings.data), task="classification")
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        every = dict(contestants(settings, Path(place), stack))
        loaded = afina.load(settings.adapter)
        tokens = loaded.tokens(found.test.take(np.arange(min(settings.test_rows, len(found.test)))))
        logits = {name: outputs(run, tokens) for name, run in every.items()}
        timed = tokens.take(np.arange(min(settings.rows, len(tokens))))
        figures = measure(every, timed, settings.padded_rows, settings.rounds)
    for name, own in figures.items():
        metric, (_, value), loss = loss_of(loaded.task, tokens, logits["torch fp32"], logits[name])
        own |= {metric: value, "worse": [loss.value, loss.low, loss.high]}
        print(name, own, flush=True)
    write_record(
        settings.out, "onnx", "onnxruntime", "openvino", "nncf", rows=len(timed), test_rows=len(tokens),
        lengths=np.percentile(timed.lengths, [50, 90, 100]).tolist(), threads=torch.get_num_threads(),
        load=os.getloadavg()[0], figures=figures,
    )  # fmt: skip


if __name__ == "__main__":
    main()
