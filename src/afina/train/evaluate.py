"""Evaluation: logits of every row, in the order of the rows."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from afina.backbone.attach import Attached
from afina.data.batching import Tokens, evaluation_batches

__all__ = ["predict_logits"]


def predict_logits(
    attached: Attached,
    tokens: Tokens,
    *,
    batch_size: int,
    tick: Callable[[int], None] | None = None,
) -> list[np.ndarray]:
    """Return each adapter's logits (N, K), or what its task has for them; `tick` is told the rows done after each batch.

    Rows run sorted by length with little padding, every adapter on the same batch, without gradients or dropout.
    """
    attached.train(False)
    members = len(attached.adapters)
    parts: list[list[torch.Tensor]] = [[] for _ in range(members)]
    order: list[np.ndarray] = []
    done = 0
    with torch.inference_mode():
        for rows in evaluation_batches(tokens.lengths * tokens.choices, batch_size):
            batch = attached.batch(tokens, np.tile(rows, members))
            slices = member_rows(members, len(rows) * tokens.choices)
            for part, logits in zip(parts, attached(batch.inputs, slices), strict=True):
                part.append(logits)
            order.append(rows)
            done += len(rows)
            if tick is not None:
                tick(done)
    back = np.argsort(np.concatenate(order), kind="stable")
    return [torch.cat(part).float().cpu().numpy()[back] for part in parts]


def member_rows(members: int, rows: int) -> Sequence[slice]:
    """Return the slices of a batch that holds the same `rows` rows once for each member."""
    return [slice(index * rows, (index + 1) * rows) for index in range(members)]
