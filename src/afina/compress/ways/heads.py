"""Keep the groups of heads that matter most to the attention's output; the feed-forward layers stay.

The measure is that of `--width` (`width.py`); a group is the heads that share a key and a value, or one head.
"""

from dataclasses import dataclass
from typing import Any

from afina.backbone.anatomy import Anatomy
from afina.compress.groups import heads_apart, kept_groups, prune_groups
from afina.compress.way import CompressingWay, Opened, WayResult, way
from afina.errors import UsageError

__all__ = ["Heads"]


@way("heads")
@dataclass(frozen=True, kw_only=True)
class Heads(CompressingWay):
    """Keeps a share of the groups of heads."""

    told = "Keep this share of each layer's heads, in groups that share a key and a value."

    def check(self, anatomy: Anatomy, config: Any) -> None:
        if anatomy.row.further:
            raise UsageError(
                f"--heads is for models of one stack of layers, and {anatomy.model_type} has two, an encoder and a decoder; "
                "choose another way."
            )
        if not heads_apart(config):
            raise UsageError(
                f"--heads: a {anatomy.model_type}'s configuration says no size of a head; with fewer, transformers would "
                "make each wider, and nothing could load what was pruned; use --width, which narrows the feed-forward layers."
            )

    def apply(self, opened: Opened) -> WayResult:
        groups = kept_groups(opened, self.amount)
        chosen = prune_groups(opened, groups)
        left = len(groups.kept[0])
        sentence = f"Kept {left} of {groups.count} groups of {groups.heads} heads in each layer."
        if groups.heads == 1:
            sentence = f"Kept {left} of {groups.count} heads in each layer."
        return WayResult(sentence, {"groups": chosen}, groups.sizes)
