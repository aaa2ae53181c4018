"""Check PEFT's adapter_config.json key by key: every method's form says what its own keys mean.

A key that can change what an adapter computes is read, is seen in the tensors, or has to be as PEFT leaves it; one that no
form knows has to say nothing. docs/reference/adapters_from_elsewhere.md has the table of them all, and tests walk the fields
of the installed PEFT's configurations.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from afina.errors import AfinaError, UsageError, nearest
from afina.json_files import read_json_object
from afina.methods.base import METHODS
from afina.methods.peft_form import Meaning, Number, PeftForm, PeftKey, short

__all__ = ["forms", "forms_of", "keys_of", "keys_table", "read_peft_config"]

_ELSEWHERE = ("unsloth_fixed", "merge_weights")
"""Keys that no present PEFT has and that change nothing: Unsloth's mark on what it mended, and, of PEFT before 0.3, whether
weights are merged in evaluation."""
_NOTHING: tuple[Any, ...] = (None, False, "", [], {})
"""Values with which a key is as good as absent."""


def forms() -> Mapping[str, tuple[PeftForm, ...]]:
    """Return, by PEFT's type, the forms of all methods of that type: LoRA and DoRA share one, and each reads its part."""
    by_type: dict[str, list[PeftForm]] = {}
    for cls in METHODS.values():
        form = cls.peft
        if form is not None and form not in by_type.setdefault(form.peft_type, []):
            by_type[form.peft_type].append(form)
    return MappingProxyType({kind: tuple(own) for kind, own in sorted(by_type.items())})


def forms_of(kind: str) -> tuple[PeftForm, ...]:
    """Return the forms of one type."""
    return forms()[kind]


def keys_of(kind: str) -> Mapping[str, PeftKey]:
    """Return the keys of a type by name."""
    return {key.name: key for form in forms_of(kind) for key in form.keys}


def keys_table() -> str:
    """Return the table for the docs: every key once a meaning, with the types that have it."""
    rows: dict[tuple[str, Meaning, str], list[str]] = {}
    keys: dict[tuple[str, Meaning, str], PeftKey] = {}
    for kind in forms():
        for key in keys_of(kind).values():
            place = (key.name, key.meaning, key.why)
            keys[place] = key
            rows.setdefault(place, []).append(kind)
    words = {
        "read": "read", "tensors": "done, as the tensors show it", "nothing": "changes nothing that was trained",
        "refused": "refused",
    }  # fmt: skip
    lines = ["| key | of | here | what it says |", "|---|---|---|---|"]
    for place, kinds in sorted(rows.items()):
        key, types = keys[place], "all" if len(kinds) == len(forms()) else ", ".join(kinds)
        plain = f" unless {_said(key.plain[0])}" if key.meaning == "refused" else ""
        lines.append(f"| `{key.name}` | {types} | {words[key.meaning]}{plain} | {key.why} |")
    return "\n".join(lines)


def read_peft_config(folder: Path) -> dict[str, Any]:
    """Return what the adapter_config.json of a PEFT adapter says, every key of it checked by `KEYS`.

    Raises `FileNotFoundError` where there is none, `AfinaError` for a file that is damaged or has a value of the wrong kind,
    and `UsageError` for another type, and for a key that changes what the adapter computes as is not computed here.
    """
    path = folder / "adapter_config.json"
    config = read_json_object(path, what_to_do="save the adapter again")
    kind = config.get("peft_type")
    if kind is None:
        raise UsageError(f"{folder} is no PEFT adapter: its adapter_config.json has no peft_type.")
    if not isinstance(kind, str) or kind not in forms():
        name = short(kind)
        raise UsageError(f"{folder}: adapters of PEFT's type {name} are not read{nearest(name, forms())}")

    # Every key is known or refused: one that is ignored may be what makes the adapter compute something else.
    known = keys_of(kind)
    for name, value in config.items():
        if (key := known.get(name)) is None:
            _check_unknown(path, name, value)
        elif key.meaning == "read" and key.kind is not None:
            _check_value(path, key, value)
        elif key.meaning == "refused" and not _says(value, key.plain):
            raise UsageError(f"{path}: {name} is set: {key.why}; {key.advice}.")
    if missing := [key.name for key in known.values() if key.kind is Number and key.name not in config]:
        raise AfinaError(f"{path} lacks '{missing[0]}', without which its scale is unknown; save the adapter again.")
    for form in forms_of(kind):
        form.check(path, config)
    return config


def _check_value(path: Path, key: PeftKey, value: Any) -> None:
    try:
        TypeAdapter(key.kind).validate_python(value)
    except (ValidationError, RecursionError, OverflowError) as error:
        reason = "is of the wrong kind"
        if isinstance(error, ValidationError):
            reason = error.errors()[-1]["msg"].removeprefix("Value error, ").replace("Input should", "should")
        raise AfinaError(f"{path}: '{key.name}' is {short(value)}, and {reason}.") from None


def _check_unknown(path: Path, name: str, value: Any) -> None:
    if name in _ELSEWHERE or _says(value, _NOTHING):
        return
    raise UsageError(
        f"{path}: the key '{short(name)}' is set and not known here, so that it may change what the adapter computes; "
        "take it out of the file if you know that it does not."
    )


def _says(value: Any, plain: tuple[Any, ...]) -> bool:
    """Return whether a value is one of these, true and 1 apart."""
    return any(type(value) is type(own) and value == own for own in plain)


def _said(value: Any) -> str:
    return {None: "null", False: "false"}.get(value, str(value))
