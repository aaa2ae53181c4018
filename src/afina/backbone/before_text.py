"""Count what adapters put before a text: virtual tokens, and keys and values that prefixes have."""

from torch import Tensor

from afina.backbone.attachable import Attachable
from afina.backbone.branch import AttentionBranch, PromptBranch
from afina.backbone.configuration import window_of
from afina.backbone.given import moves_of
from afina.backbone.load import Backbone

__all__ = ["keeps_by_row", "places_kept", "places_taken", "prefix_of"]


def places_taken(adapter: Attachable) -> int:
    """Return how many of the model's positions an adapter takes from a text: virtual tokens, or a prefix that counts."""
    return max(_prompt(adapter), moves_of([branch for _, branch in adapter.placed()]))


def places_kept(adapter: Attachable) -> int:
    """Return how many places an adapter takes at most among the keys and values that are kept of a row."""
    return _prompt(adapter) + _prefix(adapter)


def keeps_by_row(backbone: Backbone) -> bool:
    """Return whether a row's keys may stand behind those of a prefix, and apart from those of rows of another size.

    Not in an encoder-decoder, whose biases by distance count places, nor where there are windows, of which a prefix would
    take places.
    """
    modules = map(backbone.model.get_submodule, backbone.anatomy.attention_modules)
    kinds = set(getattr(backbone.config, "layer_types", None) or ["full_attention"])
    return (
        not backbone.anatomy.row.further
        and window_of(backbone.config) is None
        and kinds == {"full_attention"}
        # By this number the keys and values of a module's layer are found.
        and all(isinstance(getattr(module, "layer_idx", None), int) for module in modules)
    )


def prefix_of(adapter: Attachable) -> dict[int, tuple[Tensor, Tensor]]:
    """Return the keys and values (H, P, D/H) that an adapter has before each text's own, by layer."""
    branches = [(site.layer, branch) for site, branch in adapter.placed() if isinstance(branch, AttentionBranch)]
    return {layer: branch.kept() for layer, branch in branches if layer is not None and branch.prepends}


def _prompt(adapter: Attachable) -> int:
    return max((branch.length for _, branch in adapter.placed() if isinstance(branch, PromptBranch)), default=0)


def _prefix(adapter: Attachable) -> int:
    return max((branch.prepends for _, branch in adapter.placed() if isinstance(branch, AttentionBranch)), default=0)
