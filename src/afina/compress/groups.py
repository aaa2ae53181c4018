"""Take groups of heads, those that share a key and a value, out of every layer of a model, in place."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from afina.backbone.row import head_width, key_heads
from afina.compress.way import Opened, column_norms, narrow_outputs, narrowed

__all__ = ["Groups", "heads_apart", "kept_groups", "prune_groups"]


@dataclass(frozen=True)
class Groups:
    """Groups of heads that stay, by layer."""

    count: int
    """Number of groups before."""
    heads: int
    """Heads of a group."""
    width: int
    """Features of a head."""
    kept: Sequence[Tensor]

    @property
    def sizes(self) -> dict[str, int]:
        """Return the sizes that a configuration has to say."""
        left = len(self.kept[0])
        return {"heads": left * self.heads, "key_heads": left, "head_width": self.width}


def heads_apart(config: object) -> bool:
    """Return whether an architecture's heads have a size of their own, so that there can be fewer.

    Elsewhere it is the model's width over the number of heads, and with fewer heads each would be wider.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = str(getattr(config, "model_type", ""))
    shown = CONFIG_MAPPING[kind]().to_dict() if kind in CONFIG_MAPPING else {}
    return any(getattr(config, name, None) for name in ("head_dim", "d_kv")) or kind in _READ or "head_dim" in shown


_READ = ("qwen2", "mistral")
"""Architectures that look for `head_dim` in configurations that do not show it."""


def kept_groups(opened: Opened, share: float) -> Groups:
    """Choose the groups of heads of most importance in every layer: a share of them, one at least."""
    config = opened.config
    count, width = key_heads(config), head_width(config)
    heads = int(config.num_attention_heads) // count
    outs = [site for site in opened.anatomy.sites if site.role == "attention_out"]
    squares = opened.judged.squares(opened.reader, [opened.module(site) for site in outs])
    keep = max(1, round(share * count))
    staying = []
    for site, square in zip(outs, squares, strict=True):
        weight = opened.module(site).get_parameter("weight")
        importance = square.sqrt() * column_norms(weight, transposed=site.transposed)
        staying.append(importance.reshape(count, heads * width).sum(dim=1).topk(keep).indices.sort().values)
    return Groups(count, heads, width, staying)


def prune_groups(opened: Opened, groups: Groups) -> list[list[int]]:
    """Keep the chosen groups alone, and return them."""
    outs = [site for site in opened.anatomy.sites if site.role == "attention_out"]
    for site, staying in zip(outs, groups.kept, strict=True):
        queries, keys = _features(staying, groups.heads * groups.width), _features(staying, groups.width)
        narrowed(opened.module(site), queries, outputs=False, transposed=site.transposed)
        narrow_outputs(opened, site, {"query": queries, "key": keys, "value": keys})
    return [staying.tolist() for staying in groups.kept]


def _features(groups: Tensor, width: int) -> Tensor:
    """Return the features of these groups, each of so many."""
    return (groups[:, None] * width + torch.arange(width)).flatten()
