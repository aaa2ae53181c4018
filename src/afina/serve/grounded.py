"""A conversation about documents: each question is answered from the passages of an index that are found for it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from afina.errors import UsageError
from afina.generation.settings import GenerationSettings
from afina.retrieval.asking import Answer, QuestionPrompt, answered, build_prompt, notes_on, refusal_to
from afina.retrieval.citations import plain_answer
from afina.retrieval.index import FoundPassages, Index
from afina.retrieval.representations.hybrid import fused
from afina.retrieval.threshold import limit_of
from afina.serve.session import Chat

__all__ = ["GroundedChat", "conversation", "found_in_turn"]

_ENOUGH = 2
"""Passages that a question is given before earlier turns are."""


class GroundedChat(Chat):
    """A conversation whose answers cite an index's passages; `answer` is the last one, with what it cites."""

    def __init__(
        self, adapter: Any, index: Index | str | Path, *, system: str | None = None,
        settings: GenerationSettings | None = None, most: int = 5, threshold: float | str | None = "index",
        device: str = "auto",
    ) -> None:  # fmt: skip
        """Let `adapter` answer from at most so many passages; below the threshold the documents are said not to tell.

        An index that is not open yet is opened on a device.

        Raises `UsageError` for what does not write, and a threshold that is none.
        """
        super().__init__(adapter, system=system, settings=settings)
        if most < 1:
            raise UsageError(f"At least one passage is searched for, not {most}.")
        # One that is open already stays the caller's to close.
        self.index, self.most = index if isinstance(index, Index) else Index(index, device=device), most
        self._limit, self._notes = limit_of(self.index, threshold), notes_on(self.index, threshold)
        self._found = FoundPassages([], {})
        self._prompt: QuestionPrompt | None = None

    def ask(self, text: str) -> Iterator[str]:
        """Yield the answer to the user's next message, piece by piece; when it has ended, `answer` has what it cites.

        The history keeps the question and the answer, not the passages: those of a later turn are found for that one.
        """
        self.answer = self._prompt = None
        # The question before, as this one may say "it" of what that named.
        asked = [turn["content"] for turn in self.messages if turn["role"] == "user"]
        self._found = found_in_turn(self.index, text, asked[-1] if asked else None, self.most)
        likeness = self._found.best.get(self._limit.by)
        if not self._found.hits or not self._limit.tells(self._found.best):
            refusal = refusal_to(text, self.index)
            self.messages += [{"role": "user", "content": text}, {"role": "assistant", "content": refusal}]
            self.last, self.left_out = None, 0
            self.answer = Answer(text, refusal, None, tells=False, likeness=likeness, notes=self._notes)
            yield refusal
            return
        pieces = super().ask(text)
        try:
            yield from pieces
        # Also where whoever reads stops early: what was said is then the answer.
        finally:
            pieces.close()  # type: ignore[attr-defined]
            self.answer = self._cited(text, likeness)

    def _cited(self, question: str, likeness: float | None) -> Answer | None:
        """Return what was answered to a question, as far as it was written; None where it could not be asked."""
        if self._prompt is None or not self.messages or self.messages[-1]["role"] != "assistant":
            return None
        finish, words = "stop" if self.last is None else self.last.finish, self.messages[-1]["content"]
        made = answered(question, words, self._prompt, self.index.terms, likeness=likeness, finish=finish)
        return replace(made, notes=self._notes)

    def reset(self) -> None:
        super().reset()
        self.answer = None

    def _fitting(self) -> list[dict[str, str]]:
        """Return the system message, the newest turns and the question with passages, all of which fit with an answer.

        Passages come before earlier turns: turns are left out, the oldest first, until the question has two.
        """
        system = [{"role": "system", "content": self.system}] if self.system else []
        *turns, question = self.messages
        turns = _answered(turns)
        for first in range(0, len(turns) + 1, 2):
            recent = turns[first:]
            try:
                made = build_prompt(
                    self.adapter, question["content"], self._found.hits, self.settings, before=[*system, *recent],
                    requested=lambda said: self.adapter.request(said, self.answering),
                )  # fmt: skip
            except UsageError:
                if not recent:
                    raise
                continue
            # Fewer turns rather than fewer than two passages: without passages nothing can be cited.
            if not recent or len(made.given) >= min(_ENOUGH, len(self._found.hits)):
                break
        self._prompt, self.left_out = made, first
        return made.messages


def conversation(
    adapter: Any, index: Index | str | Path | None, *, system: str | None, settings: GenerationSettings | None, most: int,
    threshold: float | str | None, device: str,
) -> Chat:  # fmt: skip
    """Return a conversation with what writes, about an index's documents where there is one."""
    if index is None:
        return Chat(adapter, system=system, settings=settings)
    return GroundedChat(
        adapter, index, system=system, settings=settings, most=most, threshold=threshold, device=device
    )  # fmt: skip


def found_in_turn(index: Index, question: str, earlier: str | None, most: int) -> FoundPassages:
    """Return the passages for a question of a conversation, searched for alone and together with the one before it.

    "And how long does it last?" is about something that was named a turn ago; the ranks of both searches are added up.
    """
    if earlier is None:
        return index.found([question], most)[0]
    # Alone too, as a new question has nothing to do with the one before.
    alone, together = index.found([question, f"{earlier}\n{question}"], most)
    ranked = [np.array([hit.row for hit in found.hits], dtype=np.int64) for found in (alone, together)]
    hits = {hit.row: hit for found in (together, alone) for hit in found.hits}
    scores, rows = fused(ranked, most)
    chosen = [(score, row) for score, row in zip(scores.tolist(), rows.tolist(), strict=True) if row in hits]
    best = {
        name: max(found.best[name] for found in (alone, together) if name in found.best)
        for name in {**alone.best, **together.best}
    }
    return FoundPassages(
        [replace(hits[row], rank=rank, score=score) for rank, (score, row) in enumerate(chosen, 1)], best
    )


def _answered(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return turns without questions that got no answer, and answers without citations, whose numbers were another turn's."""
    pairs = [turns[place : place + 2] for place in range(0, len(turns), 2)]
    return [
        {**turn, "content": plain_answer(turn["content"]) if turn["role"] == "assistant" else turn["content"]}
        for pair in pairs
        if pair[-1]["content"]
        for turn in pair
    ]
