"""Predictions for the rows of a file, or for texts: as many answers as rows, beside the rows' own columns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from afina.data.predicting.asked import Asked, AskedRow
from afina.data.predicting.predicted import Layout, Predicted, check_at_least, write_predicted
from afina.errors import UsageError
from afina.tasks.base import Task
from afina.tasks.predictions import Prediction

__all__ = ["AnswersOnDemand", "Counts", "RowAnswerer", "RowByRow"]


class RowAnswerer(Protocol):
    """Answers rows: an adapter, or what was exported of one."""

    task: Task
    notes: tuple[str, ...]

    @property
    def longest(self) -> int:
        """Return how many tokens of a text are read."""
        ...

    def predict(
        self,
        texts: Any,
        text_pairs: Sequence[str] | None = None,
        *,
        choices: Sequence[Sequence[str]] | None = None,
        batch_size: int = 32,
    ) -> Sequence[Prediction]: ...


@dataclass
class Counts:
    """Counts rows by what became of them: answered, less sure than asked (left to a person), without a text."""

    rows: int = 0
    answered: int = 0
    unsure: int = 0
    empty: int = 0
    cut: int = 0
    """Those of them that were longer than is read, and were cut."""
    ungrouped: int = 0
    """Those of them whose group, by a column, has no threshold: they are decided at one half."""

    def __str__(self) -> str:
        parts = [f"{self.answered:,} answered", *([f"{self.unsure:,} left to a person"] if self.unsure else [])]
        parts += [f"{self.empty:,} without a text"] if self.empty else []
        parts += [f"{self.cut:,} longer than is read, and cut"] if self.cut else []
        parts += [f"{self.ungrouped:,} of no group with a threshold, decided at one half"] if self.ungrouped else []
        return f"{self.rows:,} rows: {', '.join(parts)}"


@dataclass
class RowByRow:
    """Answers row by row; below `at_least` a row has no label and is left to a person."""

    adapter: RowAnswerer
    at_least: float | None = None
    batch_size: int = 32
    choices: Sequence[str] | None = None
    """Answers to choose from, the same for all texts."""
    counts: Counts = field(default_factory=Counts)
    has_text: bool = True

    def __post_init__(self) -> None:
        check_at_least(self.at_least)
        what = self.adapter.task.answers_with
        if self.at_least is not None and what is not None:
            raise UsageError(f"--at-least is for labels with a probability; this adapter answers with {what}.")

    @property
    def fields(self) -> tuple[str, ...]:
        """Return what a table has of a prediction."""
        return self.adapter.task.fields(self.choices, unsure=self.at_least is not None)

    def layout(self, keep: Sequence[str], separator: str | None) -> Layout:
        """Return the columns of a table: those of the rows that are kept, and the prediction's."""
        return Layout(tuple(keep), self.fields, separator or ",")

    def predict(self, asked: Asked, keep: Sequence[str] = ()) -> Iterator[Predicted]:
        """Yield what is predicted for each row, batch by batch; a row without a text has no answer."""
        if asked.images is not None:
            predictions: Sequence[Prediction] = self.adapter.predict(asked.images, batch_size=self.batch_size)
            # One by one, as they are asked for.
            yield from (self._predicted(row, f"image {row}", {}, one) for row, one in enumerate(predictions, start=1))
            return
        self.has_text = asked.has_text
        rows = iter(
            asked.rows(
                asked.choices() if self.adapter.task.wants_choices and asked.choices and not self.choices else None
            )
        )

        # Many batches at once: rows of like length go together.
        while chunk := list(islice(rows, self.batch_size * (1 if asked.live else 16))):
            full = [row for row in chunk if row.text.strip()]
            answered = self._answers(full)
            self.counts.cut += getattr(answered, "cut", 0)  # images are whole
            answers = iter(answered)
            for row in chunk:
                columns = {name: row.columns.get(name) for name in keep}
                yield self._predicted(row.number, row.text, columns, next(answers) if row.text.strip() else None)

    def _answers(self, rows: Sequence[AskedRow]) -> Sequence[Prediction]:
        if not rows:
            return ()
        if rows[0].words is not None and not self.adapter.task.tags and not self.has_text:
            raise UsageError(
                "The rows have words and no text, and this adapter reads texts; name their column with --text."
            )
        if self.adapter.task.tags and rows[0].words is not None:
            return self.adapter.predict([row.words or [] for row in rows], batch_size=self.batch_size)
        pairs = [row.text_pair or "" for row in rows] if any(row.text_pair is not None for row in rows) else None
        choices: list[Sequence[str]] | None = [self.choices] * len(rows) if self.choices else None
        if rows[0].choices is not None:
            choices = [row.choices or [] for row in rows]
        texts = [row.text for row in rows]
        if (column := self.adapter.task.group_column) is not None and column in rows[0].columns:
            groups = [row.columns[column] for row in rows]
            self.counts.ungrouped += self.adapter.task.ungrouped(groups)
            return self.adapter.predict(texts, pairs, groups=groups, batch_size=self.batch_size)  # type: ignore[call-arg]
        return self.adapter.predict(texts, pairs, choices=choices, batch_size=self.batch_size)

    def _predicted(self, row: int, text: str, columns: Mapping[str, Any], one: Prediction | None) -> Predicted:
        self.counts.rows += 1
        if one is None:
            self.counts.empty += 1
            return Predicted(row, text, columns, *self.adapter.task.nothing(unsure=self.at_least is not None))
        shown = one.shown(self.at_least)
        # A row that is not sure enough is left to a person, and counted as that.
        self.counts.answered += shown.sure
        self.counts.unsure += not shown.sure
        return Predicted(row, text, columns, shown.answer, shown.fields, one)


@dataclass
class AnswersOnDemand:
    """Answers all that is asked, computed row by row as it is looked at, once.

    `counts` says what became of the rows by then, `layout` which columns a table of them has.
    """

    rows: RowByRow
    asked: Asked
    kept: Sequence[str] = ()
    """The rows' own columns that stand beside the answers."""
    separator: str | None = None

    @property
    def adapter(self) -> RowAnswerer:
        """Return what answers."""
        return self.rows.adapter

    @property
    def counts(self) -> Counts:
        return self.rows.counts

    @property
    def layout(self) -> Layout:
        return self.rows.layout(self.kept, self.separator or self.asked.separator)

    def __iter__(self) -> Iterator[Predicted]:
        return self.rows.predict(self.asked, self.kept)

    def write(self, out: Path, form: str, tick: Callable[[int, int | None], None] = lambda done, total: None) -> None:
        """Write all answers into a file, whole or not at all; `tick` is told how many are done, and of how many."""

        def told() -> Iterator[Predicted]:
            # Told row by row, and nothing is kept of what was written.
            for done, row in enumerate(self, start=1):
                tick(done, self.asked.count)
                yield row

        write_predicted(told(), form, self.layout, out)
