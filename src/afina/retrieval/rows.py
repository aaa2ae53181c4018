"""Make rows that teach a writer to read: questions in `rag ask`'s own prompt, with passages that tell and others that do not.

RAFT (Zhang et al., 2024, arXiv:2403.10131): each prompt has distractors, which are what a search finds beside the right
passage (drawn by chance where it finds too few); a share of the prompts lacks the right one; answers quote. Where it is
lacking, RAFT answers all the same, from what the model is to keep in mind. Here that is refused, as the prompt asks for,
unless `lacking` is `answer`.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from pydantic import Field

from afina.checked import Checked
from afina.errors import UsageError
from afina.generation.settings import GenerationSettings
from afina.generation.template import PlainTemplate
from afina.generation.writes import Writes
from afina.retrieval.asking import GivenPassage, QuestionPrompt, build_prompt
from afina.retrieval.citations import cite, nearest_sentence
from afina.retrieval.harmless import harmless, marks_of
from afina.retrieval.index import Hit, Index
from afina.retrieval.questions import DocumentQuestion
from afina.retrieval.telling import hits_of, may_tell, telling_rows
from afina.whole_file import write_text

__all__ = ["ReadingRows", "RowSettings", "reading_rows"]

_AT_ONCE = 64
_SPARE = 10
"""Passages that are searched for beside those of a prompt: some of them may tell the answer too."""
Tell = Callable[[str, int, int | None], None]


class RowSettings(Checked):
    """Says how prompts are mixed."""

    passages: int = Field(default=5, ge=1, le=100)
    """Passages of a prompt, as many of them as fit; as many as are asked with."""
    without: float = Field(default=0.2, ge=0, le=1)
    """Share of the answerable questions whose prompt lacks the passage that tells."""
    lacking: Literal["refuse", "answer"] = "refuse"
    """The answer there: that the documents do not tell, or the answer, as in the paper."""
    quote: bool = True
    """True lets an answer begin with the sentence that tells it, word for word; its number stands there either way."""
    max_new_tokens: int = Field(default=256, ge=1, le=100_000)
    """Tokens that are kept for the answer when passages are fitted, as when it is asked."""
    seed: int = Field(default=0, ge=0)
    """Draws which prompts lack their passage, and the order of passages: by question, whatever others there are."""


@dataclass
class ReadingRows:
    """Holds the rows, and what was made of which questions."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """Chat rows: `messages`, and beside them `kind` (told, without, not_told), `right` (the number of the passage that
    tells, or null), `passages`, `tokens` and the question's `row`."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Number of questions that gave no row, by why."""
    notes: list[str] = field(default_factory=list)

    out: Path | None = None
    """The file that they were written into."""

    @property
    def kinds(self) -> Counter[str]:
        """Return how many rows there are of each kind."""
        return Counter(row["kind"] for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON-able values."""
        return {
            "rows": len(self.rows), "kinds": dict(self.kinds), "dropped": dict(self.dropped), "notes": self.notes,
            "out": None if self.out is None else str(self.out),
        }  # fmt: skip

    def write(self, path: Path) -> None:
        """Write them as .jsonl, whole or not at all."""
        # Whole or not at all: half a file would be trained on without a word.
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows))
        self.out = path


def reading_rows(
    index: Index, questions: Sequence[DocumentQuestion], writer: Writes | None, settings: RowSettings,
    tell: Tell = lambda what, done, total: None,
) -> ReadingRows:  # fmt: skip
    """Return a row for each question, in their order; those that give none are counted by why.

    The prompt is `build_prompt`'s for the `writer` that is to learn; without one, passages are not cut to fit and no
    template's marks are broken in them. Raises `UsageError` where no question gives a row.
    """
    made = ReadingRows()
    if writer is None:
        made.notes.append(
            "no model was named: passages are whole, however long, and marks of no template are broken in them"
        )
    maker = _Maker(index, writer or _AnyReader(), settings, made)
    rights = telling_rows(index, questions)
    # Some at a time: vectors of questions are computed together.
    for start in range(0, len(questions), _AT_ONCE):
        tell("writing rows", start, len(questions))
        some = questions[start : start + _AT_ONCE]
        searched = index.search_several([each.text for each in some], settings.passages + _SPARE)
        for question, right, hits in zip(some, rights[start : start + _AT_ONCE], searched, strict=True):
            maker.add(question, right, hits)
    if not made.rows:
        why = "; ".join(f"{why}: {count:,}" for why, count in made.dropped.most_common())
        raise UsageError(f"No question gives a row ({why}); name the column of passages as the documents have them.")
    # These would have been taught as wrong where they are not.
    if maker.guarded:
        made.notes.append(f"passages that hold the answer's words too, not taken for wrong ones: {maker.guarded:,}")
    return made


class _AnyReader:
    """Stands for a model that is not known yet: everything fits, and nothing is a mark."""

    tokenizer = SimpleNamespace(get_added_vocab=dict, all_special_tokens=[])
    template = PlainTemplate()
    context = 1 << 40

    def request(self, messages: Sequence[dict[str, str]], adapter: Any) -> Any:
        """Return a prompt of so many words for tokens."""
        return SimpleNamespace(prompt=messages[0]["content"].split())

    def longest_prompt(self, request: Any) -> int:
        """Return that any prompt fits."""
        return self.context


class _Maker:
    """Makes rows one by one."""

    def __init__(self, index: Index, writer: Any, settings: RowSettings, made: ReadingRows) -> None:
        self.index, self.writer, self.settings, self.made = index, writer, settings, made
        self.marks = marks_of(writer.tokenizer, writer.template)
        self.room = GenerationSettings(max_new_tokens=settings.max_new_tokens)
        self.guarded = 0

    def add(self, question: DocumentQuestion, right: Sequence[int], hits: Sequence[Hit]) -> None:
        """Add a question's row, or count why there is none."""
        # By question and seed, so that a row is the same whatever other questions there are.
        draw = random.Random(f"{self.settings.seed}:{question.text}")
        # Drawn even where it is not used, so that later draws do not depend on it.
        lacks = draw.random() < self.settings.without
        if question.is_told and not right:
            self.made.dropped["no passage of the index tells the answer"] += 1
            return
        wrong = [hit for hit in hits if hit.row not in right]
        others = [hit for hit in wrong if not (question.is_told and may_tell(question, hit.chunk.text))]
        self.guarded += len(wrong) - len(others)
        others += self._drawn(
            question, {*right, *(hit.row for hit in hits)}, self.settings.passages - len(others), draw
        )
        if not question.is_told or lacks:
            self._without(question, others[: self.settings.passages], draw)
        else:
            self._with(question, hits_of(self.index, right[:1])[0], others[: self.settings.passages - 1], draw)

    def _drawn(self, question: DocumentQuestion, known: set[int], count: int, draw: random.Random) -> list[Hit]:
        """Return passages by chance where a search finds too few: one by words alone finds none that shares no word."""
        rows: list[int] = []
        for _ in range(20 * max(0, count)):  # of a small index nearly all are known
            row = draw.randrange(len(self.index))
            if row not in known and not (question.is_told and may_tell(question, self.index.edition.chunk(row).text)):
                rows.append(row)
                known.add(row)
            if len(rows) == count:
                break
        return hits_of(self.index, rows)

    def _without(self, question: DocumentQuestion, others: list[Hit], draw: random.Random) -> None:
        if not others:
            self.made.dropped["nothing was found that could stand beside the question"] += 1
            return
        draw.shuffle(others)
        prompt = build_prompt(self.writer, question.text, others, self.room)
        answers = question.is_told and self.settings.lacking == "answer"
        text = question.answers[0] if answers else prompt.refusal
        self._enter(question, prompt, text, "without" if question.is_told else "not_told", None)

    def _with(self, question: DocumentQuestion, right: Hit, others: list[Hit], draw: random.Random) -> None:
        # Drawn once for all lengths of the prompt: the right passage is not to drift to the front.
        place = draw.random()
        for prompt in self._fitting(question, right, others, place):
            given = next((each for each in prompt.given if each.hit is right), None)
            sentence = None if given is None else self._sentence(question, given)
            if given is None or sentence is None:
                continue
            quote = sentence if self.settings.quote else ""
            self._enter(question, prompt, cite(question.answers[0], given.number, quote), "told", given.number)
            return
        self.made.dropped["the passage that tells does not fit the model"] += 1

    def _fitting(
        self, question: DocumentQuestion, right: Hit, others: list[Hit], place: float
    ) -> Iterator[QuestionPrompt]:
        """Yield prompts with ever fewer wrong passages, the right one at its place among them."""
        # The right one has to stay: wrong ones are left out first.
        for count in range(len(others), -1, -1):
            hits: list[Hit] = others[:count]
            # The same share of the way, among however many there are.
            hits.insert(int(place * (count + 1)), right)
            yield build_prompt(self.writer, question.text, hits, self.room)

    def _sentence(self, question: DocumentQuestion, given: GivenPassage) -> str | None:
        """Return the sentence that tells, as the prompt has it; None where the passage was cut before its end."""
        terms = self.index.terms
        wanted = set(terms.of(" ".join((question.answers[0], *question.keys))))
        start, stop = nearest_sentence(given.hit.chunk.text, wanted, terms)
        sentence = harmless(given.hit.chunk.text[start:stop], self.marks)
        return sentence if sentence and sentence in given.line else None

    def _enter(
        self, question: DocumentQuestion, prompt: QuestionPrompt, answer: str, kind: str, right: int | None
    ) -> None:
        self.made.rows.append({
            "messages": [*prompt.messages, {"role": "assistant", "content": answer}], "kind": kind, "right": right,
            "passages": len(prompt.given), "tokens": prompt.tokens, "row": question.row,
        })  # fmt: skip
