"""Take feed-forward neurons out of every layer of a model, in place."""

from afina.backbone.anatomy import Anatomy
from afina.compress.way import Opened, column_norms, narrow_outputs, narrowed

__all__ = ["inner_width", "prune_neurons"]


def inner_width(anatomy: Anatomy) -> int:
    """Return the neurons of the feed-forward layers."""
    return max(site.width_in for site in anatomy.sites if site.role == "ffn_down")


def prune_neurons(opened: Opened, keep: int) -> list[list[int]]:
    """Keep so many neurons in every layer, those of most importance, and return their places."""
    downs = [site for site in opened.anatomy.sites if site.role == "ffn_down"]
    squares = opened.judged.squares(opened.reader, [opened.module(site) for site in downs])
    chosen = []
    for site, square in zip(downs, squares, strict=True):
        module = opened.module(site)
        importance = square.sqrt() * column_norms(module.get_parameter("weight"), transposed=site.transposed)
        places = importance.topk(keep).indices.sort().values
        narrowed(module, places, outputs=False, transposed=site.transposed)
        narrow_outputs(opened, site, {"ffn_up": places, "ffn_gate": places})
        chosen.append(places.tolist())
    return chosen
