"""Rows a second and the time of one row of a classifier in torch and as an ONNX graph, float and int8, at real lengths.

    python benchmarks/export.py --data ../shared/data/ag_news/test.parquet --out benchmarks/results/export.json

Rows go in batches of like length (buckets), and again padded to the longest that the model was trained for, as those do who
export by hand. A fresh LoRA on MiniLM stands for a trained one: the time does not depend on what its weights are.
"""

import argparse
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
from afina.adapters.adapter import build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.attachment import Attachment
from afina.backbone.load import load_backbone
from afina.config import DatasetSpec
from afina.data.tokens.batching import Tokens, collate, evaluation_batches
from afina.export.opened import arrays, open_export
from afina.methods.base import make_method
from afina.tasks.reading import load_text_dataset
from record import write_record

Contestant = Callable[[Mapping[str, Tensor]], Any]
MAX_LENGTH, BATCH = 128, 32


def fresh(folder: Path, names: tuple[str, ...]) -> Path:
    """Save a LoRA on MiniLM that was not trained."""
    backbone, method = load_backbone("minilm"), make_method("lora", {})
    adapter = build_adapter(method, backbone, outputs=len(names), seed=0)
    record = AdapterRecord(
        model="minilm", method="lora", settings=method.settings(), max_length=MAX_LENGTH, precision="fp32", seed=0,
        task={"name": "classification", "label_names": list(names)},
    )  # fmt: skip
    save_adapter(folder, adapter, backbone, record)
    return folder


def batches(tokens: Tokens, size: int, width: int | None) -> Iterator[Mapping[str, Tensor]]:
    """Yield all rows: in buckets of like length, or in their order and padded to a width."""
    order = (
        evaluation_batches(tokens.lengths, size) if width is None
        else np.array_split(np.arange(len(tokens)), -(-len(tokens) // size))
    )  # fmt: skip
    for rows in order:
        inputs = dict(collate([(tokens, rows)], 0, most=MAX_LENGTH).inputs)
        inputs.setdefault("attention_mask", torch.ones_like(inputs["input_ids"]))
        missing = 0 if width is None else width - inputs["input_ids"].shape[1]
        yield {name: torch.nn.functional.pad(value, (0, missing)) for name, value in inputs.items()}


def measure(name: str, run: Contestant, tokens: Tokens, rounds: int) -> dict[str, Any]:
    """Return rows a second, buckets and padded, and the median and 99th percentile of a single row's milliseconds."""
    found: dict[str, Any] = {"contestant": name}
    for kind, width in (("buckets", None), ("padded", MAX_LENGTH)):
        given, taken = list(batches(tokens, BATCH, width)), []
        run(given[-1])
        for _ in range(rounds):
            begin = time.perf_counter()
            for inputs in given:
                run(inputs)
            taken.append(time.perf_counter() - begin)
        found[f"rows_per_second_{kind}"] = len(tokens) / min(taken)
    singles = [next(batches(tokens.take(np.array([row])), 1, None)) for row in range(min(100, len(tokens)))]
    taken = []
    for inputs in singles:
        run(inputs)
        begin = time.perf_counter()
        run(inputs)
        taken.append(1e3 * (time.perf_counter() - begin))
    p50, p99 = np.percentile(taken, [50, 99])
    return found | {"one_row_ms_p50": float(p50), "one_row_ms_p99": float(p99)}


def contestants(
    adapter: Path, folder: Path, data: str, rows: int, stack: ExitStack
) -> Iterator[tuple[str, Contestant]]:
    """Yield each way to answer; what torch has attached stays so until the stack ends."""
    for precision in ("fp32", "bf16"):
        loaded = afina.load(adapter, precision=precision)
        attached = stack.enter_context(Attachment(loaded.backbone, [loaded.adapter]))

        @torch.inference_mode()
        def answer(inputs: Mapping[str, Tensor], attached: Attachment = attached) -> Any:
            return attached(inputs)[0]

        yield f"torch {precision}", answer
    for name, options in (("onnx fp32", {}), ("onnx int8", {"int8": True, "at_most": 1.0})):
        made = api.export(adapter, "onnx", folder / name.replace(" ", "-"), data=data, rows=rows, **options)
        opened = open_export(made.folder)

        def run(inputs: Mapping[str, Tensor], opened: Any = opened) -> Any:
            return opened.session.outputs(arrays(inputs, opened.manifest.inputs))

        yield name, run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="../shared/data/ag_news/test.parquet")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/export.json"))
    settings = parser.parse_args()
    found = load_text_dataset(DatasetSpec(path=settings.data), task="classification")
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        adapter = fresh(Path(place) / "adapter", tuple(found.label_names or ()))
        tokens = afina.load(adapter).tokens(found.test.take(np.arange(min(settings.rows, len(found.test)))))
        figures = []
        for name, run in contestants(adapter, Path(place), settings.data, 100, stack):
            figures.append(measure(name, run, tokens, settings.rounds))
            print(figures[-1], flush=True)
    lengths = np.percentile(tokens.lengths, [50, 90, 100]).tolist()
    write_record(
        settings.out, "onnx", "onnxruntime", rows=len(tokens), lengths=lengths, threads=torch.get_num_threads(),
        figures=figures,
    )  # fmt: skip


if __name__ == "__main__":
    main()
