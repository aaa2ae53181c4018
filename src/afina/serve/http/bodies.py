"""Read what a request holds: JSON of known keys alone, each of its type, and text that can be written."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from afina.errors import abridged, nearest, shown
from afina.serve.http.refusals import Refusal, wrong

__all__ = ["MOST_ITEMS", "Body", "Each", "Name", "Text", "Texts", "as_body", "as_json", "check_form", "without_nulls"]

Name = Annotated[str, StringConstraints(min_length=1, max_length=400)]
Text = Annotated[str, StringConstraints(max_length=4_000_000)]
MOST_ITEMS = 1 << 16
"""Items of a list that are looked at; how many texts a request may have the server's limits say."""
_KEYS = 1_000
"""Keys that an object may have: each that is not known would be found out by itself."""
_T = TypeVar("_T")
Each = Annotated[list[_T], Field(fail_fast=True)]
"""A list that is read to the first wrong item: of millions, to name each took minutes and gigabytes."""
Texts = Annotated[Each[Text], Field(min_length=1, max_length=MOST_ITEMS)]


class Body(BaseModel):
    """Holds what one kind of request has; a key that it has not is refused, never passed over."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True, protected_namespaces=())

    unsupported: ClassVar[Mapping[str, Sequence[Any]]] = dict.fromkeys((
        "audio", "functions", "logit_bias", "metadata", "moderation", "prediction", "prompt_cache_key",
        "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "store", "tools", "web_search_options",
    ), ()) | {
        # Without tools none is called, by whatever rule.
        "function_call": ("none", "auto"), "tool_choice": ("none", "auto"), "parallel_tool_calls": (True,),
        "modalities": (["text"],), "reasoning_effort": ("none",), "service_tier": ("auto", "default"), "suffix": ("",),
        "verbosity": ("medium",),
    }  # fmt: skip
    """Keys that OpenAI has and nobody here obeys, with the values that ask for what is done anyway.

    Only with these they may stand, and where they say nothing.
    """

    user: Annotated[str, Field(max_length=400)] | None = None
    """The asker's own name for whom it is asked; it changes nothing."""

    @model_validator(mode="before")
    @classmethod
    def _given(cls, given: Any) -> Any:
        return without_nulls(cls, given)


def without_nulls(kind: type[BaseModel], given: Any) -> Any:
    """Return what is given of a model without the keys that may be left out and are null.

    That is how OpenAI's clients, and many a program, say that nothing was said.
    """
    if not isinstance(given, dict):
        return given
    may_miss = {key for key, field in kind.model_fields.items() if not field.is_required()}
    return {key: value for key, value in given.items() if value is not None or key not in may_miss}


def check_form(headers: Mapping[str, str]) -> None:
    """Raise `Refusal` where a request's headers say that its body is no JSON as it is read here."""
    kind, _, more = headers.get("content-type", "").partition(";")
    if kind.strip().lower() != "application/json":
        raise Refusal(415, "The body should be JSON, with the header content-type: application/json.", "not_json")
    charset = re.search(r'charset\s*=\s*"?([^\s";]*)', more.lower())
    if charset is not None and charset[1] not in ("utf-8", "utf8", "us-ascii"):
        raise Refusal(415, f"JSON is read as UTF-8, not as {charset[1][:40]}.", "not_json")
    if (encoding := headers.get("content-encoding", "identity").strip().lower()) != "identity":
        raise Refusal(415, f"The body is sent as {encoding[:40]}; send it as it is.", "not_json")


def as_json(raw: bytes) -> Any:
    """Return what a body's bytes say; raises `Refusal` for no JSON, a key given twice, or text that cannot be written."""
    try:
        # Some programs begin a text with a mark of its encoding, which is no part of it.
        body = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_number)
        # Python reads half a surrogate pair, which no text can be written with.
        if b"\\ud" in raw.lower():
            json.dumps(body, ensure_ascii=False).encode("utf-8")  # half a character
    except RecursionError:
        raise wrong("The body's JSON is nested too deeply.", code="invalid_json") from None
    except UnicodeEncodeError:
        raise wrong("A text in the body holds half of a character (a lone surrogate).", code="invalid_json") from None
    except ValueError as error:  # of which JSON's and Unicode's are kinds
        reason = str(error).split(";")[0][:200]
        raise wrong(f"The body is not JSON that can be read: {reason}.", code="invalid_json") from None
    return body


