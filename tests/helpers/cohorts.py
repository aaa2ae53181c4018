"""Members of a cohort, trained: what each ends as, alone and together."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from afina.adapters.adapter import build_adapter
from afina.backbone.load import Backbone
from afina.data.tokens.tokens import LabelledTokens, Tokens
from afina.methods.base import make_method
from afina.tasks.base import Task
from afina.tasks.classification import Classification
from afina.tasks.regression import Regression
from afina.train.loop import Callbacks, Clock, Member, train
from afina.train.optimiser import Course, Optimiser
from afina.train.passes import Passes


def trained(
    backbone: Backbone, members: Sequence[Member], after_step: Callable[[], None] = lambda: None, **more: Any
) -> list[dict[str, torch.Tensor]]:
    """Train and return each member's weights."""
    micro = more.pop("micro_batch_size", None)
    with Passes(backbone, **more) as passes:
        train(passes, members, Clock(), Callbacks(after_step, lambda ended: None), micro_batch_size=micro)
    return [{key: value.detach().clone() for key, value in m.adapter.named_parameters()} for m in members]


def assert_same(alone: dict[str, torch.Tensor], together: dict[str, torch.Tensor], what: str) -> None:
    for key, value in alone.items():
        # Adam divides by a gradient's own size: where that is nearly nothing, rounding alone decides its direction.
        torch.testing.assert_close(
            together[key], value, rtol=2e-3, atol=2e-4, msg=lambda text, key=key: f"{what} {key}: {text}"
        )


def tokens_of(rows: int, seed: int, *, regression: bool = False) -> Tokens:
    draw = np.random.default_rng(seed)
    lengths = draw.integers(3, 12, rows)
    ids = np.concatenate([np.append(draw.integers(5, 60, length - 1), 4) for length in lengths]).astype(np.int32)
    labels = draw.normal(size=rows) if regression else draw.integers(0, 3, rows)
    return LabelledTokens(ids, np.concatenate([[0], np.cumsum(lengths)]), labels)


def member(
    backbone: Backbone,
    name: str,
    seed: int,
    tokens: Tokens,
    *,
    regression: bool = False,
    batch_size: int = 4,
    **more: Any,
) -> Member:
    task: Task = Regression(mean=0.0, deviation=1.0) if regression else Classification(("a", "b", "c"))
    method = make_method(name, more, {"rank": 2, "dropout": 0.0})
    adapter = build_adapter(method, backbone, task.outputs, seed)
    steps = 2 * -(-len(tokens) // batch_size)
    optimiser = Optimiser(
        adapter.trainable(backbone), learning_rate=method.learning_rate or 1e-3, total_steps=steps,
        course=Course(method.schedule), gradient_clip=method.gradient_clip, weight_decay=method.weight_decay,
    )  # fmt: skip
    return Member(
        adapter, task, tokens, seed, 2, batch_size, optimiser, method.steps_beside(adapter.by_site(), steps),
        torch.zeros((), dtype=torch.float64),
    )  # fmt: skip


def without_dropout(folder: Path) -> Path:
    """Switch dropout off in a model's folder and return it."""
    config = json.loads((folder / "config.json").read_text())
    off = {key: 0.0 for key in config if "drop" in key and isinstance(config[key], float)}
    (folder / "config.json").write_text(json.dumps(config | off))
    return folder
