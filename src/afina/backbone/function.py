"""The attention that transformers' models call here, under the name `afina`, and the masks that go with it."""

import os
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from afina.ops.attention import Scoring, attention
from afina.ops.kind import kind_of

__all__ = ["ATTACHED", "Attends", "attention_function", "mask_function", "register_attention"]


class Attends(Protocol):
    """Declares what a model's attention calls come to."""

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scoring: Scoring
    ) -> Tensor: ...


ATTACHED: WeakKeyDictionary[nn.Module, Attends] = WeakKeyDictionary()
"""The attachment that a call of an attention module belongs to; the registered function has no other way to know."""


def attention_function(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **named: Any,
) -> tuple[Tensor, None]:
    """Compute attention as transformers' modules ask for it, with the attached branches around it.

    Of what else a module names `is_causal`, `softcap` and T5's `position_bias` count; the rest is about caches and kernels.
    """
    # One query alone sees all keys before it, whatever the module says.
    wanted = named.get("is_causal")
    causal = bool(getattr(module, "is_causal", False) if wanted is None else wanted) and query.shape[2] > 1
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scoring = Scoring(scale, causal, dropout, named.get("softcap"))
    if (bias := named.get("position_bias")) is not None:
        attention_mask = _biased(bias, attention_mask, causal=causal)

    attached = ATTACHED.get(module)
    if attached is None:
        output = attention(query, key, value, attention_mask, scoring)
    else:
        output = attached.attend(module, query, key, value, attention_mask, scoring)
    # transformers wants (B, T, H, D/H); and no weights, which nobody here reads.
    return output.transpose(1, 2).contiguous(), None


def _biased(bias: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor:
    """Return T5's bias (1, H, T, S) with the mask in it."""
    if mask is None and causal:
        # A bias has to be a mask of numbers, so that what is causal has to be said by it too.
        mask = torch.ones(bias.shape[-2:], dtype=torch.bool, device=bias.device).tril()
    if mask is None:
        return bias
    if mask.dtype == torch.bool:
        # The least finite number, not minus infinity: a row in which all is masked would be no number.
        return bias.masked_fill(~mask, torch.finfo(bias.dtype).min)
    return bias + mask


def mask_function(*args: Any, **settings: Any) -> Tensor | None:
    """Return `attention_function`'s mask: none where nothing is masked, additive where products are explicit.

    Adding it costs nothing in the backward pass; filling by a boolean mask does, in every layer.
    """
    from transformers.masking_utils import sdpa_mask

    dtype = settings.get("dtype", torch.float32)
    mask = sdpa_mask(*args, **settings)
    # On a GPU attention takes a mask of truths in its own kernels.
    if mask is None or kind_of(mask) != "cpu":
        return mask  # type: ignore[no-any-return]
    return torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)


def register_attention() -> None:
    """Make `afina` an attention implementation of transformers; safe to call again."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.utils import logging

    # Before transformers' hub client is first used, which reads it once.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    AttentionInterface.register("afina", attention_function)
    AttentionMaskInterface.register("afina", mask_function)
