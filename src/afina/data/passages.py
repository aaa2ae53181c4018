"""Read questions with the passages that answer them: pairs of texts, lists of passages, or ids in a file of passages.

A passage that stands several times is one, whatever its spaces. All passages of all parts of the data are those among which
a question's are looked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow

from afina.data.columns import ROW, texts
from afina.data.files.literals import parsed_text
from afina.data.files.tables import read_table
from afina.data.names import ASKED, PASSAGE_IDS, RIGHT_PASSAGES, TEXTS, TITLES, WRONG_PASSAGES, usual_name
from afina.data.rows import Passages, Rows, TextDataset, finished
from afina.data.sources.finding import Parts
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError, likewise, nearest, shown

__all__ = ["read_passages"]

_FEWEST = 5
_TEST_SHARE = 0.2


def read_passages(parts: Parts, task: str, train_limit: int | None, test_limit: int | None) -> TextDataset:
    """Return the data set of questions and passages; a row is a question with one passage that answers it.

    In what is tested a question stands once. Raises `UsageError` for columns that are not there, an id that no passage has,
    and questions of which none has a passage.
    """
    notes = list(parts.notes)
    columns = _columns(parts)
    known = _Known() if parts.spec.passages is None else _of_file(parts.spec, parts.where, notes)
    asked = {split: _asked(table, columns, parts.place(split), known) for split, table in parts.tables.items()}
    # Before anything is divided: what is left out of one part is not to leave a gap in another.
    _note_left_out(asked, parts.where, columns, notes)
    if known.joined:
        notes.append(f"{known.joined:,} passages that stand more than once, but for their spaces, are one each")

    right, wrong = _joined(asked, notes)
    questions = {
        split: list(dict.fromkeys(each.question for each in own if each.right)) for split, own in asked.items()
    }
    if "test" not in questions:
        questions["train"], questions["test"] = _divided(questions["train"], parts.where, notes)
    splits = {
        split: _rows(asked.get(split, asked["train"]), own, known, every=split == "train")
        for split, own in questions.items()
    }
    notes += _seen_notes(splits)
    notes.append(f"{len(known.texts):,} passages, among which each question's are looked for")
    passages = Passages(tuple(known.texts), right, wrong)
    data = finished(parts.spec, task, None, splits, notes, train_limit, test_limit, passages)
    return replace(data, columns=columns)


@dataclass
class _Known:
    """Collects passages, each once, and their numbers by text and by id."""

    texts: list[str] = field(default_factory=list)
    by_text: dict[str, int] = field(default_factory=dict)
    by_id: dict[str, int] | None = None
    joined: int = 0

    def number(self, text: str) -> int:
        """Return the number of a passage by its text, which is new or not."""
        # Without regard to spaces, as files wrap lines differently.
        key = " ".join(text.split())
        if key not in self.by_text:
            self.by_text[key] = len(self.texts)
            self.texts.append(text.strip())
        return self.by_text[key]


@dataclass(frozen=True)
class _Asked:
    """Holds a row: its question, the numbers of the passages that answer it, and of those that do not."""

    question: str
    right: tuple[int, ...]
    wrong: tuple[int, ...]
    row: int


def _columns(parts: Parts) -> dict[str, str]:
    """Return the columns of questions, of passages and, where there is one, of wrong passages, the same in every part."""
    spec, first = parts.spec, next(iter(parts.tables.values()))
    names = [name for name in first.column_names if name != ROW]
    # The column that was named for passages is not also that of the questions.
    question = spec.text or usual_name([name for name in names if name != spec.text_pair], ASKED)
    rest = [name for name in names if name not in (question, spec.negatives)]
    passage = spec.text_pair or usual_name(rest, RIGHT_PASSAGES)
    wrong = spec.negatives or usual_name([name for name in rest if name != passage], WRONG_PASSAGES)
    for key, what, column in (("text", "questions", question), ("text_pair", "passages that answer", passage)):
        if column is None:
            raise UsageError(
                f"{parts.where} has no column that looks like {what}; say which with {key}: ({', '.join(names)})."
            )
    columns = {"text": question, "text_pair": passage, "negatives": wrong}
    chosen = {key: column for key, column in columns.items() if column is not None}
    for split, table in parts.tables.items():
        for key, column in chosen.items():
            if column not in table.column_names:
                there = [name for name in table.column_names if name != ROW]
                raise UsageError(f"{parts.where} ({split}) has no column '{column}' for {key}{nearest(column, there)}")
    return chosen


def _of_file(spec: DatasetSpec, where: str, notes: list[str]) -> _Known:
    """Return the passages of a file, by their ids; it is looked for here and beside the data."""
    assert spec.passages is not None
    data = Path(spec.path)
    # As it is named, and beside the data, as a study may be started from elsewhere.
    places = [Path(spec.passages), *(folder / spec.passages for folder in (data, data.parent))]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise UsageError(f"passages: {spec.passages} does not exist, neither in {Path.cwd()} nor beside {where}.")
    table = read_table(path, notes)
    ids, text = usual_name(table.column_names, PASSAGE_IDS), usual_name(table.column_names, (*RIGHT_PASSAGES, *TEXTS))
    if ids is None or text is None or ids == text:
        raise UsageError(
            f"passages: {path} should have a column id and a column text or passage; it has {', '.join(table.column_names)}."
        )
    if (title := usual_name([name for name in table.column_names if name not in (ids, text)], TITLES)) is not None:
        notes.append(f"a passage is its '{text}' alone; '{title}' is not read")
    known = _Known(by_id={})
    assert known.by_id is not None
    empty = 0
    for id_, passage in zip(texts(table, ids, str(path)), texts(table, text, str(path)), strict=True):
        if id_ in known.by_id:
            raise UsageError(f"passages: {path} has the id {shown(id_)} twice; give each passage one of its own.")
        if not passage.strip():
            empty += 1
            continue
        before = len(known.texts)
        known.by_id[id_] = known.number(passage)
        known.joined += len(known.texts) == before
    if empty:
        notes.append(f"{empty:,} passages of {path.name} without a text left out")
    return known


def _asked(table: arrow.Table, columns: Mapping[str, str], place: str, known: _Known) -> list[_Asked]:
    """Return the rows of a table; raises `UsageError` for an id that no passage has, and for passages that are no texts."""
    numbers = table[ROW].to_pylist()
    questions = texts(table, columns["text"], place)
    right = _lists(table, columns["text_pair"], place)
    wrong = _lists(table, columns["negatives"], place) if "negatives" in columns else [[] for _ in questions]
    strangers: list[tuple[str, str]] = []

    def found(values: Sequence[str], row: int) -> tuple[int, ...]:
        if known.by_id is None:
            # Each once, as a row may name a passage twice.
            return tuple(dict.fromkeys(known.number(value) for value in values if value.strip()))
        strangers.extend((f"row {row}", shown(value)) for value in values if value not in (known.by_id or {}))
        return tuple(dict.fromkeys(known.by_id[value] for value in values if value in known.by_id))

    rows = [
        _Asked(" ".join(question.split()), found(own, row), found(others, row), row)
        for question, own, others, row in zip(questions, right, wrong, numbers, strict=True)
        if question.strip()
    ]
    if strangers:
        row, id_ = strangers[0]
        raise UsageError(f"{place}, {row}: no passage has the id {id_}{likewise(strangers)}.")
    return rows


def _lists(table: arrow.Table, column: str, place: str) -> list[list[str]]:
    """Return each row's passages, or ids, of a column of texts, of lists, or of lists that are written out."""
    kind = table.schema.field(column).type
    if not (arrow.types.is_list(kind) or arrow.types.is_large_list(kind) or arrow.types.is_fixed_size_list(kind)):
        lists: list[list[str]] = []
        for text in texts(table, column, place):
            value, _ = parsed_text(text)
            # A text may begin with a bracket and be no list.
            plain = isinstance(value, list) and all(isinstance(one, str | int) for one in value)
            lists.append([str(one) for one in value] if plain else [text] if text.strip() else [])
        return lists
    values: list[Any] = table[column].to_pylist()
    wrong = [
        (f"row {row}", shown(one))
        for row, own in zip(table[ROW].to_pylist(), values, strict=True)
        for one in own or ()
        if not isinstance(one, str | int | None)
    ]
    if wrong:
        raise UsageError(
            f"{place}, {wrong[0][0]}: a passage in '{column}' is {wrong[0][1]}, not a text{likewise(wrong)}."
        )
    return [[str(one) for one in own or () if one is not None] for own in values]


