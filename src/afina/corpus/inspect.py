"""Look at a file of dialogues or texts: lengths, duplicates, empty sides, labels, languages, personal data."""

import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from afina.corpus.balance import AxisBalance, Balance, LabelRows
from afina.corpus.label_noise import LabelNoise, LabelNoiseSearch
from afina.corpus.languages import language_of
from afina.corpus.leaks import Leaks, TrainMarks
from afina.corpus.lines import SourceFile
from afina.corpus.near_duplicates import PERMUTATIONS, digest, first_of_each, signature
from afina.corpus.personal import KINDS, find_personal
from afina.corpus.reading import Reading
from afina.corpus.stream import read_rows
from afina.corpus.tagged import read_inspected
from afina.data.dialogues.conversations import Interaction
from afina.data.dialogues.interaction import beginning_of
from afina.data.labels.label_texts import visible
from afina.errors import UsageError, nearest

__all__ = ["Inspection", "Lengths", "inspect_file"]

_EXAMPLES = 5
_SHOWN = 160
_MOST_LABELS = 200
_WITHOUT = {"text": "no text", "question": "no question", "answer": "no answer"}


@dataclass(frozen=True)
class Lengths:
    """Says how long something is over the rows, in words or tokens."""

    mean: float
    median: float
    p95: float
    longest: int
    total: int
    counts: list[int]
    """Rows by length, in twelve steps that each end at one of `ends`."""
    ends: list[int]

    @classmethod
    def of(cls, lengths: np.ndarray) -> "Lengths":
        """Sum lengths (N,) up."""
        # Up to the length that one row in a hundred exceeds, or one long row would put all others into the first step.
        longest, top = int(lengths.max()), max(12, int(np.quantile(lengths, 0.99)))
        edges = np.unique(np.linspace(0, top, 13).round().astype(int))
        # The last step takes the longest rows in.
        edges[-1] = max(top, longest)
        counts, _ = np.histogram(lengths, bins=edges)
        return cls(
            float(lengths.mean()), float(np.median(lengths)), float(np.quantile(lengths, 0.95)), longest, int(lengths.sum()),
            counts.tolist(), edges[1:].tolist(),
        )  # fmt: skip


@dataclass(frozen=True)
class Inspection:
    """Holds what a file's rows are like."""

    path: str
    rows: int
    unreadable: int
    dialogues: int
    """Rows that are dialogues; the others are texts."""
    turns: float | None
    """Mean messages a dialogue."""
    unit: str
    """`words`, or `tokens of NAME`."""
    lengths: dict[str, Lengths]
    """Lengths in `unit` of the whole row, and for dialogues also of the question's and the answer's side."""
    duplicates: int
    near_duplicates: int
    """Rows that are similar to an earlier one and not its duplicate."""
    similarity: float
    empty: dict[str, int]
    several: int
    """Rows that hold more than one dialogue."""
    generated: int
    labels: dict[str, int]
    """Rows by label, the most frequent first; none where there are more than 200."""
    tags: dict[str, int]
    """Words by tag, in a file of tagged words, whose rows are its sentences."""
    languages: dict[str, int]
    personal: dict[str, int]
    """Occurrences by kind."""
    personal_rows: int
    forms: dict[str, int]
    problems: dict[str, int]
    seen: dict[str, int]
    examples: dict[str, list[list[str]]]
    """A few rows for each finding, by its name: [place, text]."""
    by_label: dict[str, LabelRows]
    """Rows, mean length in `unit` and languages of each label; none where there are none, one, or more than 50."""
    groups: list[AxisBalance]
    """Labels by groups of people, of columns or found by words, likewise."""
    noise: LabelNoise | None = None
    """Labels that are doubted; None where there is nothing to doubt them by."""
    leaks: Leaks | None = None
    """Rows of the test file that stand among these rows; None without one."""

    def as_dict(self) -> dict[str, Any]:
        return {
            **vars(self), "lengths": {name: vars(value) for name, value in self.lengths.items()},
            "by_label": {label: vars(rows) for label, rows in self.by_label.items()},
            "groups": [axis.as_dict() for axis in self.groups],
            "noise": self.noise and self.noise.as_dict(), "leaks": self.leaks and self.leaks.as_dict(),
        }  # fmt: skip


