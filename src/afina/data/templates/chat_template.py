"""Define a chat template: how a conversation is written out as one text, and which of it the model is to say.

A model says what stands between an assistant's mark and the end of its turn, the end included, so that it learns to stop.
A space before its first word is its own, as tokenizers see it; blanks behind the end are nobody's.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from afina.data.dialogues.messages import Message

__all__ = ["CONTENT", "TEMPLATES", "TOOLS_OTHERWISE", "TOOLS_UNASKED", "ChatTemplate", "Piece", "joined"]

CONTENT = "{content}"
TOOLS_OTHERWISE = (
    "take a model whose own template does (and leave template: out), or leave such conversations out of the data."
)
TOOLS_UNASKED = "leave calls of tools and what they gave out of the conversation."
"""The advice to who asks, and does not train."""

Piece = tuple[str, bool]
"""A part of a text, and whether it is trained."""


class ChatTemplate(ABC):
    """Writes conversations out."""

    marks: bool
    """True where the tokenizer's own marks, such as a start token, come before the text."""

    @property
    @abstractmethod
    def stop(self) -> tuple[str, ...]:
        """Return the strings at which an answer ends."""

    @abstractmethod
    def render(self, messages: Sequence[Message]) -> list[Piece]:
        """Return the whole conversation in pieces; raises `UsageError` for one that cannot be written so."""

    @abstractmethod
    def prompt(self, messages: Sequence[Message]) -> str:
        """Return the text up to where the assistant writes, after messages of which the last is not the assistant's."""

    @abstractmethod
    def state(self) -> dict[str, str]:
        """Return a JSON-able description from which `load_template` makes the template again."""


def joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Put neighbours of a kind together."""
    result: list[Piece] = []
    for text, trained in pieces:
        if result and result[-1][1] == trained:
            result[-1] = (result[-1][0] + text, trained)
        # Empty pieces would part neighbours of one kind.
        elif text:
            result.append((text, trained))
    return result


def _llama(role: str) -> str:
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n{CONTENT}<|eot_id|>"


TEMPLATES: dict[str, dict[str, str]] = {
    "chatml": {role: f"<|im_start|>{role}\n{CONTENT}<|im_end|>\n" for role in ("system", "user", "assistant")},
    "llama": {role: _llama(role) for role in ("system", "user", "assistant")},
    "alpaca": {
        "default": "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.",
        "user": f"### Instruction:\n{CONTENT}\n\n",
        "assistant": f"### Response:\n{CONTENT}{{eos}}\n\n",
    },
    "plain": {"user": f"User: {CONTENT}\n", "assistant": f"Assistant: {CONTENT}{{eos}}\n"},
}
"""Templates by name (`llama` is Llama 3's), as formats by role; {eos} is the tokenizer's end token."""