def _note_left_out(
    asked: Mapping[str, Sequence[_Asked]], where: str, columns: Mapping[str, str], notes: list[str]
) -> None:
    """Note the questions without a passage that answers them; raises `UsageError` where a part has no other."""
    for split, rows in asked.items():
        without = sum(not each.right for each in rows)
        if without == len(rows):
            raise UsageError(
                f"{where} ({split}): no question in '{columns['text']}' has a passage in '{columns['text_pair']}'."
            )
        if without:
            notes.append(f"questions of {split} without a passage that answers, left out: {without:,}")


def _joined(
    asked: Mapping[str, Sequence[_Asked]], notes: list[str]
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Return by question all passages that any row gives as right, and as wrong; what is both is right, which is noted."""
    right: dict[str, dict[int, None]] = {}
    wrong: dict[str, dict[int, None]] = {}
    for each in (each for rows in asked.values() for each in rows):
        right.setdefault(each.question, {}).update(dict.fromkeys(each.right))
        wrong.setdefault(each.question, {}).update(dict.fromkeys(each.wrong))
    # Data with hard negatives made by a program often have a right one among them.
    both = sum(len(set(own) & set(right[question])) for question, own in wrong.items())
    if both:
        notes.append(f"{both:,} passages stand as right and as wrong for one question, and are taken as right")
    return (
        {question: tuple(own) for question, own in right.items() if own},
        {question: tuple(one for one in own if one not in right[question]) for question, own in wrong.items() if own},
    )


def _divided(questions: list[str], where: str, notes: list[str]) -> tuple[list[str], list[str]]:
    """Divide questions 80/20, always the same way: a question with all its passages is in one part."""
    if len(questions) < _FEWEST:
        raise UsageError(
            f"{where} has {len(questions)} questions; at least {_FEWEST} are needed to keep some for the test."
        )
    order = np.random.default_rng(0).permutation(len(questions))
    # One at least, so that there is something to test.
    test = set(order[: max(1, round(_TEST_SHARE * len(order)))].tolist())
    train = [question for place, question in enumerate(questions) if place not in test]
    held = [question for place, question in enumerate(questions) if place in test]
    notes.append(
        f"{where} has no test part: {len(train):,} questions to train on, {len(held):,} to test on (80/20, always the same)"
    )
    return train, held


def _rows(asked: Sequence[_Asked], questions: Iterable[str], known: _Known, *, every: bool) -> Rows:
    """Return a row for each question, with the first passage that answers it, or for `every` pair of them."""
    # A dict, as questions keep their order and are looked up many times.
    wanted = dict.fromkeys(questions)
    pairs: dict[tuple[str, int], int] = {}
    met: set[str] = set()
    for each in (each for each in asked if each.question in wanted):
        for passage in each.right:
            if every or each.question not in met:
                met.add(each.question)
                pairs.setdefault((each.question, passage), each.row)
    return Rows(
        [question for question, _ in pairs], [known.texts[passage] for _, passage in pairs],
        np.array([passage for _, passage in pairs], dtype=np.int64), number=np.array(list(pairs.values())),
    )  # fmt: skip


def _seen_notes(splits: Mapping[str, Rows]) -> list[str]:
    """Say how many of the questions of the test are trained on, and whose passage answers a train question too."""
    train, test = splits["train"], splits["test"]
    notes: list[str] = []
    if same := len(set(train.text) & set(test.text)):
        notes.append(f"questions of the test that are trained on too: {same:,}")
    # Not an error: real questions often ask of the same passage.
    passages = set(train.label.tolist())
    if seen := sum(passage in passages for passage in test.label.tolist()):
        notes.append(f"{seen:,} of {len(test):,} test questions ask of a passage that train questions ask of too")
    return notes
