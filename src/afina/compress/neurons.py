"""Take feed-forward neurons out of every layer of a model, in place."""

from afina.backbone.anatomy import Anatomy, Site
from afina.compress.way import Opened, column_norms, narrowed, outputs_kept

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
        for inner in _into(opened, site):
            whole = opened.module(inner[0])
            width = whole.get_parameter("weight").shape[1 if inner[0].transposed else 0]
            named = {own.name: places for own in inner if own.role in ("ffn_up", "ffn_gate")}
            narrowed(whole, outputs_kept(inner, width, named), outputs=True, transposed=inner[0].transposed)
        chosen.append(places.tolist())
    return chosen


def _into(opened: Opened, down: Site) -> list[list[Site]]:
    """Return the sites of a layer's up and gate projections, those that are slices of one module together."""
    slices: dict[str, list[Site]] = {}
    for site in opened.anatomy.sites:
        if site.layer == down.layer and site.decoder == down.decoder and site.role in ("ffn_up", "ffn_gate"):
            slices.setdefault(site.module, []).append(site)
    return list(slices.values())
