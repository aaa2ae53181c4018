"""Say what all that writes can do, an adapter on its base as well as what was exported of one."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from afina.errors import UsageError
from afina.generation.rows import Piece, Request, Written
from afina.generation.settings import GenerationSettings
from afina.generation.template import Message, Template, check_messages
from afina.given_texts import given_texts

__all__ = ["Writes", "writes_of"]


class Writes(ABC):
    """Answers with text."""

    task: Any
    """The task it was trained for."""
    tokenizer: Any
    notes: tuple[str, ...]
    merge_system: bool = False
    """True if the system's words go before the user's first words, for a template without system turns."""

    @property
    @abstractmethod
    def context(self) -> int:
        """Return how many tokens a prompt and its answer may have together."""

    @property
    @abstractmethod
    def runs_on(self) -> str:
        """Return what it runs on, as a person would call it: the base model, or a runtime."""

    def stands_beside(self, other: "Writes") -> bool:
        """Return whether both use one model in memory, so that they may answer by turns, in one form."""
        return self is other

    @property
    @abstractmethod
    def template(self) -> Template:
        """Return how a conversation becomes a prompt."""

    def worded(self, prompt: str | Sequence[Message]) -> tuple[str, tuple[str, ...], bool]:
        """Return a prompt as text, the texts that end its answer, and whether the tokenizer's start marks go before it."""
        template: Template | None = self.task.template
        if not isinstance(prompt, str):
            turns, template = check_messages(prompt, self.tokenizer), self.template
            prompt = template.prompt(turns)
        return (prompt, (), True) if template is None else (prompt, template.stop, template.marks)

    def notes_for(self, settings: GenerationSettings) -> tuple[str, ...]:
        """Return what a reader of what it writes by these settings has to know."""
        return self.notes

    @abstractmethod
    def request(
        self, prompt: str | Sequence[Message], adapter: Any, number: int = 0, *, special: bool = False
    ) -> Request:
        """Return what `write` takes for a prompt and who is to answer it, None for the bare model.

        In a text the names of control tokens are text like any, unless `special`; in a conversation they always are.
        Raises `UsageError` for who cannot, and for messages that are none.
        """

    @abstractmethod
    def longest_prompt(self, request: Request) -> int:
        """Return the most tokens that a request's prompt may have."""

    @abstractmethod
    def write(self, requests: Sequence[Request], settings: GenerationSettings) -> Iterator[Piece]:
        """Continue all prompts, and yield pieces of text as they come."""

    def generate(
        self,
        prompts: Sequence[str | Sequence[Message]],
        settings: GenerationSettings | None = None,
        *,
        adapters: Sequence[Any] | None = None,
        batch_size: int = 16,
        special: bool = False,
        **changes: Any,
    ) -> list[Written]:
        """Write what follows each prompt, in their order; `adapters` gives each its own (None: the bare model).

        With `special` the names of control tokens in prompts that are texts are those tokens.
        """
        settings = (settings or GenerationSettings()).changed(**changes)
        prompts = given_texts(prompts, "prompt", caller="generate", lists=True)
        each = [self] * len(prompts) if adapters is None else list(adapters)
        if len(each) != len(prompts):
            raise UsageError(f"There are {len(each)} adapters for {len(prompts)} prompts; give one for each.")
        asked = enumerate(zip(prompts, each, strict=True))
        requests = [self.request(prompt, who, number, special=special) for number, (prompt, who) in asked]
        written: dict[int, Written] = {}
        requests.sort(key=lambda request: len(request.prompt))  # rows of like length together
        for start in range(0, len(requests), batch_size):
            for piece in self.write(requests[start : start + batch_size], settings):
                if piece.written is not None:
                    written[piece.number] = piece.written
        return [written[number] for number in range(len(prompts))]

    def stream(
        self,
        prompt: str | Sequence[Message],
        settings: GenerationSettings | None = None,
        *,
        special: bool = False,
        **changes: Any,
    ) -> Iterator[str]:
        """Yield the text that follows a prompt, in pieces of whole characters as they come; `special` as in `generate`."""
        settings = (settings or GenerationSettings()).changed(**changes)
        # Now, not with the first piece: what is wrong with it is said here.
        request = self.request(prompt, self, special=special)
        return (piece.text for piece in self.write([request], settings))


def writes_of(adapter: Any) -> Writes:
    """Return what writes as what it is; raises `UsageError`, with what it is for, where it does not."""
    if not isinstance(adapter, Writes):
        raise adapter.writes_not()
    return adapter
