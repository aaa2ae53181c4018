"""Make a function a command: `@command("data clean")` in a file of this folder, which is found by walking it.

Its options are those of its signature and `--quiet`, and all that it is given is checked here.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from afina.cli.options import Quiet
from afina.cli.terminal import quietly
from afina.errors import UsageError, shown
from afina.registry import Registry

__all__ = ["COMMANDS", "PANELS", "add_commands", "command"]

Command = Callable[..., None]
COMMANDS: Registry[Any] = Registry("command", "afina.cli")
"""Every command by what a person types behind `afina`."""
PANELS = ("Compare and train", "Read results", "Use an adapter", "Look at data")
"""The parts of `afina --help`, in their order."""

_MOST = 2**63 - 1
"""The largest seed that libraries of random numbers take, and more than any count needs."""


def command(name: str, *, panel: str = PANELS[0]) -> Callable[[Command], Command]:
    """Return a decorator that makes a function the command `name`; its docstring is what `--help` says.

    Where others begin with the name (`audit leak`), it is the group's, and is carried out by itself where it takes a
    `typer.Context`. `panel` is the part of `afina --help` that it stands in.
    """

    def enter(run: Command) -> Command:
        run.panel = panel  # type: ignore[attr-defined]
        entered: Command = COMMANDS.register(name)(run)
        return entered

    return enter


def add_commands(app: typer.Typer) -> None:
    """Give an app all commands, the panels in their order."""
    groups: dict[str, typer.Typer] = {"": app}
    # By panel first, as typer shows commands in the order in which they were added.
    for name, run in sorted(COMMANDS.items(), key=lambda entry: (PANELS.index(entry[1].panel), entry[0])):
        parent, _, word = name.rpartition(" ")
        if not any(other.startswith(f"{name} ") for other in COMMANDS):
            panel = run.panel if not parent else None
            groups[parent].command(name=word, cls=CheckedCommand, rich_help_panel=panel)(_with_quiet(run))
            continue
        alone = any(each.annotation is typer.Context for each in inspect.signature(run).parameters.values())
        groups[name] = typer.Typer(no_args_is_help=not alone, invoke_without_command=alone)
        groups[name].callback()(_with_quiet(run) if alone else run)
        groups[parent].add_typer(groups[name], name=word, rich_help_panel=run.panel)


def _with_quiet(run: Command) -> Command:
    """Return the function with an option more."""

    @functools.wraps(run)
    def outer(*values: Any, quiet: bool = False, **named: Any) -> None:
        with quietly(quiet):
            run(*values, **named)

    signature = inspect.signature(run)
    more = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet)
    outer.__signature__ = signature.replace(parameters=[*signature.parameters.values(), more])  # type: ignore[attr-defined]
    outer.__annotations__ = {**run.__annotations__, "quiet": Quiet}
    return outer


class CheckedCommand(TyperCommand):
    """A command whose values are numbers with an end and text that can be written."""

    def invoke(self, ctx: Any) -> Any:
        _let_no_text_command_the_terminal()
        for parameter in self.params:
            for value in _parts(ctx.params.get(parameter.name)):
                if (wrong := _wrong(value)) is not None:
                    name = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name.upper()
                    raise UsageError(f"{name} should be {wrong}, not {shown(value)}.")
        return super().invoke(ctx)


def _let_no_text_command_the_terminal() -> None:
    """Have rich leave out of all texts what it leaves in: the sign that begins a terminal's commands, and its kin."""
    from rich.control import strip_control_codes

    # The set of rich's own that every text of its goes through: what a file or a model says is printed from many
    # places.
    (stripped,) = strip_control_codes.__defaults__ or ({},)
    stripped.update(
        dict.fromkeys([*range(0x0E, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
    )


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for part in value:
            yield from _parts(part)
    else:
        yield value


def _wrong(value: Any) -> str | None:
    # A comparison with what is no number is false, so that it is refused too.
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
