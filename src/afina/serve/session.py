"""A conversation: what was said, which adapter answers, and what of it all still fits the model's context."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from afina.errors import UsageError
from afina.generation.rows import Written
from afina.generation.settings import GenerationSettings
from afina.generation.writes import Writes, writes_of
from afina.retrieval.asking import Answer
from afina.whole_file import whole_file

__all__ = ["Chat", "TooLong"]


class TooLong(UsageError):
    """A message that does not fit the model's context even alone."""

    def __init__(self, tokens: int, most: int) -> None:
        super().__init__(f"With this message the prompt has {tokens} tokens and the model takes {most}; shorten it.")
        self.tokens, self.most = tokens, most


class Chat:
    """A conversation with a model; `messages` is its history, which nothing shortens."""

    def __init__(self, adapter: Any, *, system: str | None = None, settings: GenerationSettings | None = None) -> None:
        """Let `adapter`, or what was exported of one, answer first; the conversation takes its form.

        What `system` says stands before all. Raises `UsageError` for what does not write.
        """
        self.adapter = writes_of(adapter)
        self.answering: Writes | None = adapter
        """The adapter that answers, which may change between questions; None for the bare model, in the form of
        `adapter`."""
        self.system, self.settings = system, settings or GenerationSettings()
        self.messages: list[dict[str, str]] = []
        self.left_out = 0
        """Messages of the last prompt that no longer fitted, the oldest ones."""
        self.last: Written | None = None
        """The last answer, None if it was broken off."""
        self.answer: Answer | None = None
        """The last answer with what it cites, in a conversation about documents."""

    def ask(self, text: str) -> Iterator[str]:
        """Yield the answer to the user's next message, piece by piece.

        What was said by then stays in the history when the iterator is closed or interrupted. Raises `TooLong` (and takes
        the message back) for one that leaves no room.
        """
        self.messages.append({"role": "user", "content": text})
        try:
            request = self.adapter.request(self._fitting(), self.answering)
            if (tokens := len(request.prompt)) > (most := self.adapter.longest_prompt(request)):
                raise TooLong(tokens, most)
        except UsageError:
            self.messages.pop()
            raise
        answer, self.last = "", None
        pieces = self.adapter.write([request], self.settings)
        try:
            for piece in pieces:
                fresh = piece.text if answer else piece.text.lstrip()
                answer += fresh
                self.last = piece.written
                if fresh:
                    yield fresh
        finally:
            pieces.close()  # type: ignore[attr-defined]
            self.messages.append({"role": "assistant", "content": answer.rstrip()})

    def let(self, other: Any) -> None:
        """Let another answer from now on: beside the first on its base, or in its stead where it is a model of its own.

        Raises `UsageError` for what does not write.
        """
        other = writes_of(other)
        other.merge_system = self.adapter.merge_system
        if self.adapter.stands_beside(other):
            self.adapter.request("?", other)  # whether it can
            self.answering = other
        else:
            self.adapter = self.answering = other

    def reset(self) -> None:
        """Begin anew; what stands before the conversation stays."""
        self.messages.clear()
        self.left_out = 0

    def save(self, path: Path) -> None:
        """Add the conversation to a .jsonl file, as one line {"messages": [...]} that `task: chat` can be trained on.

        All lines that are there stay as they are, but for a last one that this conversation goes on from: it takes that
        line's place. Raises `UsageError` for a file that holds anything but conversations, or with nothing to save.
        """
        if not self.messages:
            raise UsageError("There is nothing to save yet.")
        system = [{"role": "system", "content": self.system}] if self.system else []
        whole = [*system, *self.messages]

        # A conversation that goes on from the last saved line takes its place: saving twice leaves one line, not two.
        saved = _conversations(path) if path.exists() else []
        if saved and (last := json.loads(saved[-1])).keys() == {"messages"} and _begins(last["messages"], whole):
            saved.pop()
        line = json.dumps({"messages": whole}, ensure_ascii=False).encode("utf-8", "replace")
        with whole_file(path, make_folder=False) as partial:
            partial.write_bytes(b"".join(each + b"\n" for each in (*saved, line)))

    def _fitting(self) -> list[dict[str, str]]:
        """Return the system message and the newest turns that fit with room for an answer, always the last question."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        turns = list(self.messages)

        # A question that got no answer is no part of the form that models know.
        for index in range(len(turns) - 2, -1, -2):
            if not turns[index]["content"]:
                del turns[index - 1 : index + 1]
        whole = len(turns)

        # A quarter of the context at most is kept free, or long answers would leave no history.
        room = min(self.settings.max_new_tokens, self.adapter.context // 4)
        while len(turns) > 1:
            request = self.adapter.request([*system, *turns], self.answering)
            if len(request.prompt) + room <= self.adapter.longest_prompt(request) + 1:
                break

            # A question goes with its answer.
            del turns[:2]
        self.left_out = whole - len(turns)
        return [*system, *turns]


def _conversations(path: Path) -> list[bytes]:
    """Return a file's lines as they stand; raises `UsageError` unless each is a conversation."""
    # Of bytes, as a message may hold signs that Python takes for the end of a line and JSON does not.
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n") if path.stat().st_size else []
    for number, line in enumerate(lines, start=1):
        try:
            is_one = isinstance(json.loads(line)["messages"], list)
        except (ValueError, KeyError, TypeError, RecursionError):
            is_one = False
        if not is_one:
            raise UsageError(
                f"{path} holds something else than conversations (line {number}); choose another name."
            ) from None
    return lines


def _begins(earlier: list[dict[str, str]], whole: list[dict[str, str]]) -> bool:
    return 0 < len(earlier) <= len(whole) and earlier == whole[: len(earlier)]
