"""Messages as files have them: who says what, whether it is to be learned, which tools are called.

A message that has been read is a dict of `role` (system, user, assistant, tool) and `content`, and where there is more of
`weight` (0: it is read and not learned), `tool_calls` (OpenAI's, arguments as an object), `tool_call_id` and `name`.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from afina.data.files.literals import parsed_text
from afina.data.names import ROLE_KEYS, SAID_KEYS, plain_names

__all__ = [
    "TOOLS",
    "Listed",
    "Message",
    "read_messages",
    "read_tools",
    "said_text",
    "with_tools",
]

TOOLS = "tools"
"""The role of a message that says nothing and declares, in its details, which tools there are."""
_CALLS = ("function_call", "tool_call", "function-call", "tool-call", "tool_calls")
"""Roles of ShareGPT's messages that call a tool, as JSON text."""
_LEARNED = ("weight", "train", "training", "trainable", "loss", "learn")
"""Keys that say that an answer is learned: OpenAI's and Mistral's `weight`, axolotl's `train`, ms-swift's `loss`."""
_NOT_LEARNED = ("masked",)
"""Keys that say of an answer that it is not learned (torchtune)."""
_IN_PART = ("train_detail", "training_detail", "loss_scale", "loss_mask", "weights")
"""Keys that weigh parts of an answer: not computed here, and so refused."""
_DETAILS = ("tool_calls", "tool_call_id", "name")


class Message(NamedTuple):
    """One turn; `role` is system, user, assistant or tool."""

    role: str
    content: str
    details: Mapping[str, Any] = {}
    """The message's further keys: `weight` 0, `tool_calls`, `tool_call_id`, `name`."""

    @property
    def learned(self) -> bool:
        """Return whether it is the assistant's and not weighted away."""
        return self.role == "assistant" and self.details.get("weight") != 0


def with_tools(messages: Sequence[Message]) -> tuple[list[Any], list[Message]]:
    """Return the tools that a conversation declares, and its messages without the one that does."""
    if messages and messages[0].role == TOOLS:
        return list(messages[0].details.get(TOOLS, ())), list(messages[1:])
    return [], list(messages)


@dataclass(frozen=True)
class Listed:
    """Messages of a list, or why they are none."""

    messages: list[dict[str, Any]]
    form: str = "OpenAI messages"
    problem: str = ""


class _Problem(Exception):
    """Says why a message is none."""


def read_messages(turns: Sequence[Any], roles: Mapping[str, str], seen: Counter[str], *, nulls: bool = False) -> Listed:
    """Read a list of messages, OpenAI's or ShareGPT's; `roles` has the role by name, and `seen` counts what is assumed.

    With `nulls` a call's arguments that are null are some, as whoever asks wrote them, and no file's empty columns.
    """
    # One message with `from` is enough: OpenAI's have none.
    form = "ShareGPT" if any(isinstance(turn, Mapping) and "from" in turn for turn in turns) else "OpenAI messages"
    messages: list[dict[str, Any]] = []
    # Counted only if the whole list can be read: a row that is refused has been taken for nothing.
    noticed: Counter[str] = Counter()
    for number, turn in enumerate(turns, start=1):
        try:
            messages.append(_message(turn, roles, noticed, nulls=nulls))
        except _Problem as problem:
            # The number is known here, and what is wrong where it was found.
            return Listed([], form, str(problem).replace("{n}", f"message {number}"))
    seen.update(noticed)
    return Listed(messages, form, "" if messages else "no messages")


def _message(turn: Any, roles: Mapping[str, str], seen: Counter[str], *, nulls: bool) -> dict[str, Any]:
    values = {str(key): value for key, value in turn.items() if value is not None} if isinstance(turn, Mapping) else {}

    # A content of null is there (an answer that only calls a tool), where all other keys of null are as good as absent.
    plain, spoken = plain_names(values), plain_names(turn if isinstance(turn, Mapping) else ())
    role_key = next((plain[key] for key in ROLE_KEYS if key in plain), None)
    said_key = next((spoken[key] for key in SAID_KEYS if key in spoken), None)
    if role_key is None:
        raise _Problem(
            f"{{n}} has no role: a message should have role and content, or from and value, not {_short(turn)}"
        )
    given = values[role_key]

    # ChatGPT's export names an author by an object.
    if isinstance(given, Mapping):
        given = given.get("role") or given.get("name")
    # Spelled in any case, as people edit such files by hand.
    name = str(given).strip().lower()
    role = "assistant" if name in _CALLS else roles.get(name)
    if role is None:
        known = "system, user, assistant and tool"
        raise _Problem(f"{{n}} has the unknown role '{given}'; roles are {known}, and their usual other names")
    calls = _calls(values, seen, nulls=nulls)
    if said_key is None and not calls:
        raise _Problem(f"a message should have role and content, or from and value, not {_short(turn)}")
    content = said_text(values.get(said_key or ""))

    # ShareGPT has calls as roles, with the call as JSON text in the message.
    if name in _CALLS and not calls:
        calls = _called_by_text(content, seen)
        if calls:
            content = ""
        else:
            seen["calls of tools that are no JSON, kept as what is said"] += 1
    message: dict[str, Any] = {"role": role, "content": content}
    if calls:
        message["tool_calls"] = calls
    if (weight := _weight(values)) is not None:
        if role == "assistant":
            message |= {} if weight else {"weight": 0}
        elif weight and role == "user":
            seen["messages of the user marked to be learned: answers alone are"] += 1
    message |= {key: str(values[key]) for key in _DETAILS[1:] if key in values}

    # Every key that is not read is said, as it may have meant something.
    used = {role_key, said_key, "function_call", *_DETAILS, *_LEARNED, *_NOT_LEARNED}
    for key in values:
        if key not in used and values[key] not in ("", [], {}, False):
            seen[f"messages with the key '{key}', which is not used"] += 1
    return message


