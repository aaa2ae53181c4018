"""Replace DeBERTa's disentangled attention while adapters are attached.  He et al., 2021, arXiv:2006.03654, equation 4.

A_ij = Qc_i Kc_j + Qc_i Kr_d(i,j) + Kc_j Qr_d(j,i): content to content, content to position, position to content. In
transformers this module takes no attention function from outside as others do, so an attachment lends it this forward
pass, in which the two terms of positions go in as a bias; projections stay the module's own.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["disentangled_attention"]

Attend = Callable[..., tuple[Tensor, None]]
Each = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]


def disentangled_attention(
    module: Any,
    attend: Attend,
    for_each_adapter: Each,
    hidden_states: Tensor,
    attention_mask: Tensor,
    *asked: Any,
    query_states: Tensor | None = None,
    relative_pos: Tensor | None = None,
    rel_embeddings: Tensor | None = None,
) -> tuple[Tensor, None]:
    """Return the context (B, T, D) of states (B, T, D) under a mask (B, 1, T, T).

    What else transformers hands on asks for the weights, which are not given.
    `for_each_adapter` projects the position embeddings (1, 2 * span, D), which the rows of a batch share, once for each
    adapter and gives (B, 2 * span, D), or (1, 2 * span, D) if there is but one.
    """
    query, key, value = (
        _by_head(projection(hidden_states), module.num_attention_heads)
        for projection in (module.query_proj, module.key_proj, module.value_proj)
    )  # (B, H, T, D/H)
    kinds = [kind for kind in ("c2p", "p2c") if kind in module.pos_att_type]

    # One term of content, and one for each kind of position term, as the paper divides by their number.
    scaling = (query.shape[-1] * (1 + len(kinds))) ** -0.5
    allowed = attention_mask.bool()
    # A mask of numbers, as position terms are added to it.
    mask = torch.zeros(allowed.shape, dtype=query.dtype, device=query.device)
    if module.relative_attention and rel_embeddings is not None and relative_pos is not None:
        span = module.pos_ebd_size
        positions = module.pos_dropout(rel_embeddings)[: 2 * span].unsqueeze(0)
        distance = relative_pos.to(query.device).long().view(1, 1, *relative_pos.shape[-2:])  # (1, 1, T, T), i - j

        def projected(shared: nn.Module, position_projection: str) -> Tensor:
            rows = (
                # Models that share the projections use the content's own, in which there may be branches.
                for_each_adapter(shared, positions)
                if module.share_att_key
                else getattr(module, position_projection)(positions)
            )
            return _by_head(rows, module.num_attention_heads)  # (B or 1, H, 2 * span, D/H)

        if "c2p" in kinds:
            # The position terms enter as an additive mask, so that attention itself is the one that all models share.
            scores = torch.matmul(query, projected(module.key_proj, "pos_key_proj").mT)  # (B, H, T, 2 * span)
            mask = mask + _chosen(scores, distance + span, span) * scaling
        if "p2c" in kinds:
            scores = torch.matmul(key, projected(module.query_proj, "pos_query_proj").mT)
            # Key to query: the axes are the other way round, and turned back.
            mask = mask + _chosen(scores, span - distance, span).mT * scaling

    # Behind the position terms, which would lift what is masked otherwise.
    mask = mask.masked_fill(~allowed, torch.finfo(mask.dtype).min)
    probability = module.dropout.p if module.training else 0.0
    context, _ = attend(module, query, key, value, mask, dropout=probability, scaling=scaling)
    return context.flatten(2), None


def _by_head(x: Tensor, heads: int) -> Tensor:
    return x.view(*x.shape[:-1], heads, -1).transpose(1, 2)


def _chosen(scores: Tensor, index: Tensor, span: int) -> Tensor:
    """Return, of scores (B, H, T, 2 * span), those at the clamped index (1, 1, T, T)."""
    return scores.gather(-1, index.clamp(0, 2 * span - 1).expand(*scores.shape[:2], -1, -1))
