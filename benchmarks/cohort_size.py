"""What a cohort costs as it grows: 1, 2, 4, ... 32 members on the same rows, and how much of the processor that uses.

    python benchmarks/cohort_size.py --data ../shared/data/ag_news --rows 300 --out benchmarks/results/cohort_size.json

MiniLM, bf16 where the processor has it, batch 6, AG News rows: every size in a process of its own, all members in one pass;
the median step of an epoch after one of warming up, members of one method (LoRA, a seed each) and of eight methods in turn.
Utilisation counts the matrix products of the frozen layers, forward and to the inputs' gradients (4 P a token, and 12 T D a
token and layer for attention), against the largest rate at which the same process multiplies matrices of the layers' shapes
for that many tokens. Beside the .json an .svg is drawn.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from record import precision, write_record

SIZES = (1, 2, 4, 8, 16, 32)
MIXED = ("lora", "ia3", "bitfit", "norms", "dora", "adalora", "pfeiffer", "houlsby")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--only", help="one size in this process: KIND,SIZE")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.only:
        kind, size = options.only.split(",")
        print(json.dumps(cost(kind, int(size), options.data, options.rows)))
        return
    figures: dict[str, list[dict[str, Any]]] = {}
    for kind in ("lora", "mixed"):
        for size in options.sizes:
            command = [sys.executable, __file__, "--only", f"{kind},{size}", "--data", str(options.data)]
            found = subprocess.run(
                [*command, "--rows", str(options.rows)], check=True, capture_output=True, text=True
            ).stdout
            figures.setdefault(kind, []).append(own := json.loads(found.splitlines()[-1]))
            print(
                f"{kind:6}{size:4} members{own['member_seconds'] * 1e3:8.1f} ms a member's step"
                f"{own['peak_megabytes']:8.0f} MB{own['utilisation']:7.0%} of {own['ceiling_gflops']:.0f} GFLOP/s",
                flush=True,
            )
    if options.out:
        write_record(options.out, figures=figures)
        options.out.with_suffix(".svg").write_text(drawn(figures))


def cost(kind: str, size: int, data: Path, rows: int) -> dict[str, Any]:
    import numpy as np
    import torch

    from afina.backbone.load import load_backbone
    from afina.ops.allocator import keep_freed_memory
    from afina.ops.dropout import DropoutSource
    from afina.study.prepare import prepare
    from afina.study.running import load_data, start_running
    from afina.study.study import Study
    from afina.train.loop import Callbacks, Clock, train
    from afina.train.passes import Passes
    from solo_profile import job_of

    keep_freed_memory()
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        study = Study(
            Path(folder) / "out", model="minilm", dataset=str(data), methods=["lora"] if kind == "lora" else list(MIXED),
            seeds=size, epochs=2, train_limit=rows, test_limit=50, precision=precision(),
        )  # fmt: skip
        prepared = prepare(study.config, study.config.dataset[0], "minilm", study.directory)
        jobs = [job_of(study, prepared, run) for run in sorted(study.runs, key=lambda run: run.seed)[:size]]
        data = load_data(jobs)
        tokens = data[0].splits["train"]
        backbone = load_backbone("minilm", precision=precision())
        members = [start_running(job, job.run.method, backbone, data[0]).member for job in jobs]
        clock = Clock()
        with Passes(backbone, DropoutSource(0)) as passes:
            train(passes, members, clock, Callbacks(lambda: None, lambda ended: None), micro_batch_size=None)
    steps = len(clock.step_seconds) // 2
    seconds = float(np.sum(clock.step_seconds[steps:]))
    layers, width, inner = (
        backbone.config.num_hidden_layers,
        backbone.config.hidden_size,
        backbone.config.intermediate_size,
    )
    lengths = tokens.lengths
    shape = round(float(lengths.mean())) * 6 * size
    products = layers * (4 * width * width + 2 * width * inner)
    flops = size * float((4 * products * lengths + 12 * layers * width * lengths.astype(float) ** 2).sum())
    ceiling = max(rate(torch, shape, n_in, n_out) for n_in, n_out in ((width, width), (width, inner), (inner, width)))
    return {
        "size": size, "member_seconds": seconds / steps / size,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "tokens_per_second": size * int(lengths.sum()) / seconds,
        "utilisation": flops / seconds / ceiling, "ceiling_gflops": ceiling / 1e9,
    }  # fmt: skip


def rate(torch: Any, rows: int, n_in: int, n_out: int) -> float:
    """Return the floating-point operations a second of one product, of the best of thirty in the faster form."""
    from afina.ops.frozen_linear import frozen_linears

    dtype = torch.bfloat16 if precision() == "bf16" else torch.float32
    module = torch.nn.Linear(n_in, n_out, bias=False, dtype=dtype).requires_grad_(False)
    x, best = torch.randn(rows, n_in, dtype=dtype), float("inf")
    with torch.inference_mode():
        for form in (module, *frozen_linears(module).values()):
            for _ in range(30):
                started = time.perf_counter()
                form(x)
                best = min(best, time.perf_counter() - started)
    return 2 * rows * n_in * n_out / best


def drawn(figures: dict[str, list[dict[str, Any]]]) -> str:
    """Return a figure of milliseconds a member's step by cohort size."""
    left, top, width, height = 60, 40, 420, 220
    sizes = [own["size"] for own in figures["lora"]]
    most = 1.15e3 * max(own["member_seconds"] for line in figures.values() for own in line)

    def at(place: int, seconds: float) -> tuple[float, float]:
        return left + place * width / (len(sizes) - 1), top + height * (1 - seconds * 1e3 / most)

    parts = [f'<text x="{left}" y="20">ms of a member\'s step, by members of the cohort</text>']
    for part in range(5):
        y = top + height * part / 4
        parts.append(f'<line x1="{left}" y1="{y}" x2="{left + width}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{most * (1 - part / 4):.0f}</text>')
    for place, size in enumerate(sizes):
        parts.append(f'<text x="{at(place, 0)[0]}" y="{top + height + 20}" text-anchor="middle">{size}</text>')
    for (kind, line), colour in zip(figures.items(), ("#0072b2", "#d55e00"), strict=True):
        points = [at(place, own["member_seconds"]) for place, own in enumerate(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in points]
        parts.append(f'<text x="{points[-1][0] + 10:.1f}" y="{points[-1][1] + 4:.1f}" fill="{colour}">{kind}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 560 {top + height + 40}" font-family="sans-serif" '
        f'font-size="13"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    main()