def said_text(content: Any) -> str:
    """Return a message's text; OpenAI's may be a list of parts, all of them texts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    # Numbers are said too; a truth is a flag that stands in the wrong place.
    if isinstance(content, int | float) and not isinstance(content, bool):
        return str(content)
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list | tuple):
        raise _Problem(f"{{n}} says {_short(content)}, which is no text")
    return "".join(map(_part, content))


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") or part.get("content_type") if isinstance(part, Mapping) else None
    # Parts without a type are texts, as older exports have them.
    if isinstance(part, Mapping) and kind in (None, "text", "input_text", "output_text"):
        text = part.get("text", part.get("content"))
        if isinstance(text, str):
            return text
    what = f"of the type '{kind}'" if kind else f"that is no text ({_short(part)})"
    raise _Problem(f"{{n}} has a part {what}; only texts can be learned: leave such rows out")


def _weight(values: Mapping[str, Any]) -> bool | None:
    for key in _IN_PART:
        if values.get(key) not in (None, [], {}):
            raise _Problem(
                f"{{n}} has the key '{key}', which weighs parts of an answer; only whole answers are left out here"
            )
    # Formats say it by a weight, a truth, or its opposite: all of them have to agree.
    switches = {key: _switch(key, values[key]) for key in (*_LEARNED, *_NOT_LEARNED) if key in values}
    learned = {key: value != (key in _NOT_LEARNED) for key, value in switches.items()}
    if len(set(learned.values())) > 1:
        raise _Problem(f"{{n}} is to be learned by one of its keys and not by another ({', '.join(learned)})")
    return next(iter(learned.values()), None)


def _switch(key: str, value: Any) -> bool:
    text = str(value).strip().lower()
    if text in ("1", "1.0", "true", "yes"):
        return True
    if text in ("0", "0.0", "false", "no"):
        return False
    raise _Problem(f"{{n}} has {key}: {_short(value)}; an answer is learned (1) or not (0)")


# -- tools -----------------------------------------------------------------------------------------------------------


def _calls(values: Mapping[str, Any], seen: Counter[str], *, nulls: bool) -> list[dict[str, Any]]:
    given = values.get("tool_calls")
    if isinstance(given, str):
        given, _ = parsed_text(given)
    if not given and isinstance(values.get("function_call"), Mapping):
        given = [{"type": "function", "function": values["function_call"]}]
    if not given:
        return []
    if not isinstance(given, list):
        raise _Problem(f"{{n}} has tool_calls that are no list ({_short(given)})")
    return [_call(call, seen, nulls=nulls) for call in given]


def _call(call: Any, seen: Counter[str], *, nulls: bool = False) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise _Problem(f"{{n}} calls a tool without a name ({_short(call)})")
    arguments = function.get("arguments", function.get("parameters"))
    # Arguments are an object, or that as JSON text.
    if isinstance(arguments, str):
        arguments = parsed_text(arguments)[0] if arguments.strip() else {}
    if arguments is None and function.get("arguments") is None:
        arguments = {}
    if not isinstance(arguments, Mapping):
        raise _Problem(f"{{n}} calls '{function['name']}' with arguments that are no JSON object")
    if not nulls and any(value is None for value in arguments.values()):
        # A parquet file has every key of one call in all, empty.
        seen["calls with arguments that are null, left out"] += 1
        arguments = {key: value for key, value in arguments.items() if value is not None}
    kept_keys = {key: call[key] for key in ("id",) if call is not function and call.get(key) is not None}
    return {**kept_keys, "type": "function", "function": {"name": function["name"], "arguments": dict(arguments)}}


def _called_by_text(content: str, seen: Counter[str]) -> list[dict[str, Any]]:
    """Read ShareGPT's calls, of which one or several stand as JSON in a message's text."""
    value, _ = parsed_text(content)
    listed = value if isinstance(value, list) else [value]
    # All or none: text beside a call is something else that the assistant says.
    good = all(isinstance(each, Mapping) and isinstance(each.get("name"), str) for each in listed)
    return [_call(each, seen) for each in listed] if good and listed else []


def read_tools(value: Any) -> list[Any]:
    """Return the tools that a row's column `tools` declares, a list or JSON text; none where it is anything else."""
    if isinstance(value, str):
        value, _ = parsed_text(value)
    return [_plain(tool) for tool in value if isinstance(tool, Mapping)] if isinstance(value, list) else []


def _plain(value: Any) -> Any:
    """Leave out what is missing: a parquet file has each key of one object in all."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items() if part is not None}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, Mapping | list) else repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
