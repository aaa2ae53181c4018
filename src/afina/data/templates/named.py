"""Chat templates by name, of one's own, or the tokenizer's (tokenizer_template.py)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from afina.data.dialogues.messages import Message
from afina.data.templates.chat_template import (
    CONTENT,
    TEMPLATES,
    TOOLS_OTHERWISE,
    TOOLS_UNASKED,
    ChatTemplate,
    Piece,
    joined,
)
from afina.data.templates.tokenizer_template import TokenizerTemplate
from afina.errors import UsageError, nearest

__all__ = ["TEMPLATES", "ChatTemplate", "Message", "load_template", "make_template", "merging"]


@dataclass(frozen=True)
class Turns(ChatTemplate):
    """A format for each role, with {content} in it; what the assistant's has behind it ends the turn."""

    user: str
    assistant: str
    system: str = f"{CONTENT}\n\n"
    default: str = ""
    """The system's text where a conversation has none."""
    marks = True

    def __post_init__(self) -> None:
        for role, format in (("user", self.user), ("assistant", self.assistant), ("system", self.system)):
            # Once: nowhere the content would be lost, and twice it would be learned twice.
            if format.count(CONTENT) != 1:
                raise UsageError(f"template: {role}: {format!r} should hold {CONTENT} once.")
        if not self._end.strip():
            raise UsageError(
                f"template: assistant: {self.assistant!r} has nothing behind {CONTENT}, so that the model could not "
                "learn to stop; put an end there, such as {eos}."
            )

    @property
    def _begin(self) -> str:
        return self.assistant.partition(CONTENT)[0]

    @property
    def _end(self) -> str:
        return self.assistant.partition(CONTENT)[2]

    @property
    def stop(self) -> tuple[str, ...]:
        return (self._end.strip(),)

    def render(self, messages: Sequence[Message]) -> list[Piece]:
        if _has_tools(messages):
            raise UsageError(f"template: its formats have no place for tools; {TOOLS_OTHERWISE}")
        return joined([piece for message in self._whole(messages) for piece in self._turn(message)])

    def prompt(self, messages: Sequence[Message]) -> str:
        if _has_tools(messages):
            raise UsageError(f"The model's template has no place for tools; {TOOLS_UNASKED}")
        before = [piece for message in self._whole(messages) for piece in self._turn(message)]
        # A space before an answer is the answer's own token in most tokenizers.
        return "".join(text for text, _ in before) + self._begin.rstrip(" ")

    def _whole(self, messages: Sequence[Message]) -> list[Message]:
        given = bool(messages) and messages[0].role == "system"
        return list(messages) if given or not self.default else [Message("system", self.default), *messages]

    def _turn(self, message: Message) -> list[Piece]:
        if message.role != "assistant":
            return [(getattr(self, message.role).replace(CONTENT, message.content), False)]
        begin = self._begin.rstrip(" ")
        end = self._end.rstrip()
        # What of the beginning is no mark of the turn is learned with the answer, as its space.
        learned = self._begin[len(begin) :] + message.content + end
        return [(begin, False), (learned, message.learned), (self._end[len(end) :], False)]

    def state(self) -> dict[str, str]:
        return {"system": self.system, "user": self.user, "assistant": self.assistant, "default": self.default}


def _has_tools(messages: Sequence[Message]) -> bool:
    """Return whether there is something that formats by role have no place for."""
    return any(message.role in ("tool", "tools") or message.details.get("tool_calls") for message in messages)


class SystemMerged(ChatTemplate):
    """Wraps a template that has no place for a system message: that is written before the user's first message."""

    def __init__(self, inner: ChatTemplate) -> None:
        self.inner, self.marks = inner, inner.marks

    @property
    def stop(self) -> tuple[str, ...]:
        return self.inner.stop

    def render(self, messages: Sequence[Message]) -> list[Piece]:
        return self.inner.render(_merged(messages))

    def prompt(self, messages: Sequence[Message]) -> str:
        return self.inner.prompt(_merged(messages))

    def state(self) -> dict[str, str]:
        return {**self.inner.state(), _MERGES: "yes"}


_MERGES = "merges_system"


def _merged(messages: Sequence[Message]) -> list[Message]:
    result = list(messages)
    place = next((place for place, message in enumerate(result) if message.role == "system"), None)
    user = next((place for place, message in enumerate(result) if message.role == "user"), None)
    if place is None:
        return result
    system = result[place].content
    if user is None:
        raise UsageError("system: merge puts what the system says before the user's words, and there are none.")
    result[user] = result[user]._replace(content=f"{system}\n\n{result[user].content}")
    del result[place]
    return result


def make_template(
    wanted: str | Mapping[str, str] | None, tokenizer: Any, *, merge_system: bool = False
) -> ChatTemplate:
    """Return the template of this name, of these formats by role, or for None the tokenizer's own.

    With `merge_system` what the system says is put before the first that the user says.

    Raises `UsageError` for a name or key that there is not, and where the tokenizer has none.
    """
    if merge_system:
        return merging(make_template(wanted, tokenizer))
    if wanted is None:
        source: Any = getattr(tokenizer, "chat_template", None)
        tools: str | None = None
        # Some tokenizers have several; "default" is that of a plain conversation.
        if isinstance(source, Mapping):
            source, tools = source.get("default"), source.get("tool_use")
        if not source:
            raise UsageError(
                "The model's tokenizer has no chat template; set template: to one of "
                f"{', '.join(TEMPLATES)}, or to formats of your own (user: and assistant:, with {CONTENT} in them)."
            )
        return TokenizerTemplate(
            source, {key: str(value) for key, value in tokenizer.special_tokens_map.items() if value}, tools
        )
    if isinstance(wanted, str):
        if wanted not in TEMPLATES:
            raise UsageError(f"template: there is none called '{wanted}'{nearest(wanted, TEMPLATES)}")
        wanted = TEMPLATES[wanted]
    known = ("user", "assistant", "system", "default")
    for key, value in wanted.items():
        if key not in known:
            raise UsageError(f"template: unknown key '{key}'{nearest(key, known)}")
        if not isinstance(value, str):
            raise UsageError(f"template: {key}: should be a text with {CONTENT} in it, not {value!r}.")
    if missing := [key for key in ("user", "assistant") if key not in wanted]:
        raise UsageError(f"template: '{missing[0]}' is required, a text with {CONTENT} in it.")
    eos = getattr(tokenizer, "eos_token", None)
    if eos is None and any("{eos}" in value for value in wanted.values()):
        raise UsageError("template: {eos} stands for the tokenizer's end token, and this one has none.")
    # Replaced here, so that what is saved does not need the tokenizer.
    return Turns(**{key: value.replace("{eos}", eos or "") for key, value in wanted.items()})


def merging(template: ChatTemplate) -> ChatTemplate:
    """Return the template with what the system says put before the first that the user says."""
    return template if isinstance(template, SystemMerged) else SystemMerged(template)


def load_template(state: Mapping[str, str]) -> ChatTemplate:
    """Make a template again from its `state`."""
    if _MERGES in state:
        return SystemMerged(load_template({key: value for key, value in state.items() if key != _MERGES}))
    if "jinja" in state:
        # Special tokens are kept under their own names beside the template.
        specials = {key: value for key, value in state.items() if not key.startswith("jinja")}
        return TokenizerTemplate(state["jinja"], specials, state.get("jinja_with_tools"))
    return Turns(**state)
