"""Tells of every optimiser what it keeps and what settings it has, from its own file."""

import dataclasses
import inspect

from afina.optimisers.base import OPTIMISERS, OptimiserKind
from methods_told import first_of, texts_of

__all__ = ["optimisers_table"]


def optimisers_table() -> str:
    """Return a table of all optimisers: name, what it is in its own words, its settings, its rate and its source."""
    lines = ["| name | what it is | settings | auto's rate | source |", "|---|---|---|--:|---|"]
    for name, cls in OPTIMISERS.items():
        first = (inspect.getdoc(inspect.getmodule(cls)) or "").splitlines()[0]
        source = first.rpartition(".  ")[2].rstrip(".")
        rate = "AdamW's" if cls.rate_factor == 1 else f"AdamW's x {cls.rate_factor:g}"
        lines.append(f"| `{name}` | {first_of(cls.__doc__)} | {_settings(cls)} | {rate} | {source} |")
    return "\n".join(lines)


def _settings(cls: type[OptimiserKind]) -> str:
    texts = texts_of(cls)
    told = []
    for entry in dataclasses.fields(cls):
        default = "" if entry.default is None else f" ({entry.default:g})"
        told.append(f"`{entry.name}`{default}: {texts[entry.name].rstrip('.')}")
    return "; ".join(told)