class _Tally:
    """Counts rows as they pass by: a few bytes a row, and a few examples."""

    def __init__(self, count: Callable[[str], int], balance: Balance) -> None:
        self.count, self.balance = count, balance
        # Four bytes a row for lengths and eight for what tells rows apart: a file of any size is read with little
        # memory.
        self.whole, self.question, self.answer, self.digests = array("I"), array("I"), array("I"), array("Q")
        self.forms, self.problems, self.labels, self.tags, self.languages, self.personal, self.empty = (
            Counter[str]() for _ in range(7)
        )
        self.dialogues = self.turns = self.several = self.generated = self.personal_rows = self.retouched = 0
        self.examples: dict[str, list[list[str]]] = {}
        self.noise = LabelNoiseSearch()
        # The columns that some row's label, or its text, was read from.
        self.label_from, self.read = set[str](), set[str]()

    def example(self, kind: str, place: str, text: str) -> None:
        examples = self.examples.setdefault(kind, [])
        if len(examples) < _EXAMPLES:
            # Enough to recognise a row by; the page is no copy of the file.
            examples.append([place, text if len(text) <= _SHOWN else text[:_SHOWN] + "..."])

    def add(self, row: Interaction) -> str | None:
        """Take a row; returns its text, or None for one that cannot be read."""
        self.forms[row.form] += 1
        if row.problem:
            self.problems[row.problem] += 1
            self.example("unreadable", row.place, row.text or "")
            return None
        self.read |= row.read
        text, language = row.all_text, language_of(row.all_text)
        self.whole.append(self.count(text))
        self.digests.append(digest(text))
        self.generated += row.generated
        self.languages[language] += 1
        self.tags.update(row.tags)
        if personal := find_personal(text):
            self.personal += personal
            self.personal_rows += 1
            self.example("personal data", row.place, text)
        if row.label is not None:
            self.label_from.add(str(row.label_from))
            label = visible(row.label)
            self.labels[label or "(none)"] += 1
            if label is not None:
                self.balance.add(text, label, self.whole[-1], language, row.extra)
                self.noise.add(text, label, row.place)
            # A label that is written with invisible signs is learned without them, which is said.
            self.retouched += label is not None and label != row.label
        if row.messages:
            self._dialogue(row)
        elif not text.strip():
            self._is_empty(row, "text")
        return text

    def few_labels(self) -> dict[str, int]:
        """Return rows by label; nothing where that many labels are a column of something else."""
        return {} if len(self.labels) > _MOST_LABELS else dict(self.labels.most_common())

    def by_group(self) -> list[AxisBalance]:
        """Return how labels are shared out; raises `UsageError` for a column of groups that says something else already."""
        for column in self.balance.columns:
            if column in self.label_from | self.read:
                what = "labels are" if column in self.label_from else "texts are"
                raise UsageError(
                    f"The column '{column}' is the one that {what} read from; name another for the groups."
                )
        return self.balance.by_group()

    def _dialogue(self, row: Interaction) -> None:
        self.dialogues += 1
        self.turns += len(row.messages)
        if row.others:
            self.several += 1
            self.example("several dialogues", row.place, row.all_text)
        for side, role, lengths in (("question", "user", self.question), ("answer", "assistant", self.answer)):
            text = "\n".join(message["content"] for message in row.messages if message["role"] == role)
            lengths.append(self.count(text))
            if not text.strip():
                self._is_empty(row, side)

    def _is_empty(self, row: Interaction, side: str) -> None:
        self.empty[side] += 1
        self.example(_WITHOUT[side], row.place, row.all_text)


