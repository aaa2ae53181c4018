"""Evaluate adapters: the logits of every row, in the order of the rows."""

from collections.abc import Callable

import numpy as np
import torch

from afina.backbone.attachment import Attachment
from afina.backbone.head import Hidden
from afina.data.tokens.batching import evaluation_batches
from afina.data.tokens.tokens import IGNORED, Tokens

__all__ = ["outputs_in_order", "predict_logits"]


def predict_logits(
    attached: Attachment,
    tokens: Tokens,
    *,
    batch_size: int,
    tick: Callable[[int], None] | None = None,
    see: Callable[[np.ndarray, list[Hidden]], None] | None = None,
) -> list[np.ndarray]:
    """Return each adapter's logits (N, K), for words where words have labels, or what its task computes in their place.

    Rows are sorted by length, so that there is little padding; a batch holds the same rows for every adapter, `batch_size`
    in all. There are no gradients and no dropout. `tick` is called with the number of rows done after each batch,
    `see` with the rows of each batch and the states of all their tokens, as each adapter makes them.
    """
    attached.train(False)
    members = len(attached.adapters)
    parts: list[list[torch.Tensor]] = [[] for _ in range(members)]
    order: list[np.ndarray] = []
    done = 0
    team = attached.backbone.team
    with team.without_gradients():
        # A batch holds so many rows in all, whoever they are of, so that more members take no more memory.
        for rows in evaluation_batches(tokens.lengths * tokens.choices * members, max(1, batch_size // members)):
            batch = attached.batch([(tokens, team.share(rows))] * members)
            seen = attached.seen(batch, whole=see is not None)
            for part, (_, logits), labels in zip(parts, seen, batch.labels, strict=True):
                labelled = logits[labels != IGNORED] if tokens.by_word else logits
                part.append(labelled if team.counts(rows) else labelled[:0])
            if see is not None:
                see(rows, [hidden for hidden, _ in seen])
            order.append(rows)
            done += len(rows)
            if tick is not None:
                tick(done)
    # Stacked by length, and back: predictions stand beside the rows that they are of.
    back = outputs_in_order(tokens, order)
    return [torch.cat(team.gathered(part)).float().cpu().numpy()[back] for part in parts]


def outputs_in_order(tokens: Tokens, batches: list[np.ndarray]) -> np.ndarray:
    """Return the index that brings the outputs of these batches into the order of the rows."""
    rows = np.concatenate(batches)
    return np.argsort(np.repeat(rows, tokens.trained[rows]) if tokens.by_word else rows, kind="stable")
