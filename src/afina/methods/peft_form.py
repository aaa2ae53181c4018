"""How a method says its form in PEFT's files: what its parameters are called there, and how slices are joined."""

from collections.abc import Sequence

from afina.backbone.anatomy import Site

__all__ = ["Kind", "by_module"]

Kind = str
"""How a parameter of a slice lies in that of the whole: `rank` (rows are ranks), `block` (out, rank), `rows` (out, ...)."""


def by_module(sites: Sequence[Site]) -> dict[str, list[Site]]:
    """Return the sites that are slices, by the module that they are slices of."""
    grouped: dict[str, list[Site]] = {}
    for site in sites:
        if site.part is not None:
            grouped.setdefault(site.module, []).append(site)
    return grouped