def as_body(kind: type[Body], body: Any) -> Any:
    """Return what was read as a body of a kind; raises `Refusal` that names the first key that is wrong."""
    if not isinstance(body, dict):
        raise wrong(f"The body should be an object with keys, not {_as_sent(body)}.", code="invalid_json")
    for key in kind.unsupported.keys() & body.keys():
        # A client may send every key that it knows with nothing in it, or with what it would be anyway.
        if not _says_nothing(value := body.pop(key)) and value not in kind.unsupported[key]:
            raise wrong(f"'{key}' is not supported here; leave it out.", key, "unsupported_parameter")
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise _refusal(kind, body, error.errors(include_url=False)) from None


def _says_nothing(value: Any) -> bool:
    return value is None or value is False or value in ([], {})


def _refusal(kind: type[Body], body: Any, problems: Sequence[Any]) -> Refusal:
    """Return what is said of the first key that is wrong: where it stands, and what is wrong with it; others are counted.

    A list of them all would be read by nobody. Of a key that may have several forms each form has its problem: said is that
    of the form which fits furthest.
    """
    placed = [(*_place(body, problem), problem) for problem in problems]
    stem = placed[0][0]
    forms: dict[str, list[tuple[tuple[str | int, ...], Any]]] = {}
    for start, place, problem in placed:
        if start == stem:
            forms.setdefault(str([*problem["loc"], ""][len(stem)]), []).append((place, problem))
    # A text that is too short is a text, so that the other forms were not meant.
    ranks = [(not own[0][1]["type"].endswith("_type"), _order(own[0][0])) for own in forms.values()]
    chosen = [own for own, rank in zip(forms.values(), ranks, strict=True) if rank == max(ranks)]
    place, problem = chosen[0][0]
    others = len({own for own, _, _ in placed} - {stem}) + min(map(len, chosen)) - 1
    more = f" ({others} more {'is' if others == 1 else 'are'} wrong)" if others else ""
    where = ".".join(map(str, place))[:200]
    if problem["type"] == "extra_forbidden":
        # A suggestion only at the top, where the model's own keys are known.
        hint = nearest(str(place[-1])[:80], kind.model_fields) if len(place) == 1 else "."
        return wrong(f"Unknown key '{where}'{hint}{more}", where, "unknown_parameter")
    if problem["type"] == "missing":
        return wrong(f"'{where}' is required{more}.", where, "missing_required_parameter")
    text = " or ".join(dict.fromkeys(_sentence(own[0][1]) for own in chosen)).replace(" or should be ", " or ")
    return wrong(f"'{where}': {text}, not {_as_sent(problem['input'])}{more}.", where)


def _place(body: Any, problem: Any) -> tuple[tuple[str | int, ...], tuple[str | int, ...]]:
    """Return where a problem stands in a body, as far as all forms of it have that in common, and in full.

    What leads nowhere in the body is the name of one of several forms, but for a key that is missing.
    """
    stem: tuple[str | int, ...] | None = None
    place: tuple[str | int, ...] = ()
    value = body
    for part in problem["loc"]:
        there = part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)
        if there:
            value = value[part]
        if there or (problem["type"] == "missing" and part == problem["loc"][-1]):
            place = (*place, part)
        elif stem is None:
            stem = place
    return place if stem is None else stem, place


def _order(place: Sequence[str | int]) -> list[tuple[bool, str | int]]:
    return [(isinstance(part, str), part) for part in place]


def _sentence(problem: Any) -> str:
    # As pydantic says it, without what it calls the value, which stands behind it.
    text = re.sub("^(Value error,|Input|List|String) | after validation, not [0-9]+$", "", problem["msg"])
    return re.sub("a valid dictionary or instance of .*", "an object with keys", text)


def _as_sent(value: Any) -> str:
    """Return a value as a sentence may name it: as the JSON that was sent, but texts in a sentence's quotes."""
    try:
        return shown(value) if isinstance(value, str) else abridged(json.dumps(value, ensure_ascii=False))
    except RecursionError:  # nested nearly as deep as is read
        return shown(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(pairs) > _KEYS:
        raise ValueError(f"an object has {len(pairs):,} keys, and {_KEYS:,} are read")
    if len(body) < len(pairs):
        # JSON says nothing of it, and two programs read two different bodies.
        raise ValueError("a key is given twice")
    return body


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number in JSON")
