"""Conversations as the one text that a model goes on from."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from afina.data.templates import Message as Turn
from afina.data.templates import make_template, merging
from afina.errors import UsageError

__all__ = ["Message", "PlainTemplate", "Template", "check_messages", "template_of"]

Message = Mapping[str, str]
"""`role` (system, user or assistant) and `content`."""


class Template(Protocol):
    """What a task or a tokenizer brings (data/templates.py)."""

    @property
    def marks(self) -> bool:
        """Whether the tokenizer's own marks come before the text."""

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that end an answer."""

    def prompt(self, messages: Sequence[Turn]) -> str:
        """Return the text that the assistant's next answer follows."""


class PlainTemplate:
    """`User:` and `Assistant:` before each turn, for models that were taught no form and know none of their own."""

    marks = True
    stop = ("\nUser:", "\nAssistant:")

    def prompt(self, messages: Sequence[Turn]) -> str:
        names = {"system": "", "user": "User: ", "assistant": "Assistant: "}
        return "\n".join([*(f"{names[turn.role]}{turn.content.strip()}" for turn in messages), "Assistant:"])


def template_of(task: Any, tokenizer: Any, *, merge_system: bool = False) -> Template:
    """Return the template that a task was trained with, else the tokenizer's, else the plain one.

    With `merge_system` it is given what the system says as part of the user's first words.
    """
    own: Any = getattr(task, "template", None)
    if own is not None:
        found: Template = merging(own) if merge_system else own
        return found
    return (
        make_template(None, tokenizer, merge_system=merge_system)
        if getattr(tokenizer, "chat_template", None)
        else PlainTemplate()
    )


def check_messages(messages: Sequence[Message]) -> list[Turn]:
    """Return messages as a template takes them.

    Raises `UsageError` for messages without a known role or text, or that leave nothing to answer.
    """
    for place, message in enumerate(messages, start=1):
        role, content = message.get("role"), message.get("content")
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise UsageError(
                f"Message {place} should have a role (system, user or assistant) and a content, not {dict(message)}."
            )
    if not messages or messages[-1]["role"] != "user":
        raise UsageError("The last message should be the user's: it is what gets an answer.")
    return [Turn(message["role"], message["content"]) for message in messages]
