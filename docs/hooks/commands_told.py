"""Tells every argument and option of every command, from the commands themselves."""

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from afina.cli.main import app

__all__ = ["commands", "options_of"]


def commands() -> dict[str, Any]:
    """Return all commands by what a person types, `afina data clean` for one, groups that do nothing alone left out."""
    return dict(_within(get_command(app), "afina"))


def _within(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", {})
    if name != "afina" and (not inner or command.invoke_without_command):
        yield name, command
    for word, each in inner.items():
        yield from _within(each, f"{name} {word}")


def options_of(name: str) -> str:
    """Return a command's usage, its own words and a list of what it takes."""
    command = commands()[name]
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    needed = [f"{each.opts[0]} {_value(each)}" for each in options if each.required]
    usage = " ".join([name, *map(_placed, arguments), *needed, *(["[OPTIONS]"] if len(needed) < len(options) else [])])
    items = [f"- `{_placed(each)}`: {_sentence(each)}" for each in arguments]
    items += [f"- `{_typed(each)}`: {_sentence(each)}" for each in options]
    return "\n\n".join([f"    {usage}", command.help.strip(), "\n".join(items)])


def _placed(argument: Any) -> str:
    name = str(argument.metavar or argument.name.upper())
    return name if argument.required else f"[{name}]"


def _typed(option: Any) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} {_value(option)}"


def _value(option: Any) -> str:
    if option.metavar:
        return str(option.metavar)
    kinds = {int: "N", float: "NUMBER", Path: "FILE"}
    hint = option.type_descriptor.annotation
    return next((kinds[each] for each in (hint, *typing.get_args(hint)) if each in kinds), "TEXT")


def _sentence(parameter: Any) -> str:
    text = " ".join((parameter.help or "").split())
    default = parameter.default
    told = parameter.param_type_name == "option" and not (
        parameter.is_flag or parameter.multiple or default in (None, "")
    )
    words = f"{default:g}" if isinstance(default, float) else default
    more = f" Default: `{words}`." if told else ""
    several = " May be given several times." if parameter.multiple and "several times" not in text else ""
    return f"{text}{several}{more}"
