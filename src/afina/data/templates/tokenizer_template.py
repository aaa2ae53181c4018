"""The chat template that a tokenizer brings: what of a conversation it writes, and where in that the answers stand."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from jinja2 import TemplateError

from afina.data.dialogues.messages import TOOLS, Message, with_tools
from afina.data.templates.chat_template import TEMPLATES, TOOLS_OTHERWISE, TOOLS_UNASKED, ChatTemplate, Piece, joined
from afina.data.templates.foreign import render_template
from afina.errors import UsageError

__all__ = ["TokenizerTemplate"]

_PROBE = "\u2063afina\u2063"


class _Advice(NamedTuple):
    """Says what else there is to do with a conversation of which a template would leave something out."""

    system: str
    tools: str
    other: str


_TRAINED = _Advice(
    "merge it into the first user turn (system: merge).", TOOLS_OTHERWISE,
    "leave such conversations out of the data, or set template: to another.",
)  # fmt: skip
_ASKED = _Advice("say it in the first user turn.", TOOLS_UNASKED, "say it in a user's turn, or leave it out.")


class TokenizerTemplate(ChatTemplate):
    """The template that a tokenizer brings, in transformers' Jinja, rendered within limits (foreign_templates.py)."""

    marks = False

    def __init__(self, source: str, specials: Mapping[str, str], with_tools: str | None = None) -> None:
        """Take the special tokens that the template may name; `with_tools` is another where tools are declared.

        Raises `UsageError` for one without an end behind an answer, or without roles.
        """
        self.source, self.specials, self.with_tools = source, dict(specials), with_tools
        asked = Message("user", "?")
        # A probe that no text has: what stands behind it is the end of an answer.
        behind = self._text([asked, Message("assistant", _PROBE)]).partition(_PROBE)[2]
        if not behind.strip():
            raise UsageError(
                "The tokenizer's chat template writes nothing behind an answer, so that the model could not learn to stop; "
                f"set template: to one of {', '.join(TEMPLATES)}, or to one of your own."
            )
        self._end = behind.rstrip()
        self._check_roles()

    @property
    def stop(self) -> tuple[str, ...]:
        return (self._end.strip(),)

    def render(self, messages: Sequence[Message]) -> list[Piece]:
        self._check_written(messages, _TRAINED)
        whole = self._text(messages)
        pieces: list[Piece] = []
        place = 0
        for index, message in enumerate(messages):
            if message.role != "assistant":
                continue
            start, end = self._span(messages, index, whole)
            pieces += [(whole[place:start], False), (whole[start:end], message.learned)]
            place = end
        return joined([*pieces, (whole[place:], False)])

    def _span(self, messages: Sequence[Message], index: int, whole: str) -> tuple[int, int]:
        """Return from where to where an assistant's turn stands in the whole text, its end mark within."""
        before, message = self._asking(messages[:index]), messages[index]
        start, end = len(before), -1
        if whole.startswith(before) and message.details.get("tool_calls"):
            # Calls are written in the template's own way, so that their end is found by rendering as far.
            upto = self._text(messages[: index + 1])
            end = len(upto.rstrip()) if whole.startswith(upto.rstrip()) and len(upto.rstrip()) > start else -1
        elif whole.startswith(before):
            # Some templates strip what is said.
            for content in (message.content, message.content.strip()):
                if end < 0 and (place := whole.find(content + self._end, start)) >= 0:
                    end = place + len(content + self._end)
        if end < 0:
            raise UsageError(
                "the tokenizer's chat template writes an answer otherwise than it prompts for it, so that what is to "
                "be trained cannot be found; set template: to another."
            )
        return start, end

    def prompt(self, messages: Sequence[Message]) -> str:
        # What is not written would be lost without a word: the model would answer without a tool's result.
        self._check_written(messages, _ASKED, add_generation_prompt=True)
        return self._asking(messages)

    def _asking(self, messages: Sequence[Message]) -> str:
        return self._text(messages, add_generation_prompt=True).rstrip(" ")

    def _text(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        tools, messages = with_tools(messages)
        # Where a tokenizer has a template for tools, it is only for conversations with tools.
        source = self.with_tools or self.source if tools else self.source
        problem = "it prints a call's arguments as Python does"

        # Most templates take a call's arguments as an object, some as JSON text.
        for arguments in (lambda value: value, lambda value: json.dumps(value, ensure_ascii=False)):
            given = [_as_given(message, arguments) for message in messages]
            values = {"messages": given, "tools": tools or None, "documents": None}
            try:
                text = render_template(
                    source, {**values, "add_generation_prompt": add_generation_prompt, **self.specials},
                    what="The tokenizer's chat template",
                )  # fmt: skip
                # Python's print of an object is no JSON, and a server would not read it back.
                if not _as_python(text, messages):
                    return text
            except TemplateError as error:
                problem = str(error)
            except UsageError:
                if not any(message.details.get("tool_calls") for message in messages):
                    raise
                problem = "it does not write calls of tools"
        raise UsageError(f"the tokenizer's chat template refuses the conversation: {problem}")

    def _check_roles(self) -> None:
        """Refuse a template that writes the user's turns as it writes the assistant's."""
        first, second, third = (f"{_PROBE}{number}" for number in range(3))
        try:
            talk = self._text([Message("user", first), Message("assistant", second), Message("user", third)])
        except UsageError:
            return
        _, _, rest = talk.partition(first)
        after_user, _, rest = rest.partition(second)
        if after_user == rest.partition(third)[0]:
            raise UsageError(
                "The tokenizer's chat template writes no roles, so that the model could not tell who speaks; if that is "
                'meant, say it: template: {user: "{content}{eos}", assistant: "{content}{eos}"}.'
            )

    def _check_written(
        self, messages: Sequence[Message], advice: "_Advice", *, add_generation_prompt: bool = False
    ) -> None:
        """Raise for a conversation of which the template would leave something out, with what else there is to do."""
        roles = {message.role for message in messages}
        if "system" in roles and not self._writes_system:
            why = f" ({self._refusal})" if self._refusal else ""
            raise UsageError(f"the tokenizer's chat template takes no system turn{why}: {advice.system}")
        if any(message.details.get("tool_calls") for message in messages) and not self._writes_calls:
            raise UsageError(f"the tokenizer's chat template does not write calls of tools; {advice.tools}")
        if "tool" in roles and not self._writes_results:
            raise UsageError(f"the tokenizer's chat template does not write what tools give; {advice.tools}")
        if with_tools(messages)[0] and not self._writes_tools:
            raise UsageError(f"the tokenizer's chat template does not write which tools there are; {advice.tools}")
        self._check_each(messages, advice, add_generation_prompt=add_generation_prompt)

    def _check_each(self, messages: Sequence[Message], advice: "_Advice", *, add_generation_prompt: bool) -> None:
        """Raise where what a turn says, or a call in it, is written at some places of a conversation and not at its own."""
        # Each by a probe of its own, as a template may trim what is said, and a short word stands in other turns too.
        probed = [_probed(message, place) for place, message in enumerate(messages)]
        try:
            text = self._text(probed, add_generation_prompt=add_generation_prompt)
        except UsageError:
            return  # what it refuses of probes and takes of texts looks at what is said, and is not ours to guess
        spoken = [message for message in messages if message.role != TOOLS]
        for number, message in enumerate(spoken, start=1):
            place = number - 1 + len(messages) - len(spoken)
            where = f"message {number} ({message.role})"
            parts = {_mark(place): f"what {where} says"} if message.content.strip() else {}
            parts |= {
                _mark(place, call): f"a call in {where}"
                for call, _ in enumerate(message.details.get("tool_calls", ()), start=1)
            }
            for mark, what in parts.items():
                if not _stands(mark, text):
                    raise UsageError(
                        f"the tokenizer's chat template leaves out {what}, there; "
                        f"{advice.system if message.role == 'system' else advice.other}"
                    )

    @cached_property
    def _writes_system(self) -> bool:
        return self._writes([Message("system", _PROBE), Message("user", "?"), Message("assistant", "!")])

    @cached_property
    def _refusal(self) -> str:
        try:
            self._text([Message("system", _PROBE), Message("user", "?"), Message("assistant", "!")])
        except UsageError as error:
            return str(error).rpartition("conversation: ")[2].strip()[:100]
        return ""

    @cached_property
    def _writes_calls(self) -> bool:
        return self._writes(
            [Message("user", "?"), _called("f", {_PROBE: 1}), Message("tool", "1"), Message("assistant", "!")]
        )

    @cached_property
    def _writes_results(self) -> bool:
        given = Message("tool", _PROBE, {"tool_call_id": "call00000", "name": "f"})
        return self._writes([Message("user", "?"), _called("f", {"a": 1}), given, Message("assistant", "!")])

    @cached_property
    def _writes_tools(self) -> bool:
        function = {"name": _PROBE, "description": "", "parameters": {"type": "object", "properties": {}}}
        declared = Message(TOOLS, "", {TOOLS: [{"type": "function", "function": function}]})
        return self._writes([declared, Message("user", "?"), Message("assistant", "!")])

    def _writes(self, messages: Sequence[Message]) -> bool:
        """Return whether the probe in these messages comes into the text, as it is or as JSON writes it."""
        try:
            text = self._text(messages)
        except UsageError:
            return False
        return _stands(_PROBE, text)

    def state(self) -> dict[str, str]:
        tools = {} if self.with_tools is None else {"jinja_with_tools": self.with_tools}
        return {"jinja": self.source, **tools, **self.specials}


def _mark(place: int, call: int = 0) -> str:
    return f"{_PROBE}{place}.{call}{_PROBE}"


def _probed(message: Message, place: int) -> Message:
    """Return a message that says a probe of its place, and whose calls have one each."""
    if message.role == TOOLS:
        return message
    details, calls = dict(message.details), message.details.get("tool_calls", ())
    if calls:
        details["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": {_mark(place, number): 1}}}
            for number, call in enumerate(calls, start=1)
        ]
    return Message(message.role, _mark(place) if message.content.strip() else message.content, details)


def _stands(probe: str, text: str) -> bool:
    # JSON escapes what the probe is made of.
    return probe in text or json.dumps(probe)[1:-1] in text


def _as_python(text: str, messages: Sequence[Message]) -> bool:
    """Return whether a text has a call's arguments as Python prints an object, its template taking them for a text."""
    calls = [call["function"]["arguments"] for message in messages for call in message.details.get("tool_calls", ())]
    # A call without arguments prints alike both ways.
    return any(str(call) in text and json.dumps(call, ensure_ascii=False) != str(call) for call in calls if call)


def _called(name: str, arguments: Mapping[str, Any]) -> Message:
    function = {"name": name, "arguments": dict(arguments)}
    return Message("assistant", "", {"tool_calls": [{"id": "call00000", "type": "function", "function": function}]})


def _as_given(message: Message, arguments: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a message as a template reads it, with each call's arguments changed."""
    given: dict[str, Any] = {"role": message.role, "content": message.content}
    # A weight is ours: what a template does not know it may refuse.
    given |= {key: value for key, value in message.details.items() if key != "weight"}
    if calls := message.details.get("tool_calls"):
        given["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": arguments(call["function"]["arguments"])}}
            for call in calls
        ]
    return given
