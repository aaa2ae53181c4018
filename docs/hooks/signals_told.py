"""Tells of every signal of a teacher what it teaches and what settings it has, from its own file."""

import dataclasses
import inspect

from afina.distil.signal import SIGNALS
from methods_told import first_of, texts_of

__all__ = ["signals_table"]


def signals_table() -> str:
    """Return a table of all signals: name, what it does in its own words, its settings and its source."""
    lines = ["| name | what it does | settings | source |", "|---|---|---|---|"]
    for name, cls in SIGNALS.items():
        first = (inspect.getdoc(inspect.getmodule(cls)) or "").splitlines()[0]
        texts = texts_of(cls)
        told = [
            f"`{entry.name}`{'' if entry.default is None else f' ({entry.default:g})'}: {texts[entry.name].rstrip('.')}"
            for entry in dataclasses.fields(cls)
        ]
        source = first.rpartition(".  ")[2].rstrip(".")
        lines.append(f"| `{name}` | {first_of(cls.__doc__)} | {'; '.join(told)} | {source} |")
    return "\n".join(lines)
