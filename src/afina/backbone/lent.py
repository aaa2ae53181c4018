"""Forward passes of attention modules that take no attention function from outside, lent for the time of an attachment.

A row names one in `lent`; it gets the module, the attention to call, and what calls a module once for each adapter.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy
from afina.backbone.disentangled import disentangled_attention
from afina.backbone.function import ATTACHED, Attends, attention_function
from afina.backbone.lending import Loan, has_own_forward
from afina.errors import UsageError

__all__ = ["LENT", "biased_attention", "lend_attention"]


def biased_attention(
    module: Any, attend: Callable[..., tuple[Tensor, None]], _: Callable[..., Tensor], hidden_states: Tensor,
    attention_mask: Tensor | None = None, position_bias: Tensor | None = None, **__: Any,
) -> tuple[Tensor]:  # fmt: skip
    """Add MPNet's bias by distance (B, H, T, T), the same in every layer, to the scores of states (B, T, D)."""
    query, key, value = (
        projection(hidden_states).unflatten(-1, (module.num_attention_heads, -1)).transpose(1, 2)
        for projection in (module.q, module.k, module.v)
    )  # (B, H, T, D/H)
    probability = module.dropout.p if module.training else 0.0
    # `_none`: attention gives no weights, as nobody asks for them.
    context, _none = attend(
        module, query, key, value, attention_mask, dropout=probability, is_causal=False, position_bias=position_bias
    )
    return (module.o(context.flatten(2)),)


LENT: dict[str, Callable[..., Any]] = {"disentangled": disentangled_attention, "biased": biased_attention}


def lend_attention(
    owner: Attends, modules: Mapping[str, nn.Module], anatomy: Anatomy, for_each_adapter: Callable[..., Tensor]
) -> list[Any]:
    """Have a model's attention calls come to `owner`; return handles, whose `remove` ends it.

    Raises `UsageError` where a forward pass would have to be lent in the place of one that is another's.
    """
    handles: list[Any] = []
    for name in anatomy.attention_modules:
        # All are looked at before any is lent: a refusal leaves nothing behind.
        assert modules[name] not in ATTACHED, "a backbone carries one attachment at a time"
        if anatomy.row.lent is not None and has_own_forward(modules[name]):
            raise UsageError(
                f"{name} of this {anatomy.model_type} model has a forward pass that something else put there (accelerate's "
                "dispatch_model, for one), and Afina has to put its own in its place; load the model whole."
            )
    for module in (modules[name] for name in anatomy.attention_modules):
        if anatomy.row.lent is not None:
            lent = partial(LENT[anatomy.row.lent], module, attention_function, for_each_adapter)
            handles.append(Loan(module, lent))
        ATTACHED[module] = owner
        handles.append(_LentAttention(module))
    return handles


class _LentAttention:
    """An attention module among those that are attached, until `remove`."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def remove(self) -> None:
        ATTACHED.pop(self._module, None)
