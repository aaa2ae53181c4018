"""Read what a request holds: JSON of known keys alone, each of its type, and text that can be written."""

import json
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from afina.errors import nearest, shown
from afina.serve.http.refusals import Refusal, wrong

__all__ = ["Body", "Name", "Text", "as_body", "as_json"]

Name = Annotated[str, StringConstraints(min_length=1, max_length=400)]
Text = Annotated[str, StringConstraints(max_length=4_000_000)]


class Body(BaseModel):
    """Holds what one kind of request has; a key that it has not is refused, never passed over."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True, protected_namespaces=())

    unsupported: ClassVar[frozenset[str]] = frozenset({
        "audio", "function_call", "functions", "logit_bias", "metadata", "modalities", "parallel_tool_calls", "prediction",
        "reasoning_effort", "service_tier", "store", "suffix", "tool_choice", "tools", "verbosity", "web_search_options",
    })  # fmt: skip
    """Keys that OpenAI has and nobody here obeys; only where they say nothing they may stand."""

    user: Annotated[str, Field(max_length=400)] | None = None
    """The asker's own name for whom it is asked; it changes nothing."""


def as_json(raw: bytes) -> Any:
    """Return what a body's bytes say; raises `Refusal` for no JSON, a key given twice, or text that cannot be written."""
    try:
        body = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
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
        raise wrong(f"The body should be an object with keys, not {shown(body)}.", code="invalid_json")
    for key in kind.unsupported & body.keys():
        # A client may send every key that it knows with nothing in it.
        if body.pop(key) not in (None, False, [], {}):
            raise wrong(f"'{key}' is not supported here; leave it out.", key, "unsupported_parameter")
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        # The first is named, and the others counted: a list of them all would be read by nobody.
        first, *others = error.errors(include_url=False)
        raise _refusal(kind, first, len(others)) from None


def _refusal(kind: type[Body], problem: Any, others: int) -> Refusal:
    """Return what is said of a key: where it stands, and what is wrong with it."""
    where = ".".join(map(str, problem["loc"]))[:200]
    more = f" ({others} more are wrong)" if others else ""
    if problem["type"] == "extra_forbidden":
        # A suggestion only at the top, where the model's own keys are known.
        hint = nearest(str(problem["loc"][-1])[:80], kind.model_fields) if len(problem["loc"]) == 1 else "."
        return wrong(f"Unknown key '{where}'{hint}{more}", where, "unknown_parameter")
    if problem["type"] == "missing":
        return wrong(f"'{where}' is required{more}.", where, "missing_required_parameter")
    text = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return wrong(f"'{where}': {text}, not {shown(problem['input'])}{more}.", where)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) < len(pairs):
        # JSON says nothing of it, and two programs read two different bodies.
        raise ValueError("a key is given twice")
    return body


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number in JSON")
