"""Check an adapter's afina.json value by value: whatever is wrong with it is a sentence with file and key."""

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from afina.errors import AfinaError, UsageError, nearest, shown
from afina.json_files import read_json_object
from afina.tasks.base import TASKS, restore

__all__ = ["check_fields", "check_model_name", "check_task", "read_record_file"]

_AGAIN = "train the adapter again, or get it again"


def read_record_file(path: Path, kind: type) -> dict[str, Any]:
    """Return what an afina.json says, as arguments for the record's class `kind`.

    Raises `FileNotFoundError` where there is none, and `AfinaError` for what is damaged, unknown or of the wrong kind.
    """
    values = read_json_object(path, what_to_do=_AGAIN)
    check_fields(path, values, kind)
    if values["max_length"] < 1:
        raise AfinaError(f"{path}: 'max_length' should be at least 1, not {shown(values['max_length'])}; {_AGAIN}.")
    check_model_name(path, values["model"])
    check_task(path, values["task"])
    return values


def check_fields(path: Path, values: Mapping[str, Any], kind: type) -> None:
    """Hold values against a dataclass's fields; raises `AfinaError` for what is missing, unknown or of another type."""
    hints = typing.get_type_hints(kind)
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    if unknown := [key for key in values if key not in fields]:
        raise AfinaError(
            f"{path} has the key '{unknown[0][:60]}', which is not known{nearest(unknown[0][:60], fields)}"
        )
    for name, entry in fields.items():
        if name not in values:
            if entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING:
                raise AfinaError(f"{path} is damaged: it lacks '{name}'; {_AGAIN}.")
            continue
        try:
            TypeAdapter(hints[name]).validate_python(values[name], strict=True)
        except ValidationError as error:
            raise AfinaError(f"{path}: '{name}' {_reason(error)}; {_AGAIN}.") from None


def check_model_name(path: Path, name: str) -> None:
    """Raise `AfinaError` for what can be the name neither of a model nor of a folder."""
    if (
        not name.strip()
        or "\0" in name
        or len(name) > 1_000
        or any(len(part.encode()) > 255 for part in name.split("/"))
    ):
        raise AfinaError(f"{path}: the base model's name is {shown(name)}, which no model and no folder can have.")


def check_task(path: Path, state: Mapping[str, Any]) -> None:
    """Raise `AfinaError` for a state from which no task can be made."""
    name = state.get("name")
    if not isinstance(name, str) or name not in TASKS:
        raise AfinaError(f"{path}: 'task' has the name {shown(name)}{nearest(str(name)[:60], TASKS)}")
    try:
        TASKS[name].State.model_validate(dict(state))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise AfinaError(f"{path}: 'task{where and '.'}{where}' {_reason(error)}; {_AGAIN}.") from None
    try:
        restore(state)
    except (UsageError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise AfinaError(f"{path}: 'task' cannot be made again ({str(error)[:300]}); {_AGAIN}.") from None


def _reason(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "missing":
        return "is missing"
    text = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return text if text.startswith("weights") or "label" in text else f"{text}, but got {shown(first['input'])}"
