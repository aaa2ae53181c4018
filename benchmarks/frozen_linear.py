"""Products of frozen layers as torch takes them, and by oneDNN from copies laid out once (afina/ops/frozen_linear.py).

    python benchmarks/frozen_linear.py --data ../shared/data/ag_news

First the products alone, forward and for the gradient, medians of 40 calls; then an epoch of a LoRA on MiniLM and the
evaluation of its test rows with either, in turn in one process, medians of the turns after the first.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

from afina.backbone.load import load_backbone
from afina.ops.allocator import keep_freed_memory
from afina.ops.frozen_linear import frozen_linears
from one_epoch import OneEpoch
from record import write_record

SHAPES = ((384, 384), (384, 1536), (1536, 384), (2048, 2048), (2048, 5632))
ROWS = (1, 8, 64, 336, 1344)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.parquet and test.parquet")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    keep_freed_memory()
    precisions = {"bf16": torch.bfloat16, "fp32": torch.float32}
    products = [
        product(name, dtype, shape, rows) for name, dtype in precisions.items() for shape in SHAPES for rows in ROWS
    ]
    epochs = [epoch(name, options) for name in precisions]
    if options.out:
        write_record(options.out, products=products, epochs=epochs)


def product(name: str, dtype: torch.dtype, shape: tuple[int, int], rows: int) -> dict[str, object]:
    module = torch.nn.Linear(*shape).to(dtype).requires_grad_(False)
    frozen = frozen_linears(module)[module]
    x, gradient = torch.randn(rows, shape[0], dtype=dtype), torch.randn(rows, shape[1], dtype=dtype)
    back = torch.nn.Linear(shape[1], shape[0], bias=False).to(dtype).requires_grad_(False)
    frozen_back = frozen_linears(back)[back]
    with torch.inference_mode():
        forms = {
            "forward, torch": lambda: module(x), "forward, copies": lambda: frozen(x),
            "gradient, torch": lambda: gradient @ module.weight, "gradient, copies": lambda: frozen_back(gradient),
        }  # fmt: skip
        rates = {form: 2e-9 * rows * shape[0] * shape[1] / seconds(call) for form, call in forms.items()}
    print(
        f"{name} {shape!s:14}{rows:6} rows " + "".join(f"{rate:8.0f}" for rate in rates.values()), "GFLOP/s", flush=True
    )
    return {"precision": name, "shape": shape, "rows": rows, "gigaflops": rates}


def seconds(call: Callable[[], object]) -> float:
    times = []
    for _ in range(45):
        started = perf_counter()
        call()
        times.append(perf_counter() - started)
    return median(times[5:])


def epoch(precision: str, options: argparse.Namespace) -> dict[str, object]:
    run = OneEpoch(options.data, 120, 300)
    backbones = {form: load_backbone("minilm", precision=precision) for form in ("torch", "copies")}
    backbones["torch"].linears = {}
    times: dict[str, list[tuple[float, float]]] = {form: [] for form in backbones}
    for _ in range(options.turns):
        for form, backbone in backbones.items():
            times[form].append(run(backbone, ["lora"]))
    own = {form: [median(parts) for parts in zip(*taken[1:], strict=True)] for form, taken in times.items()}
    ratios = [plain / copies for plain, copies in zip(*own.values(), strict=True)]
    print(f"{precision}: steps {ratios[0]:.2f}, evaluation {ratios[1]:.2f} times as fast with copies", flush=True)
    return {"precision": precision, "seconds of steps and evaluation": times, "times as fast": ratios}


if __name__ == "__main__":
    main()
