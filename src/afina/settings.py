"""Check the settings of what is a frozen dataclass: a method's, an optimiser's."""

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from afina.errors import UsageError, nearest, shown
from afina.registry import Registry

__all__ = ["as_type", "check_measure", "checked_settings", "make_named"]

Thing = TypeVar("Thing")

_MOST_WHOLE, _MOST_FRACTION = 65_536, 1e30


def checked_settings(
    cls: type[Any], name: str, settings: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what a person wrote as the fields of a dataclass, of the types that they have.

    Of `defaults` those are taken for which there is a field. Raises `UsageError` for an unknown setting, naming the nearest,
    and for a value of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    fields = {entry.name: hints[entry.name] for entry in dataclasses.fields(cls)}
    for key in settings:
        if key not in fields:
            raise UsageError(f"{name}: unknown setting '{key}'{nearest(key, fields)}")

    # A study's own values are for the methods that have such a setting; what is written at the method goes before them.
    chosen = {key: value for key, value in (defaults or {}).items() if key in fields}
    chosen.update(settings)
    return {key: as_type(name, key, value, fields[key]) for key, value in chosen.items()}


def make_named(registry: Registry[type[Thing]], given: Any, start: str) -> Thing:
    """Make what a study file names: by its name, or by {name: {setting: value}}.

    Raises `UsageError` for an unknown name or setting, naming the nearest; `start` begins its sentence.
    """
    name, settings = given, dict[str, Any]()
    if isinstance(given, Mapping) and len(given) == 1:
        ((name, inner),) = given.items()
        settings = inner if inner is not None else {}
    if not isinstance(name, str) or not isinstance(settings, Mapping):
        raise UsageError(f"{start}should be a name or {{name: {{setting: value}}}}, not {shown(given)}.")
    try:
        cls = registry.named(name)
        return cls(**checked_settings(cls, name, {str(key): value for key, value in settings.items()}))
    except UsageError as error:
        raise UsageError(f"{start}{error}") from None


def check_measure(name: str, key: str, value: Any) -> None:
    """Raise `UsageError` for a setting's value that means nothing anywhere."""
    if isinstance(value, float) and not (math.isfinite(value) and abs(value) <= _MOST_FRACTION):
        raise UsageError(f"{name}: {key} should be a number with an end, not {value:g}.")
    if isinstance(value, int) and not 0 <= value <= _MOST_WHOLE:
        raise UsageError(f"{name}: {key} should be from 0 to {_MOST_WHOLE:,}, not {shown(value)}.")
    if isinstance(value, tuple) and (
        not all(value)
        or any("\0" in part or len(part) > 200 for part in map(str, value))
        or len(set(value)) < len(value)
    ):
        raise UsageError(f"{name}: {key} should name each role once, not {shown(list(value))}.")


def as_type(name: str, key: str, value: Any, hint: Any) -> Any:
    """Check one setting's value, taking YAML's lists for tuples and whole numbers for floats."""
    # One role may be written without a list.
    if typing.get_origin(hint) is tuple:
        values = [value] if isinstance(value, str) else value
        if isinstance(values, (list, tuple)) and all(isinstance(item, str) for item in values):
            if not values:
                raise UsageError(f"{name}: '{key}' should name one role at least.")
            return tuple(values)
    elif typing.get_origin(hint) is typing.Literal:
        if value in typing.get_args(hint):
            return value
        possible = ", ".join(map(str, typing.get_args(hint)))
        raise UsageError(f"{name}: '{key}' is one of {possible}, not {shown(value)}.")
    else:
        options = typing.get_args(hint) or (hint,)

        # A whole number is a float where one is wanted; true is no number, though Python has it as 1.
        if isinstance(value, int) and not isinstance(value, bool) and float in options and int not in options:
            try:
                return float(value)
            except OverflowError:
                raise UsageError(f"{name}: '{key}' should be a number with an end, not {shown(value)}.") from None
        if isinstance(value, str) and float in options:
            # YAML 1.1 reads 1e-4 as text.
            try:
                return float(value)
            except ValueError:
                pass
        if any(type(value) is (typing.get_origin(option) or option) for option in options):
            return value
    wanted = getattr(hint, "__name__", str(hint))
    raise UsageError(f"{name}: '{key}' should be {wanted}, not {shown(value)}.")
