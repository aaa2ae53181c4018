"""What holds of every option of every command, also of those that are yet to be written."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from afina.errors import UsageError, shown

__all__ = ["check_all"]

_MOST = 2**63 - 1
"""What a library that draws random numbers takes for a seed, and no count has a use for."""


class _CheckedCommand(TyperCommand):
    """A command whose values are numbers with an end and text that can be written."""

    def invoke(self, ctx: Any) -> Any:
        for parameter in self.params:
            for value in _parts(ctx.params.get(parameter.name)):
                if (wrong := _wrong(value)) is not None:
                    name = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name.upper()
                    raise UsageError(f"{name} should be {wrong}, not {shown(value)}.")
        return super().invoke(ctx)


def check_all(app: typer.Typer) -> None:
    """Have all commands of an app, and of those within it, check what they are given."""
    for command in app.registered_commands:
        command.cls = _CheckedCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            check_all(group.typer_instance)


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for part in value:
            yield from _parts(part)
    else:
        yield value


def _wrong(value: Any) -> str | None:
    if isinstance(value, float) and not abs(value) <= _MOST:
        return f"a number, and at most {_MOST:,}"
    if isinstance(value, int) and abs(value) > _MOST:
        return f"at most {_MOST:,}"
    if isinstance(value, str | Path):
        try:
            str(value).encode()
        except UnicodeEncodeError:
            return "UTF-8 text"
        if "\0" in str(value):
            return "text without a NUL"
    return None
