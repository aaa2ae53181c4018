"""Define what a head is: it maps what the bare model gives for a batch to logits (B, K)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from afina.ops.dropout import DropoutSource, dropout

__all__ = ["EmbeddingHead", "Head", "Hidden", "last_token", "mean_pool"]


@dataclass(frozen=True)
class Hidden:
    """Holds what a head sees: `states` (B, T, D), the backbone's own `pooled` (B, D) or None, `mask` (B, T) or None.

    `targets` (B, T) are there for a language head alone (`language.py`), and `ids` (B, T) where texts were read.
    """

    states: Tensor
    pooled: Tensor | None
    mask: Tensor | None
    targets: Tensor | None = None
    ids: Tensor | None = None

    def rows(self, rows: slice) -> "Hidden":
        return Hidden(
            self.states[rows],
            None if self.pooled is None else self.pooled[rows],
            None if self.mask is None else self.mask[rows],
            None if self.targets is None else self.targets[rows],
            None if self.ids is None else self.ids[rows],
        )


class Head(nn.Module):
    """Base of all heads: `pool` picks or makes one vector a row, `classify` maps it to logits."""

    first_token_only = False
    """True if `pool` looks at nothing but the first token's state."""
    bare = False
    """True where it has nothing of a classifier's, so that PEFT's files name the bare model's modules."""
    per_token = False
    """True if the sum over rows is one over tokens, so that several texts may stand in a row."""

    def __init__(self, config: Any, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        chosen = getattr(config, "classifier_dropout", None)
        # A model that names a dropout for classifiers means it, even if it is none.
        self.dropout = float(getattr(config, "hidden_dropout_prob", 0.0) if chosen is None else chosen)

    def reset(self, config: Any) -> None:
        """Draw fresh weights as transformers does: normal with the model's own standard deviation, biases zero."""
        deviation = getattr(config, "initializer_range", 0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=deviation)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def last(self) -> nn.Linear | None:
        """Return the layer whose rows are the outputs; the language heads have none of their own."""
        return next((module for module in reversed(list(self.modules())) if isinstance(module, nn.Linear)), None)

    @property
    def saved_modules(self) -> list[str]:
        """Return the names of the modules that PEFT is to save with an adapter that has this head."""
        # The outermost names, which are what PEFT saves as wholes.
        return sorted({name.split(".")[0] for name, _ in self.named_parameters()})

    def pool(self, hidden: Hidden) -> Tensor:
        return hidden.states[:, 0]

    def looked_at(self, hidden: Hidden) -> Tensor:
        """Return the states that the answers are read from: (B, D), or those of tokens, (B, T, D) or (N, D)."""
        return self.pool(hidden)

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        raise NotImplementedError  # every form below defines it

    def forward(self, hidden: Hidden, source: DropoutSource | None = None) -> Tensor:
        # Logits in float32 whatever the backbone's precision: they are compared, and their loss is summed.
        return self.classify(self.pool(hidden).float(), source)

    def drop(self, x: Tensor, source: DropoutSource | None) -> Tensor:
        return dropout(x, self.dropout, source) if self.training else x


class EmbeddingHead(Head):
    """Gives each text's vector (B, D), the mean of its tokens' states: nothing of it is trained."""

    bare = True

    def __init__(self, config: Any) -> None:
        super().__init__(config, 0)

    def pool(self, hidden: Hidden) -> Tensor:
        return mean_pool(hidden)

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        return pooled


def mean_pool(hidden: Hidden) -> Tensor:
    """Mean of the states (B, T, D) over the tokens that are not padding, (B, D)."""
    if hidden.mask is None:
        return hidden.states.mean(dim=1)
    weights = hidden.mask.unsqueeze(-1).to(hidden.states.dtype)
    return (hidden.states * weights).sum(dim=1) / weights.sum(dim=1)


def last_token(hidden: Hidden) -> Tensor:
    """State (B, D) of each row's last token that is not padding, whichever side the padding is on."""
    if hidden.mask is None:
        return hidden.states[:, -1]
    length = hidden.mask.shape[1]
    last = (hidden.mask * torch.arange(length, device=hidden.mask.device)).argmax(dim=1)  # (B,)
    # One place of each row, chosen by two lists: no loop over rows.
    return hidden.states[torch.arange(last.shape[0], device=last.device), last]
