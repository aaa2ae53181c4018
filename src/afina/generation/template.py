"""Turn conversations into the prompt that a model continues."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from afina.data.dialogues.messages import Message as Turn
from afina.data.dialogues.messages import read_messages
from afina.data.templates.controls import as_said, controls_of
from afina.data.templates.named import make_template, merging
from afina.errors import UsageError, shown
from afina.tasks.base import Task

__all__ = ["Message", "PlainTemplate", "Template", "check_messages", "template_of"]

Message = Mapping[str, Any]
"""`role` (system, user or assistant) and `content`."""


class Template(Protocol):
    """Describes a chat template, of a task or a tokenizer (data/templates/named.py)."""

    @property
    def marks(self) -> bool:
        """Say whether the tokenizer's own marks come before the text."""

    @property
    def stop(self) -> tuple[str, ...]:
        """Return the texts that end an answer."""

    def prompt(self, messages: Sequence[Turn]) -> str:
        """Return the prompt up to where the assistant's next answer begins."""


class PlainTemplate:
    """Writes `User:` and `Assistant:` before each turn, for models that have no chat template of their own."""

    marks = True
    stop = ("\nUser:", "\nAssistant:")

    def prompt(self, messages: Sequence[Turn]) -> str:
        names = {"system": "", "user": "User: ", "assistant": "Assistant: "}
        # A tool's call has a form of its own in each model; a guess would not be understood.
        if any(turn.role not in names or turn.details.get("tool_calls") for turn in messages):
            raise UsageError("The model's tokenizer has no chat template, so that nothing says how tools are written.")
        return "\n".join([*(f"{names[turn.role]}{turn.content.strip()}" for turn in messages), "Assistant:"])


def template_of(task: Task | None, tokenizer: Any, *, merge_system: bool = False) -> Template:
    """Return the template that a task was trained with, else the tokenizer's, else the plain one.

    With `merge_system` the system message becomes the beginning of the first user message.
    """
    if task is not None and task.template is not None:
        return merging(task.template) if merge_system else task.template
    return (
        make_template(None, tokenizer, merge_system=merge_system)
        if getattr(tokenizer, "chat_template", None)
        else PlainTemplate()
    )


def check_messages(messages: Sequence[Message], tokenizer: Any) -> list[Turn]:
    """Return messages as a template takes them, with no control token of the tokenizer in what they say.

    Tool calls and tool results have OpenAI's form.

    Raises `UsageError` for a message without a known role or text, and where the last message asks for no answer.
    """
    for place, message in enumerate(messages, start=1):
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or role not in _ROLES:
            named = "no role" if role is None else f"the role {shown(role)}"
            raise UsageError(f"Message {place} has {named}; roles are system, user, assistant and tool.")
        # An assistant's message may be nothing but calls.
        if not (isinstance(content, str) or (role == "assistant" and content is None and message.get("tool_calls"))):
            what = "no content" if content is None else f"a content that is no text ({shown(content)})"
            raise UsageError(f"Message {place}, the {role}'s, has {what}; give a text.")
    # An answer to an answer is nothing that a model was taught.
    if not messages or messages[-1]["role"] not in ("user", "tool"):
        raise UsageError("The last message should be the user's (or a tool's): it is what gets an answer.")
    reading = read_messages(messages, _ROLES, Counter(), nulls=True)
    if reading.problem:
        raise UsageError(f"{reading.problem[0].upper()}{reading.problem[1:]}.")
    turns = [
        Turn(turn["role"], turn["content"], {key: turn[key] for key in turn if key not in ("role", "content")})
        for turn in reading.messages
    ]
    return as_said(turns, controls_of(tokenizer))


_ROLES = {role: role for role in ("system", "user", "assistant", "tool")}
