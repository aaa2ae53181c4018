"""Conversations as the one text that a model goes on from."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from afina.errors import UsageError

__all__ = ["Message", "PlainTemplate", "Template", "TokenizerTemplate", "check_messages", "template_of"]

Message = Mapping[str, str]
"""`role` (system, user or assistant) and `content`."""


class Template(Protocol):
    """What a task or a tokenizer brings."""

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that end an answer."""

    def prompt(self, messages: Sequence[Message]) -> str:
        """Return the text that the assistant's next answer follows."""


class PlainTemplate:
    """`User:` and `Assistant:` before each turn, for models that know no form of their own."""

    stop = ("\nUser:", "\nAssistant:")

    def prompt(self, messages: Sequence[Message]) -> str:
        names = {"system": "", "user": "User: ", "assistant": "Assistant: "}
        return "\n".join([*(f"{names[m['role']]}{m['content'].strip()}" for m in messages), "Assistant:"])


class TokenizerTemplate:
    """The chat template that a tokenizer carries; what ends a turn there is a token that the model knows to end with."""

    stop: tuple[str, ...] = ()

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def prompt(self, messages: Sequence[Message]) -> str:
        from jinja2 import TemplateError

        turns = [dict(message) for message in messages]
        try:
            text: str = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise UsageError(f"The tokenizer's chat template does not take these messages: {error}.") from None
        return text


def template_of(task: Any, tokenizer: Any) -> Template:
    """Return the template that a task was trained with, else the tokenizer's, else the plain one."""
    own: Template | None = getattr(task, "template", None)
    if own is not None:
        return own
    return TokenizerTemplate(tokenizer) if getattr(tokenizer, "chat_template", None) else PlainTemplate()


def check_messages(messages: Sequence[Message]) -> None:
    """Raise `UsageError` for messages without a known role or text, or that leave nothing to answer."""
    for place, message in enumerate(messages, start=1):
        role, content = message.get("role"), message.get("content")
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise UsageError(
                f"Message {place} should have a role (system, user or assistant) and a content, not {dict(message)}."
            )
    if not messages or messages[-1]["role"] != "user":
        raise UsageError("The last message should be the user's: it is what gets an answer.")
