"""Tells of every method what it trains and what settings it has, from its own file."""

import ast
import dataclasses
import inspect
import textwrap
import typing
from typing import Any

from afina.methods.base import Method, registry

__all__ = ["first_of", "methods_table", "rates_table", "setting_schemas", "settings_of_methods", "texts_of"]

_SHARED = {entry.name for entry in dataclasses.fields(Method)}


def methods_table() -> str:
    """Return a table of all methods: name, the class in Python, and what it is in its own words."""
    lines = ["| name | in Python | what it is |", "|---|---|---|"]
    for name, cls in sorted(registry().items()):
        lines.append(f"| [`{name}`](#{name}) | `afina.{cls.__name__}` | {first_of(cls.__doc__)} |")
    return "\n".join(lines)


def rates_table() -> str:
    """Return a table of what `learning_rate: auto` comes to for each method, by steps and width."""
    runs = [(150, 384), (500, 384), (1_500, 384), (5_000, 384), (500, 768)]
    lines = ["| method | 150 steps | 500 | 1,500 | 5,000 | 500, 768 wide |", "|---|--:|--:|--:|--:|--:|"]
    for name, cls in sorted(registry().items()):
        if not cls.gradient_free:
            rates = [cls().with_rate(steps=steps, width=width).learning_rate for steps, width in runs]
            lines.append(f"| `{name}` | {' | '.join(f'{rate:g}' for rate in rates)} |")
    return "\n".join(lines)


def settings_of_methods() -> str:
    """Return, for the settings that all methods have and then for each method, a list of settings."""
    parts = ["### Settings of every method", _items(Method, _SHARED)]
    told: dict[str, str] = {}
    for name, cls in sorted(registry().items()):
        # What a file says first is its equation and its source; methods of one file share it.
        first = told.setdefault(cls.__module__, name)
        words = inspect.getdoc(inspect.getmodule(cls)) or ""
        words = words.strip().replace("[", r"\[").replace("]", r"\]")  # matrices, no links
        parts += [f"### {name}", words if first == name else f"{first_of(cls.__doc__)} See [{first}](#{first})."]
        own = {entry.name for entry in dataclasses.fields(cls)} - _SHARED | _changed(cls)
        if own:
            parts.append(_items(cls, own))
    return "\n\n".join(parts)


def setting_schemas(cls: type[Method]) -> dict[str, Any]:
    """Return a JSON schema of each setting of a method."""
    hints, texts = typing.get_type_hints(cls), texts_of(cls)
    return {
        entry.name: _schema(hints[entry.name]) | ({"description": texts[entry.name]} if entry.name in texts else {})
        for entry in dataclasses.fields(cls)
    }


def _schema(hint: Any) -> dict[str, Any]:
    if typing.get_origin(hint) is typing.Literal:
        return {"enum": list(typing.get_args(hint))}
    if typing.get_origin(hint) is tuple:
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    words = {int: "integer", float: "number", bool: "boolean", str: "string", dict: "object", type(None): "null"}
    parts = [typing.get_origin(part) or part for part in typing.get_args(hint) or (hint,)]
    kinds = [words[part] for part in parts if part in words]
    return {"type": kinds[0] if len(kinds) == 1 else kinds} if kinds else {}


def _changed(cls: type[Method]) -> set[str]:
    """Return the shared settings whose default is another for this method."""
    theirs = {entry.name: entry.default for entry in dataclasses.fields(Method)}
    return {entry.name for entry in dataclasses.fields(cls) if entry.default != theirs.get(entry.name, entry.default)}


def _items(cls: type[Method], names: set[str]) -> str:
    texts = texts_of(cls)
    entries = [entry for entry in dataclasses.fields(cls) if entry.name in names]
    return "\n".join(f"- `{entry.name}` ({_default(entry)}): {texts.get(entry.name, '')}" for entry in entries)


def _default(entry: "dataclasses.Field[Any]") -> str:
    value = entry.default
    if value is None:
        return "left out"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}" if _is_float(value) else str(value)


def _is_float(value: Any) -> bool:
    return isinstance(value, float)


def texts_of(cls: type) -> dict[str, str]:
    """Return the docstrings of a class's fields, those of the classes it comes from among them."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if dataclasses.is_dataclass(each):
            body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
            assert isinstance(body, ast.ClassDef)
            for field, text in zip(body.body, body.body[1:], strict=False):
                said = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and str(text.value.value)
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and said:
                    found[field.target.id] = " ".join(said.split())
    return found


def first_of(text: str | None) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return " ".join((text or "").strip().split("\n\n")[0].split())
