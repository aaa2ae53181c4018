"""Chat templates: how a conversation is written out as one text, and which of it the model is to say.

A model says what stands between an assistant's mark and the end of its turn, the end included, so that it learns to stop.
A space before its first word is its own, as tokenizers see it; blanks behind the end are nobody's.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from afina.errors import UsageError, nearest

__all__ = ["TEMPLATES", "ChatTemplate", "Message", "load_template", "make_template"]

_CONTENT = "{content}"
_PROBE = "\u2063afina\u2063"


class Message(NamedTuple):
    """One turn; `role` is system, user or assistant."""

    role: str
    content: str


Piece = tuple[str, bool]
"""A part of a text, and whether it is trained."""


class ChatTemplate(ABC):
    """How conversations are written out."""

    marks: bool
    """Whether the tokenizer's own marks, such as a start token, come before the text."""

    @property
    @abstractmethod
    def stop(self) -> tuple[str, ...]:
        """The strings at which an answer ends."""

    @abstractmethod
    def render(self, messages: Sequence[Message]) -> list[Piece]:
        """Return the whole conversation in pieces; raises `UsageError` for one that cannot be written so."""

    @abstractmethod
    def prompt(self, messages: Sequence[Message]) -> str:
        """Return the text up to where the assistant writes, after messages of which the last is not the assistant's."""

    @abstractmethod
    def state(self) -> dict[str, str]:
        """JSON-able description from which `load_template` makes the template again."""


@dataclass(frozen=True)
class Turns(ChatTemplate):
    """A format for each role, with {content} in it; what the assistant's has behind it ends the turn."""

    user: str
    assistant: str
    system: str = f"{_CONTENT}\n\n"
    default: str = ""
    """What the system says where a conversation does not."""
    marks = True

    def __post_init__(self) -> None:
        for role, format in (("user", self.user), ("assistant", self.assistant), ("system", self.system)):
            if format.count(_CONTENT) != 1:
                raise UsageError(f"template: {role}: {format!r} should hold {_CONTENT} once.")
        if not self._end.strip():
            raise UsageError(
                f"template: assistant: {self.assistant!r} has nothing behind {_CONTENT}, so that the model could not "
                "learn to stop; put an end there, such as {eos}."
            )

    @property
    def _begin(self) -> str:
        return self.assistant.partition(_CONTENT)[0]

    @property
    def _end(self) -> str:
        return self.assistant.partition(_CONTENT)[2]

    @property
    def stop(self) -> tuple[str, ...]:
        return (self._end.strip(),)

    def render(self, messages: Sequence[Message]) -> list[Piece]:
        return _joined([piece for message in self._whole(messages) for piece in self._turn(message)])

    def prompt(self, messages: Sequence[Message]) -> str:
        before = [piece for message in self._whole(messages) for piece in self._turn(message)]
        return "".join(text for text, _ in before) + self._begin.rstrip(" ")

    def _whole(self, messages: Sequence[Message]) -> list[Message]:
        given = bool(messages) and messages[0].role == "system"
        return list(messages) if given or not self.default else [Message("system", self.default), *messages]

    def _turn(self, message: Message) -> list[Piece]:
        if message.role != "assistant":
            return [(getattr(self, message.role).replace(_CONTENT, message.content), False)]
        begin = self._begin.rstrip(" ")
        end = self._end.rstrip()
        said = self._begin[len(begin) :] + message.content + end
        return [(begin, False), (said, True), (self._end[len(end) :], False)]

    def state(self) -> dict[str, str]:
        return {"system": self.system, "user": self.user, "assistant": self.assistant, "default": self.default}