def inspect_file(
    path: str | Path,
    *,
    how: Reading | None = None,
    tokens: Callable[[str], int] | None = None,
    tokenizer: str | None = None,
    similarity: float = 0.8,
    test: str | Path | None = None,
    balance: Balance | None = None,
    tick: Callable[[int], None] | None = None,
) -> Inspection:
    """Read a file of any size and form once and say what it holds.

    `how` says how it is read; `tokens` counts a text's tokens, by the tokenizer called `tokenizer`, and words are counted
    without it. Rows of a file `test`, read likewise, are looked for among the file's. Labels are counted by
    the groups of `balance`. Raises `UsageError` where either file holds no row, and for a column that is no grouping.
    """
    path, balance = Path(path), balance or Balance()
    source = SourceFile(path)
    _check_columns(path, balance.columns)
    tally = _Tally(tokens or (lambda text: len(text.split())), balance)
    # The test rows first: what is wrong with their file is said before a large one is read.
    tested = None if test is None else _Tested(Path(test), how)
    rows = 0
    with tempfile.TemporaryFile() as marks:
        for rows, row in enumerate(read_inspected(source, how), start=1):
            text = tally.add(row)
            if text is not None:
                marks.write((made := signature(text)).tobytes())
                if tested is not None:
                    tested.pass_by(text, made, row.place)
            if tick is not None and rows % 200 == 0:
                tick(rows)
        if not tally.digests:
            problem = next(iter(tally.problems), "it holds none")
            raise UsageError(f"{path}: none of its {rows:,} rows can be read ({problem}).")
        marks.flush()
        first = first_of_each(np.memmap(marks, dtype=np.uint16, mode="r").reshape(-1, PERMUTATIONS), similarity)
    digests = np.frombuffer(tally.digests, dtype=np.uint64)
    lengths = {"row": tally.whole} | ({"question": tally.question, "answer": tally.answer} if tally.dialogues else {})
    duplicates = len(digests) - len(np.unique(digests))
    later = first != np.arange(len(first))
    if tally.retouched:
        source.seen["labels with spaces or invisible characters, counted (and learned) without"] += tally.retouched
    return Inspection(
        path=str(path), rows=rows, unreadable=rows - len(digests), dialogues=tally.dialogues,
        turns=tally.turns / tally.dialogues if tally.dialogues else None,
        unit=f"tokens of {tokenizer}" if tokens is not None else "words",
        lengths={name: Lengths.of(np.frombuffer(values, dtype=np.uint32)) for name, values in lengths.items()},
        # Near, and not equal: duplicates are counted by themselves.
        duplicates=duplicates, near_duplicates=int((later & (digests != digests[first])).sum()), similarity=similarity,
        empty=dict(tally.empty), several=tally.several, generated=tally.generated,
        labels=tally.few_labels(), tags=dict(tally.tags.most_common()), languages=dict(tally.languages.most_common()),
        personal={kind: tally.personal[kind] for kind in KINDS if tally.personal[kind]}, personal_rows=tally.personal_rows,
        forms=dict(tally.forms), problems=dict(tally.problems.most_common()), seen=dict(source.seen), examples=tally.examples,
        by_label=tally.balance.by_label(), groups=tally.by_group(), noise=tally.noise.found(),
        leaks=None if tested is None else tested.found(similarity),
    )  # fmt: skip


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    """Raise `UsageError` for a column that the first rows lack, before a large file is read."""
    there = {name for row in beginning_of(read_rows(SourceFile(path))) for name in row.values} if columns else set()
    for column in columns:
        if column not in there:
            raise UsageError(f"{path} has no column '{column}' for --group{nearest(column, there)}")


class _Tested:
    """Holds the rows of a test file, and what tells again the rows among which they are looked for."""

    def __init__(self, path: Path, how: Reading | None) -> None:
        """Read the file; raises `UsageError` where no row of it can be read."""
        self._rows = [row for row in read_inspected(SourceFile(path), how) if not row.problem]
        if not self._rows:
            raise UsageError(f"{path}: none of its rows can be read, so that there are no test rows to look for.")
        self._marks, self._places = TrainMarks(), list[str]()

    def pass_by(self, text: str, made: np.ndarray, place: str) -> None:
        """Take a row among which the test rows are looked for, with its signature."""
        self._marks.add(text, made)
        self._places.append(place)

    def found(self, similarity: float) -> Leaks:
        texts = [row.all_text for row in self._rows]
        return self._marks.found_in(
            texts, similarity, train=self._places.__getitem__, test=lambda row: self._rows[row].place
        )
