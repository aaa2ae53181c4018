"""Attention, softmax(Q K^T * scaling + mask) V, in the form that is fastest where it runs.  Vaswani et al., 2017.

Explicit products where gradients are wanted on a CPU: there the backward of torch's fused kernel takes a third of a
training step of a small model (benchmarks/attention.py measures both). The fused kernel elsewhere.
"""

import torch
from torch import Tensor

from afina.ops.dropout import DropoutSource, dropout

__all__ = ["attention"]


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    scaling: float,
    causal: bool = False,
    dropout_probability: float = 0.0,
    source: DropoutSource | None = None,
) -> Tensor:
    """Return the attention output (B, H, T, D/H) of query (B, H, T, D/H) over key and value (B, Hkv, S, D/H).

    `mask` is boolean (True: attend) or additive, broadcastable to (B, H, T, S), or None; `causal` is only looked at
    without a mask. Fewer key and value heads than query heads are shared by groups (grouped-query attention).
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    if query.device.type != "cpu" or not torch.is_grad_enabled():
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout_probability, is_causal=causal, scale=scaling
        )
    scores = torch.matmul(query * scaling, key.transpose(2, 3))  # (B, H, T, S)
    if mask is None and causal:
        rows, columns = scores.shape[-2:]
        mask = torch.ones(rows, columns, dtype=torch.bool).tril(columns - rows)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min) if mask.dtype == torch.bool else scores + mask
    weights = dropout(torch.softmax(scores, dim=-1), dropout_probability, source)
    return torch.matmul(weights, value)