class Written(ChatTemplate):
    """The template that a tokenizer brings, in transformers' Jinja."""

    marks = False

    def __init__(self, source: str, specials: Mapping[str, str]) -> None:
        """`specials` are the special tokens that the template may name; raises `UsageError` for one without an end."""
        self.source, self.specials = source, dict(specials)
        asked = Message("user", "?")
        behind = self._text([asked, Message("assistant", _PROBE)]).partition(_PROBE)[2]
        if not behind.strip():
            raise UsageError(
                "The tokenizer's chat template writes nothing behind an answer, so that the model could not learn to stop; "
                f"set template: to one of {', '.join(TEMPLATES)}, or to one of your own."
            )
        self._end = behind.rstrip()

    @property
    def stop(self) -> tuple[str, ...]:
        return (self._end.strip(),)

    def render(self, messages: Sequence[Message]) -> list[Piece]:
        whole = self._text(messages)
        pieces: list[Piece] = []
        place = 0
        for index, message in enumerate(messages):
            if message.role != "assistant":
                continue
            before = self.prompt(messages[:index])
            start, end = len(before), -1
            for said in (message.content, message.content.strip()):
                if end < 0 and (found := whole.find(said + self._end, start)) >= 0:
                    end = found + len(said + self._end)
            if not whole.startswith(before) or end < 0:
                raise UsageError(
                    "the tokenizer's chat template writes an answer otherwise than it prompts for it, so that what is to "
                    "be trained cannot be found; set template: to another."
                )
            pieces += [(whole[place:start], False), (whole[start:end], True)]
            place = end
        return _joined([*pieces, (whole[place:], False)])

    def prompt(self, messages: Sequence[Message]) -> str:
        return self._text(messages, add_generation_prompt=True).rstrip(" ")

    def _text(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        given = [message._asdict() for message in messages]
        try:
            rendered, _ = render_jinja_template(
                [given], chat_template=self.source, add_generation_prompt=add_generation_prompt, **self.specials
            )
        except TemplateError as error:
            raise UsageError(f"the tokenizer's chat template refuses the conversation: {error}") from None
        return str(rendered[0])

    def state(self) -> dict[str, str]:
        return {"jinja": self.source, **self.specials}


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Put neighbours of a kind together."""
    result: list[Piece] = []
    for text, trained in pieces:
        if result and result[-1][1] == trained:
            result[-1] = (result[-1][0] + text, trained)
        elif text:
            result.append((text, trained))
    return result


def _llama(role: str) -> str:
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n{_CONTENT}<|eot_id|>"


TEMPLATES: dict[str, dict[str, str]] = {
    "chatml": {role: f"<|im_start|>{role}\n{_CONTENT}<|im_end|>\n" for role in ("system", "user", "assistant")},
    "llama": {role: _llama(role) for role in ("system", "user", "assistant")},
    "alpaca": {
        "default": "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.",
        "user": f"### Instruction:\n{_CONTENT}\n\n",
        "assistant": f"### Response:\n{_CONTENT}{{eos}}\n\n",
    },
    "plain": {"user": f"User: {_CONTENT}\n", "assistant": f"Assistant: {_CONTENT}{{eos}}\n"},
}
"""Templates by name (`llama` is Llama 3's); {eos} is the tokenizer's end token."""


def make_template(wanted: str | Mapping[str, str] | None, tokenizer: Any) -> ChatTemplate:
    """Return the template of this name, of these formats by role, or for None the tokenizer's own.

    Raises `UsageError` for a name or key that there is not, and where the tokenizer has none.
    """
    if wanted is None:
        source = getattr(tokenizer, "chat_template", None)
        if isinstance(source, Mapping):
            source = source.get("default")
        if not source:
            raise UsageError(
                "The model's tokenizer has no chat template; set template: to one of "
                f"{', '.join(TEMPLATES)}, or to formats of your own (user: and assistant:, with {_CONTENT} in them)."
            )
        return Written(source, {key: str(value) for key, value in tokenizer.special_tokens_map.items() if value})
    if isinstance(wanted, str):
        if wanted not in TEMPLATES:
            raise UsageError(f"template: there is none called '{wanted}'{nearest(wanted, TEMPLATES)}")
        wanted = TEMPLATES[wanted]
    known = ("user", "assistant", "system", "default")
    for key, value in wanted.items():
        if key not in known:
            raise UsageError(f"template: unknown key '{key}'{nearest(key, known)}")
        if not isinstance(value, str):
            raise UsageError(f"template: {key}: should be a text with {_CONTENT} in it, not {value!r}.")
    if missing := [key for key in ("user", "assistant") if key not in wanted]:
        raise UsageError(f"template: '{missing[0]}' is required, a text with {_CONTENT} in it.")
    eos = getattr(tokenizer, "eos_token", None)
    if eos is None and any("{eos}" in value for value in wanted.values()):
        raise UsageError("template: {eos} stands for the tokenizer's end token, and this one has none.")
    return Turns(**{key: value.replace("{eos}", eos or "") for key, value in wanted.items()})


def load_template(state: Mapping[str, str]) -> ChatTemplate:
    """Make a template again from its `state`."""
    if "jinja" in state:
        return Written(state["jinja"], {key: value for key, value in state.items() if key != "jinja"})
    return Turns(**state)
