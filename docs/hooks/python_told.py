"""Tells what `afina` offers in Python: a table of its names, and where each is defined, for mkdocstrings."""

import inspect
from collections.abc import Iterator
from typing import Any

import afina
from afina.methods.base import Method

__all__ = ["objects"]


def _offered() -> dict[str, Any]:
    """Return the names at the top and, in place of the module `api`, its calls."""
    top = {name: getattr(afina, name) for name in afina.__all__ if not name.startswith("__")}
    return {name: value for name, value in top.items() if not inspect.ismodule(value)} | dict(_calls(afina.api, "api"))


def _calls(module: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.ismodule(value):
            yield from _calls(value, f"{path}.{name}")
        else:
            yield f"{path}.{name}", value


def _is_method(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Method)


def _names_table() -> str:
    """Return a table of the names at the top, methods left out: they are settings, and stand with the methods."""
    lines = ["| name | what it is |", "|---|---|"]
    for name, value in _offered().items():
        if not _is_method(value):
            words = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
            lines.append(f"| `afina.{name}` | {words} |")
    return "\n".join(lines)


def objects() -> str:
    """Return the table, and what mkdocstrings makes each name's part of the page of."""
    parts = [_names_table()]
    for name, value in _offered().items():
        if not _is_method(value):
            options = f"    options:\n      heading: afina.{name}\n      toc_label: {name}"
            parts.append(f"::: {value.__module__}.{value.__qualname__}\n{options}")
    return "\n\n".join(parts)
