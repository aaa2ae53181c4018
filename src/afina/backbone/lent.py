"""Forward passes of attention modules that take no attention function from outside, lent for the time of an attachment.

A row names one in `lent`; it gets the module, the attention to call, and what calls a module once for each adapter.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from afina.backbone.disentangled import disentangled_attention

__all__ = ["LENT", "biased_attention"]


def biased_attention(
    module: Any, attend: Callable[..., tuple[Tensor, None]], _: Callable[..., Tensor], hidden_states: Tensor,
    attention_mask: Tensor | None = None, position_bias: Tensor | None = None, **__: Any,
) -> tuple[Tensor]:  # fmt: skip
    """MPNet's: a bias by distance (B, H, T, T), the same in every layer, is added to the scores of states (B, T, D)."""
    query, key, value = (
        projection(hidden_states).unflatten(-1, (module.num_attention_heads, -1)).transpose(1, 2)
        for projection in (module.q, module.k, module.v)
    )  # (B, H, T, D/H)
    probability = module.dropout.p if module.training else 0.0
    context, _none = attend(
        module, query, key, value, attention_mask, dropout=probability, is_causal=False, position_bias=position_bias
    )
    return (module.o(context.flatten(2)),)


LENT: dict[str, Callable[..., Any]] = {"disentangled": disentangled_attention, "biased": biased_attention}
