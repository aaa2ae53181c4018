"""Keep the feed-forward neurons, and groups of heads, that matter most to what follows: the matrices really shrink.

    importance of a neuron j = sqrt(mean of x_j^2) |column j of W_down|,   x what goes into W_down

over the texts' tokens, the expected size of its share in the output; of a group of heads that share a key and value, the sum
over its features of the same with the attention's output layer. Wanda's measure (Sun et al., 2023, arXiv:2306.11695) summed
over a structure, as in Minitron (Muralidharan et al., 2024, arXiv:2407.14679). Every layer keeps as many, its own.
"""

from dataclasses import dataclass
from typing import Any

from afina.backbone.anatomy import Anatomy
from afina.compress.groups import heads_apart, kept_groups, prune_groups
from afina.compress.neurons import inner_width, prune_neurons
from afina.compress.way import CompressingWay, Opened, WayResult, way
from afina.errors import UsageError

__all__ = ["Width"]


@way("width")
@dataclass(frozen=True, kw_only=True)
class Width(CompressingWay):
    """Keeps a share of the feed-forward neurons, and of the groups of heads where the architecture allows fewer."""

    told = "Keep this share of each layer's feed-forward neurons, and of its groups of heads where there can be fewer."

    def check(self, anatomy: Anatomy, config: Any) -> None:
        if (why := anatomy.row.lacks.get("ffn_down")) is not None:
            raise UsageError(f"--width: {anatomy.model_type} has no feed-forward layer to make narrower: {why}.")
        if round(self.amount * inner_width(anatomy)) < 1:
            raise UsageError(f"--width {self.amount:g} would leave no neuron of {inner_width(anatomy)}.")

    def apply(self, opened: Opened) -> WayResult:
        before = inner_width(opened.anatomy)
        keep = max(1, round(self.amount * before))
        # Groups are judged before anything is taken out.
        fewer = heads_apart(opened.config) and not opened.anatomy.row.further
        groups = kept_groups(opened, self.amount) if fewer else None
        neurons = prune_neurons(opened, keep)
        sentence = f"Kept {keep:,} of {before:,} feed-forward neurons in each layer"
        sizes, record = {"inner": keep}, {"neurons": neurons}
        if groups is None:
            why = f"its heads stay, since with fewer a {opened.anatomy.model_type}'s would have another size"
            return WayResult(f"{sentence}; {why}.", record, sizes)
        chosen = prune_groups(opened, groups)
        return WayResult(
            f"{sentence}, and {len(groups.kept[0])} of {groups.count} groups of heads.",
            record | {"groups": chosen},
            sizes | groups.sizes,
        )
