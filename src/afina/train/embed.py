"""Compute embeddings: one vector for each text, from the frozen backbone."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from afina.backbone.attachable import Attachable
from afina.backbone.attachment import Attachment
from afina.backbone.head import Head
from afina.backbone.load import Backbone, load_backbone
from afina.backbone.pooling import pooled
from afina.data.rows import Rows
from afina.data.tokens.batching import evaluation_batches
from afina.data.tokens.tokenize import tokenize
from afina.data.tokens.tokens import IGNORED, Tokens
from afina.train.evaluate import outputs_in_order

__all__ = ["embed", "text_embedder"]


class _Headless:
    """Stands for an adapter without its head: some heads make the last layer skip the tokens that they do not read."""

    def __init__(self, backbone: Backbone, adapter: Attachable) -> None:
        self.head, self.placed = Head(backbone.config, 0), adapter.placed


def embed(
    backbone: Backbone, tokens: Tokens, pooling: str, *, batch_size: int, tick: Callable[[int], None] | None = None,
    adapter: Attachable | None = None,
) -> np.ndarray:  # fmt: skip
    """Return a float32 vector for each row (N, D), or for each word where words have labels.

    The backbone is frozen, with an adapter on it or bare.
    """
    parts: list[np.ndarray] = []
    order: list[np.ndarray] = []
    done, causal = 0, backbone.anatomy.row.causal
    with (
        Attachment(backbone, [] if adapter is None else [_Headless(backbone, adapter)]) as attached,
        torch.inference_mode(),
    ):
        # Rows of like length together; their order is brought back at the end.
        for rows in evaluation_batches(tokens.lengths, batch_size):
            batch = attached.batch([(tokens, rows)])
            hidden = attached.hidden(batch.inputs, known=batch.known)
            states = (
                # Words have a vector each where they have labels: that of their first token.
                hidden.states[batch.labels[0] != IGNORED] if tokens.by_word else pooled(hidden, pooling, causal=causal)
            )
            parts.append(states.float().cpu().numpy())
            order.append(rows)
            done += len(rows)
            if tick is not None:
                tick(done)
    vectors: np.ndarray = np.concatenate(parts)[outputs_in_order(tokens, order)]
    return vectors


def text_embedder(name: str = "minilm", max_length: int = 256) -> Callable[[Sequence[str]], np.ndarray]:
    """Load a model and return a function from texts to vectors (N, D), each the mean of its text's token states."""
    backbone = load_backbone(name)

    def vectors(texts: Sequence[str]) -> np.ndarray:
        rows = Rows(list(texts), None, np.zeros(len(texts), dtype=np.int64))
        return embed(backbone, tokenize(backbone.tokenizer, rows, max_length), "mean", batch_size=32)

    return vectors
