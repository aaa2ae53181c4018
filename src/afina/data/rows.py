"""Rows of a data set, and what is done with them whatever they hold: limits, divisions, digests."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError

__all__ = ["Passages", "Rows", "TextDataset", "divided", "finished", "most_answers", "stratified", "stratified_rows"]


@dataclass(frozen=True)
class Rows:
    """Parallel columns: texts, second texts or None, and labels (int64 class indices, or float64).

    Of words with a tag each, labels are (N, W) int16, with -100 behind a row's words.
    """

    text: list[str]
    text_pair: list[str] | None
    label: np.ndarray
    pixels: np.ndarray | None = None
    """Images (N, H, W) or (N, H, W, C), uint8; `text` then has their digests."""
    choices: list[list[str]] | None = None
    """Each row's own answers, of which the label is one's place."""
    words: list[list[str]] | None = None
    """Words of each row, with a tag each; `text` has them joined by spaces."""
    number: np.ndarray | None = None
    """Each row's number in its file, from 1, where that is known."""
    group: list[str | None] | None = None
    """Each row's group by a column, where what answers decides by it."""

    def __len__(self) -> int:
        return len(self.text)

    def __repr__(self) -> str:
        first = f", the first {self.text[0][:60]!r}" if self.text and self.pixels is None else ""
        return f"Rows({len(self):,}{first})"

    def take(self, rows: np.ndarray) -> "Rows":
        pair = None if self.text_pair is None else [self.text_pair[row] for row in rows]
        pixels = None if self.pixels is None else self.pixels[rows]
        choices = None if self.choices is None else [self.choices[row] for row in rows]
        words = None if self.words is None else [self.words[row] for row in rows]
        number = None if self.number is None else self.number[rows]
        group = None if self.group is None else [self.group[row] for row in rows]
        return Rows([self.text[row] for row in rows], pair, self.label[rows], pixels, choices, words, number, group)


@dataclass(frozen=True)
class Passages:
    """Holds all passages among which a question's are looked for, each once, and what is known of each question."""

    texts: tuple[str, ...]
    right: Mapping[str, tuple[int, ...]]
    """Numbers of all passages that answer, by question."""
    wrong: Mapping[str, tuple[int, ...]]
    """Numbers of those that do not by the data, likewise."""


@dataclass(frozen=True)
class TextDataset:
    """A data set ready to learn from."""

    name: str
    task: str
    label_names: tuple[str, ...] | None
    train: Rows
    test: Rows
    validation: Rows | None
    notes: tuple[str, ...]
    """Sentences on what was dropped or noticed."""
    digest: str
    """SHA-256 over the texts and labels that are used."""

    def __repr__(self) -> str:
        splits = {"train": self.train, "test": self.test, "validation": self.validation}
        counts = ", ".join(f"{len(rows):,} {name}" for name, rows in splits.items() if rows is not None)
        names = self.label_names or ()
        labels = f"; {len(names)} labels: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else ""
        return f"TextDataset('{self.name}', {self.task}: {counts} rows{labels})"

    columns: Mapping[str, str | list[str]] = field(default_factory=dict)
    """The columns that were read, by meaning: `text` (a list where several are joined), `text_pair`, `label`."""
    metric: str | None = None
    """The metric that tables show first; None for the task's own."""
    passages: Passages | None = None
    """Where rows are questions with a passage that answers each: all that there are, of which labels are the numbers."""


def most_answers(data: TextDataset) -> int:
    """Return the largest number of answers to choose from that a row has: its own, or one for each label."""
    # Answers of a row's own, of which others may have more.
    counts = [
        len(answers) for rows in (data.train, data.test, data.validation) if rows for answers in rows.choices or ()
    ]
    return max(counts, default=len(data.label_names or ()))


