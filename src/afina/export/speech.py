"""Let what was exported write, choose and be measured as the adapter does, whatever runtime it is in.

All of it asks a `Session`: of what follows tokens, how likely they are, and how texts become tokens where that is the
runtime's own work. No torch model is loaded.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from afina.data.templates.named import SystemMerged
from afina.data.tokens.batching import collate
from afina.data.tokens.tokens import IGNORED, Tokens
from afina.errors import UsageError
from afina.export.manifest import Manifest
from afina.export.runtime import RUNTIMES, Session
from afina.export.writing.names import READS
from afina.generation.asked import AskedModel, Pair
from afina.generation.generate import prompt_tokens
from afina.generation.rows import Piece, Request, Row, WritingPlace, Written
from afina.generation.settings import GenerationSettings
from afina.generation.template import Message, Template, template_of
from afina.generation.writes import Writes
from afina.tasks.base import Task

__all__ = ["ExportSpeaker", "RuntimeWrites", "answer_scores"]

Tick = Callable[[int, int], None]


class RuntimeWrites(Writes):
    """Writes by an export's session, one prompt after another."""

    folder: Path
    manifest: Manifest
    session: Session
    task: Task
    tokenizer: Any

    @property
    def context(self) -> int:
        return int(self.manifest.reading.get("context", self.manifest.max_length))

    @property
    def apart(self) -> bool:
        """Return whether what it writes stands apart from what it reads (an encoder-decoder)."""
        return READS in self.manifest.reading

    @property
    def runs_on(self) -> str:
        runtime = self.manifest.runtime
        return f"{runtime} {RUNTIMES[runtime].version()}"

    @property
    def template(self) -> Template:
        """Return how a conversation becomes a prompt: as the runtime writes it, or as trained, or plainly."""
        written: Any = self.session.template
        if written is None:
            return template_of(self.task, self.tokenizer, merge_system=self.merge_system)
        return SystemMerged(written) if self.merge_system else written

    def notes_for(self, settings: GenerationSettings) -> tuple[str, ...]:
        if not settings.draws or settings.seed is None or not RUNTIMES[self.manifest.runtime].draws:
            return self.notes
        return (
            *self.notes,
            f"{self.manifest.runtime} draws by numbers of its own: a seed gives other texts than elsewhere.",
        )

    def longest_prompt(self, request: Request) -> int:
        return self.context - (0 if self.apart else 1)

    def request(
        self, prompt: str | Sequence[Message], adapter: Any, number: int = 0, *, special: bool = False
    ) -> Request:
        if adapter is not self:
            raise UsageError(f"{self.folder} is an export, which holds its model as it is: no other answers beside it.")
        text, stop, marks = self.worded(prompt)
        special = special or not isinstance(prompt, str)
        tokens = prompt_tokens(self.tokenizer, text, marks=marks, apart=self.apart, special=special)
        return Request(tokens, None, stop, number)

    def write(self, requests: Sequence[Request], settings: GenerationSettings) -> Iterator[Piece]:
        ends = tuple(self.manifest.reading.get("ends", ()))
        places = [
            WritingPlace(self.context, self.longest_prompt(own), self.tokenizer, ends, self.apart) for own in requests
        ]
        for row in [Row(place, own, settings) for place, own in zip(places, requests, strict=True)]:
            yield from self._written(row)

    def _written(self, row: Row) -> Iterator[Piece]:
        with closing(self.session.go_on(row)) as chosen:  # type: ignore[type-var]
            for choice in chosen:
                piece = row.take(choice)
                if piece.text or piece.written is not None:
                    yield piece
                if piece.written is not None:
                    return
        yield row.stop()  # where the runtime itself ended it


def answer_scores(session: Session, tokens: Tokens, pad: int) -> np.ndarray:
    """Return of each row's answers (N, C, 4): mean and sum of log-probabilities, sum of log(1 - p), tokens.

    That is what a head that speaks gives (`backbone.language.answer_scores`).
    """
    scores = []
    for row in range(len(tokens)):
        batch = collate([(tokens, np.array([row]))], pad, most=1)
        assert batch.targets is not None
        pairs = zip(batch.inputs["input_ids"].tolist(), batch.targets.tolist(), strict=True)
        scores.append([_answer(session, ids, targets) for ids, targets in pairs])
    return np.array(scores, dtype=np.float32)


def _answer(session: Session, ids: Sequence[int], targets: Sequence[int]) -> tuple[float, float, float, int]:
    places = [place for place, target in enumerate(targets) if target != IGNORED]
    if not places:
        return -np.inf, -np.inf, 0.0, 0
    first = places[0] + 1
    values, _ = session.said([*ids[:first], *(targets[place] for place in places)], first)
    against = np.log1p(-np.exp(values).clip(max=1 - 1e-6)).sum()
    return float(values.mean()), float(values.sum()), float(against), len(values)


class ExportSpeaker(AskedModel):
    """Is measured as a language model is."""

    def __init__(
        self, writer: RuntimeWrites, *, context: int | None = None, tick: Tick = lambda done, total: None
    ) -> None:
        """Take at most `context` tokens at once (None: all that the export takes), of which `UsageError` is raised."""
        self.writer, self.tick, self.tokenizer = writer, tick, writer.tokenizer
        self.context = context or writer.context
        if not 2 <= self.context <= writer.context:
            raise UsageError(f"The tokens read at once are 2 to {writer.context} here, not {self.context}.")

    @property
    def name(self) -> str:
        return str(self.writer.folder)

    @property
    def reads_apart(self) -> bool:
        return self.writer.apart

    def likelihoods(self, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
        total, greedy_too = np.zeros(len(pairs)), np.ones(len(pairs), dtype=bool)
        for index, (read, answer) in enumerate(pairs):
            if len(answer) > self.context:
                raise UsageError(
                    f"An answer of {len(answer)} tokens is longer than the {self.context} that are read at once."
                )
            tokens = (*read, *answer)[-self.context - 1 :]
            values, likeliest = self.writer.session.said(tokens, len(tokens) - len(answer))
            total[index], greedy_too[index] = values.sum(), likeliest.all()
            self.tick(index + 1, len(pairs))
        return total, greedy_too

    def go_on(self, prompts: Sequence[Sequence[int]], most: Sequence[int], stop: Sequence[str] = ()) -> list[Written]:
        written = []
        for number, (prompt, room) in enumerate(zip(prompts, most, strict=True)):
            settings = GenerationSettings(max_new_tokens=room)
            request = Request(prompt, None, tuple(filter(None, stop)), number)
            written += [own.written for own in self.writer.write([request], settings) if own.written is not None]
            self.tick(number + 1, len(prompts))
        return written
