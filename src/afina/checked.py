"""Check what a person wrote by keys as a whole, and refuse it in one sentence that names every wrong key."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo, field_validator

from afina.errors import UsageError, nearest, shown

__all__ = [
    "LARGEST_COUNT",
    "MOST_ENTRIES",
    "TRUTHS",
    "Checked",
    "MadeInPython",
    "OneOrMore",
    "as_list",
    "as_text",
    "once",
]

MOST_ENTRIES, _LONGEST, _LARGEST = 10_000, 100_000, 2**32 - 1
_NAMED = 5
"""Wrong keys that a sentence names; the others are counted."""
LARGEST_COUNT = 2**20
"""Rows of a batch, epochs and their like: what is more is a slip."""

TRUTHS = "YAML reads yes, no, on and off as true and false; write such a word in quotation marks"


def as_text(value: Any) -> Any:
    """Return a path, which Python may give where a file has its text, as that text; anything else as it is."""
    return str(value) if isinstance(value, PurePath) else value


def as_list(value: Any) -> Any:
    """Return a list, of one where it is none; paths in it are text."""
    return [as_text(each) for each in (value if isinstance(value, (list, tuple)) else [value])]


OneOrMore = BeforeValidator(as_list, json_schema_input_type=str | list[str])
"""For lists of which a file may say one entry alone."""


def once(values: list[Any]) -> list[Any]:
    """Return a list of different entries; raises `ValueError` for another."""
    if len(set(values)) != len(values):
        raise ValueError("each may stand once")
    return values


class MadeInPython:
    """Stands for a method that Python made, where a study file has a name with settings."""

    name: ClassVar[str] = ""

    def changed_settings(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults: what a study file would have to say."""
        raise NotImplementedError


class Checked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
    switches: ClassVar[frozenset[str]] = frozenset()
    """Keys that take numbers, and a plain `on` or `off` beside them."""
    secret: ClassVar[bool] = False
    """True where no value is to stand in a sentence: one of them is a key."""
    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Keys that other programs have and this one has not, each with what to write instead."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `true` where a number is wanted, as Python would take it for 1."""
        kinds = _kinds_in(cls.model_fields[str(info.field_name)].annotation)
        if (
            isinstance(value, bool)
            and {int, float} & kinds
            and bool not in kinds
            and info.field_name not in cls.switches
        ):
            raise ValueError("should be a number")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _sane(cls, value: Any) -> Any:
        """Refuse what no key can mean: nothing at all between quotes or brackets, a NUL, numbers beyond all measure."""
        parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else [value]
        if isinstance(value, (list, dict)) and not value:
            raise ValueError("should not be empty")
        if len(parts) > MOST_ENTRIES:
            raise ValueError(f"should have at most {MOST_ENTRIES:,} entries")
        for part in parts:
            if isinstance(part, str) and (not part or "\0" in part or len(part) > _LONGEST):
                raise ValueError(
                    "should not be empty"
                    if not part
                    else f"should be text of at most {_LONGEST:,} letters, without a NUL"
                )
            if isinstance(part, int) and abs(part) > _LARGEST:
                raise ValueError(f"should be at most {_LARGEST:,}")
        return value

    @classmethod
    def parse(cls, values: Any, where: str) -> Any:
        """Return a checked instance, or raise one sentence that names every wrong key and the nearest right one."""
        if not isinstance(values, Mapping):
            raise UsageError(f"{where} should be a mapping of keys to values, not {type(values).__name__}.")
        try:
            return cls.model_validate({str(key): value for key, value in values.items()})
        except ValidationError as error:
            raise cls.refusal(error, f"{where}: ") from None

    @classmethod
    def refusal(cls, error: ValidationError, start: str = "") -> UsageError:
        """Return the one sentence that says what pydantic found."""
        problems: list[str] = []
        sentences = list(dict.fromkeys(map(cls._sentence, error.errors())))
        for problem in sentences[:_NAMED]:
            # All that may be said is named once, however many keys are wrong.
            _, mark, names = problem.partition("; possible: ")
            problems = [*(said.removesuffix(mark + names) for said in problems), problem]
        if len(sentences) > _NAMED:
            problems.append(f"and {len(sentences) - _NAMED:,} more")
        return UsageError(f"{start}{'; '.join(problems)}")

    @classmethod
    def _sentence(cls, problem: Any) -> str:
        kind, keys, inner = problem["type"], *cls._place(problem["loc"])
        where = ".".join(keys) or "value"
        if kind == "extra_forbidden":
            key = str(problem["loc"][-1])
            if (instead := inner.elsewhere.get(key)) is not None:
                return f"unknown key '{key}'{f' of {where!r}' if keys else ''}; {instead}"
            return f"unknown key '{key}'{f' of {where!r}' if keys else ''}{nearest(key, inner.model_fields)}"
        if kind == "missing":
            return f"'{where}' is required"
        text = {"model_type": "should be a mapping of its keys to values", "too_short": "should not be empty"}.get(
            kind, problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
        )
        if isinstance(problem["input"], bool) and kind in ("string_type", "literal_error"):
            return f"'{where}': {TRUTHS}"
        return f"'{where}': {text}" if cls.secret else f"'{where}': {text}, but got {shown(problem['input'])}"

    @classmethod
    def _place(cls, path: Sequence[str | int]) -> tuple[list[str], type["Checked"]]:
        """Return the keys, from the outermost, that lead to where a problem is, and the class whose keys stand there."""
        keys: list[str] = []
        inner: type[Checked] = cls
        for key in path:
            if isinstance(key, str) and key in inner.model_fields:
                keys.append(key)
                inner = _checked_in(inner.model_fields[key].annotation) or inner
        return keys, inner


def _checked_in(annotation: Any) -> type[Checked] | None:
    """Return the class in a type such as `list[DatasetSpec]` that checks keys of its own."""
    if isinstance(annotation, type) and issubclass(annotation, Checked):
        return annotation
    return next((found for part in get_args(annotation) if (found := _checked_in(part))), None)


def _kinds_in(annotation: Any) -> set[Any]:
    """Return the plain types in a type such as `list[int] | None`."""
    return {annotation}.union(*map(_kinds_in, get_args(annotation))) if annotation is not ... else set()
