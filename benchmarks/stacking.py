"""What it saves to compute the branches of neighbours alike in one product: seconds of an epoch, so and one by one.

    python benchmarks/stacking.py --data ../shared/data/ag_news --out benchmarks/results/stacking.json

Members of one method that differ in their seeds train together on MiniLM in bf16, batch 6, one epoch; both forms in turn,
the first turn not counted, medians of the others.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from unittest.mock import patch

from afina.backbone.load import load_backbone
from afina.ops.allocator import keep_freed_memory
from one_epoch import OneEpoch
from record import write_record

CASES = (
    ("lora", 3), ("lora", 8), ("lora", 16), ("dora", 3), ("adalora", 3), ("ia3", 3), ("bitfit", 3), ("houlsby", 3),
    ("pfeiffer", 3),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.parquet and test.parquet")
    parser.add_argument("--rows", type=int, default=120)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    keep_freed_memory()
    run = OneEpoch(options.data, options.rows)
    figures = [measure(method, members, run, options.turns) for method, members in CASES]
    if options.out:
        write_record(options.out, figures=figures)


def measure(method: str, members: int, run: OneEpoch, turns: int) -> dict[str, object]:
    from afina.backbone import route

    backbone = load_backbone("minilm", precision="bf16")
    apart = patch.object(route, "_stack_key", lambda placed: None)
    seconds: dict[str, list[float]] = {"stacked": [], "apart": []}
    for turn in range(turns):
        for form, block in (("stacked", nullcontext()), ("apart", apart)):
            with block:
                taken, _ = run(backbone, [method] * members)
            if turn:
                seconds[form].append(taken)
    stacked, alone = median(seconds["stacked"]), median(seconds["apart"])
    print(
        f"{method:10}{members:3} members{stacked:8.2f} s stacked{alone:8.2f} s apart{alone / stacked:7.2f} x",
        flush=True,
    )
    return {"method": method, "members": members, "seconds": seconds, "times_as_fast": alone / stacked}


if __name__ == "__main__":
    main()