def stratified(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return an order of the rows any first part of which holds the classes in their proportions."""
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = np.empty(len(order))
    for label in np.unique(labels):
        places = np.flatnonzero(labels[order] == label)
        # The middle of each place's share, so that small classes are spread as evenly as large ones.
        rank[places] = (np.arange(len(places)) + 0.5) / len(places)
    return order[np.argsort(rank, kind="stable")]


def stratified_rows(labels: np.ndarray, limit: int, *, classes: bool) -> np.ndarray:
    """Return `limit` row numbers in ascending order, every class in its proportion; always the same ones.

    Rows whose words have labels have none of their own.
    """
    return np.sort(stratified(labels if classes and labels.ndim == 1 else np.zeros(len(labels)), seed=0)[:limit])


def _limit(rows: Rows, limit: int | None, names: tuple[str, ...] | None, key: str) -> Rows:
    if limit is None or limit >= len(rows):
        return rows
    # A tag for each word is no class of its row.
    names = names if rows.label.ndim == 1 else None
    classes = len(np.unique(rows.label)) if names is not None else 1
    if limit < classes:
        raise UsageError(f"{key}: {limit} rows cannot hold all {classes} classes; set at least {classes}.")
    # By proportion, so that a smaller study is about the same data.
    chosen = rows.take(stratified_rows(rows.label, limit, classes=names is not None))
    if names is not None and key == "train_limit" and len(np.unique(chosen.label)) < classes:
        raise UsageError(f"{key}: {limit} rows in proportion leave out a rare class; set it higher.")
    return chosen


def _keys(rows: Rows) -> list[tuple[str, str]]:
    return list(zip(rows.text, rows.text_pair or [""] * len(rows), strict=True))


def _digest(splits: Mapping[str, Rows], names: Sequence[str] | None, passages: Passages | None) -> str:
    digest = hashlib.sha256()
    if passages is not None:
        # Sorted, as a dict's order is that of the file.
        known = [passages.texts, sorted(passages.right.items()), sorted(passages.wrong.items())]
        digest.update(json.dumps(known).encode())
    if names is not None:  # labels are their places in it
        digest.update("\0".join(names).encode("utf-8", "surrogatepass") + b"\0\0")
    for name, rows in sorted(splits.items()):
        digest.update(f"{name} {len(rows)}\0".encode())
        for text, pair in _keys(rows):
            # Half of a surrogate pair can be in a text, and is no UTF-8.
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0" + pair.encode("utf-8", "surrogatepass") + b"\0")
        digest.update(np.ascontiguousarray(rows.label).tobytes())
        for texts in rows.choices or rows.words or ():
            digest.update("\0".join(texts).encode("utf-8", "surrogatepass") + b"\0\0")
    return digest.hexdigest()


def divided(rows: Rows) -> tuple[Rows, Rows]:
    """Divide rows 80/20 into train and test, every class in its proportion, always the same way."""
    order = stratified(rows.label, seed=0)
    # One at least, so that there is something to test.
    test = np.sort(order[: max(1, round(0.2 * len(order)))])
    return rows.take(np.setdiff1d(np.arange(len(order)), test)), rows.take(test)


def finished(
    spec: DatasetSpec,
    task: str,
    names: tuple[str, ...] | None,
    splits: Mapping[str, Rows],
    notes: Sequence[str],
    train_limit: int | None,
    test_limit: int | None,
    passages: Passages | None = None,
) -> TextDataset:
    """Limit the splits, note what stands in both train and test, and put all of it together."""
    limited = {
        # What is limited takes the place of what was read; further parts stay whole.
        **splits,
        "train": _limit(splits["train"], train_limit, names, "train_limit"),
        "test": _limit(splits["test"], test_limit, names, "test_limit"),
    }
    all_notes = list(notes)
    # On what is left after limiting, as that is what is learned and tested.
    if overlap := len(set(_keys(limited["train"])) & set(_keys(limited["test"]))):
        what = "text" if limited["train"].pixels is None else "image"
        all_notes.append(f"{overlap:,} {what + ' stands' if overlap == 1 else what + 's stand'} in both train and test")
    return TextDataset(
        name=spec.label_name, task=task, label_names=names, train=limited["train"], test=limited["test"],
        validation=limited.get("validation"), notes=tuple(all_notes), digest=_digest(limited, names, passages),
        passages=passages,
    )  # fmt: skip
