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

from afina.ops.allocator import keep_freed_memory
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
    figures = [measure(method, members, options) for method, members in CASES]
    if options.out:
        write_record(options.out, figures=figures)


def measure(method: str, members: int, options: argparse.Namespace) -> dict[str, object]:
    from afina.backbone import route

    apart = patch.object(route, "_stack_key", lambda placed: None)
    seconds: dict[str, list[float]] = {"stacked": [], "apart": []}
    for turn in range(options.turns):
        for form, block in (("stacked", nullcontext()), ("apart", apart)):
            with block:
                taken = epoch_seconds(method, members, options)
            if turn:
                seconds[form].append(taken)
    stacked, alone = median(seconds["stacked"]), median(seconds["apart"])
    print(
        f"{method:10}{members:3} members{stacked:8.2f} s stacked{alone:8.2f} s apart{alone / stacked:7.2f} x",
        flush=True,
    )
    return {"method": method, "members": members, "seconds": seconds, "times_as_fast": alone / stacked}


def epoch_seconds(name: str, members: int, options: argparse.Namespace) -> float:
    import torch

    from afina.backbone.load import load_backbone
    from afina.config import DatasetSpec
    from afina.data.sources import load_text_dataset
    from afina.methods.adapter import build_adapter
    from afina.methods.base import make_method
    from afina.ops.dropout import DropoutSource
    from afina.tasks.classification import Classification
    from afina.train.loop import Callbacks, Clock, Member, train
    from afina.train.optimiser import Optimiser
    from afina.train.passes import Passes

    backbone = load_backbone("minilm", precision="bf16")
    data = load_text_dataset(DatasetSpec(path=str(options.data)), train_limit=options.rows, test_limit=10)
    task = Classification(tuple(data.label_names))
    tokens = task.tokenize(backbone.tokenizer, data.train, 256, apart=False)
    method, steps = make_method(name, {}, {}), -(-options.rows // 6)
    together = []
    for seed in range(members):
        adapter = build_adapter(method, backbone, task.outputs, seed=seed)
        optimiser = Optimiser(adapter.trainable(backbone), learning_rate=method.learning_rate, total_steps=steps)
        schedule = method.steps_beside(adapter.by_site(), steps)
        loss_sum = torch.zeros((), dtype=torch.float64)
        together.append(Member(adapter, task, tokens, 0, 1, 6, optimiser, schedule, loss_sum))
    clock = Clock()
    with Passes(backbone, DropoutSource(0)) as passes:
        train(passes, together, clock, Callbacks(lambda: None, lambda ended: None), micro_batch_size=None)
    return clock.seconds


if __name__ == "__main__":
    main()
