"""Rows of words with a tag each: which columns have them, what the tags are called, and whether they fit the words."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as arrow

from afina.data.columns import ROW
from afina.data.files.tables import same_label_names
from afina.data.labels.tag_forms import has_tagged_form, listed_words, renamed_tags
from afina.data.names import TAGS, WORDS, plain_names
from afina.data.rows import Rows
from afina.data.tokens.tokens import IGNORED
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError, likewise, nearest
from afina.measure.entities import is_entity_tag

__all__ = ["find_tagged", "is_tagged", "read_tagged", "spans", "tables_of_lists", "untagged", "words_in", "words_of"]


def is_tagged(tables: Mapping[str, arrow.Table]) -> bool:
    """Return whether the tables show by themselves that they have words and a tag each."""
    table = next(iter(tables.values()))
    return all(_usual(table.schema, names) is not None for names in (WORDS, TAGS)) or has_tagged_form(table)


def tables_of_lists(
    tables: Mapping[str, arrow.Table], spec: DatasetSpec, place: Callable[[str], str], notes: list[str]
) -> tuple[dict[str, arrow.Table], DatasetSpec]:
    """Return the tables with a list of words and one of tags a row, whatever form they had (tag_forms.py)."""
    assumed: list[str] = []
    made = {split: listed_words(table, spec, place(split), assumed) for split, table in tables.items()}
    # A note of each split that says the same is said once.
    notes += dict.fromkeys(assumed)
    changed = any(made[split] is not tables[split] for split in tables)
    # The forms make columns of other names, by which they are then found.
    return made, spec.model_copy(update={"text": None, "label": None}) if changed else spec


def find_tagged(tables: Mapping[str, arrow.Table], spec: DatasetSpec, where: str) -> tuple[str, str]:
    """Return the columns of words and of tags, by their usual names unless `text:` and `label:` say which."""
    columns: list[str] = []
    for split, table in tables.items():
        columns.clear()
        names = [name for name in table.column_names if name != ROW]
        for key, given, usual in (("text", spec.text, WORDS), ("label", spec.label, TAGS)):
            name = given or _usual(table.schema, usual)
            if name is None:
                raise UsageError(
                    f"{where} ({split}) has no column of lists called {' or '.join(usual)}; say which with {key}: "
                    f"({', '.join(names)})."
                )
            if name not in names:
                raise UsageError(f"{where} ({split}) has no column '{name}' for {key}{nearest(name, names)}")
            if not _is_list(kind := table.schema.field(name).type):
                raise UsageError(f"{where} ({split}): column '{name}' holds {kind}, not lists; tagging needs lists.")
            columns.append(name)
    return columns[0], columns[1]


def _usual(schema: arrow.Schema, usual: Sequence[str]) -> str | None:
    known = plain_names(schema.names)
    usual_ones = (known[name] for name in usual if name in known)
    return next((name for name in usual_ones if _is_list(schema.field(name).type)), None)


def _is_list(kind: arrow.DataType) -> bool:
    return bool(arrow.types.is_list(kind) or arrow.types.is_large_list(kind) or arrow.types.is_fixed_size_list(kind))


def read_tagged(
    tables: Mapping[str, arrow.Table],
    columns: tuple[str, str],
    places: Mapping[str, str],
    notes: list[str],
    known: tuple[str, ...] | None = None,
) -> tuple[tuple[str, ...], dict[str, Rows]]:
    """Return the tags' names and the rows of each split; `places` says what to call a split in an error.

    Names are those in the file's features, or the tags themselves. Raises `UsageError`, with the row, for tags that do not
    fit their words, and for what is no tag.
    """
    # Features in the file go before what the publisher's description says.
    given = same_label_names({places[part]: own for part, own in tables.items()}, columns[1], places["train"]) or known
    words: dict[str, list[list[str]]] = {}
    tags: dict[str, list[list[Any]]] = {}
    for split, table in tables.items():
        rows = list(zip(*(_lists(table, column) for column in columns), _numbers(table), strict=True))
        _check_lengths(rows, places[split])
        _check_tags(rows, given, places[split])

        # A sentence without a word has nothing to tag, and would be a row without a token.
        filled = [(mine, theirs) for mine, theirs, _ in rows if mine]
        if empty := len(rows) - len(filled):
            notes.append(f"{empty:,} {split} {'row' if empty == 1 else 'rows'} without a word left out")
        if not filled:
            raise UsageError(f"{places[split]}: no row has a word.")
        words[split] = [["" if word is None else str(word) for word in mine] for mine, _ in filled]
        tags[split] = [theirs for _, theirs in filled]

    # Tags of all splits together: one that stands only in the test part has a number all the same, and is named in a
    # note.
    there = {tag for own in tags.values() for row in own for tag in row}
    read = renamed_tags(given or there, notes)

    # `O` comes first, as in public data sets, the others by name.
    names = tuple(read.values()) if given else tuple(sorted(set(read.values()), key=lambda tag: (tag != "O", tag)))
    _check_scheme(names, places["train"])
    indices = {name: place for place, name in enumerate(names)}

    # Features give tags as numbers, text files as names: both are found.
    index = {tag: indices[name] for tag, name in read.items()} | {place: place for place in range(len(names))}
    splits = {}
    for split in tables:
        splits[split] = _rows(words[split], [[index[tag] for tag in row] for row in tags[split]])
    _check_seen(names, splits, notes)
    return names, splits


def _lists(table: arrow.Table, column: str) -> list[list[Any]]:
    return [own or [] for own in table[column].to_pylist()]


def _numbers(table: arrow.Table) -> list[int]:
    return list(table[ROW].to_pylist())


Placed = Sequence[tuple[list[Any], list[Any], int]]
"""Words and tags of rows with the rows' numbers."""


def _check_lengths(rows: Placed, place: str) -> None:
    wrong = [(f"row {row}", f"{len(theirs)} tags for {len(mine)} words") for mine, theirs, row in rows
             if len(mine) != len(theirs)]  # fmt: skip
    if wrong:
        row, held = wrong[0]
        raise UsageError(f"{place}, {row}: it has {held}; give each word one{likewise(wrong)}.")


def _check_tags(rows: Placed, names: tuple[str, ...] | None, place: str) -> None:
    """Raise `UsageError` for tags that are no words, or none of those that the data names."""

    def is_tag(tag: object) -> bool:
        if isinstance(tag, int):
            return names is not None and 0 <= tag < len(names)
        return isinstance(tag, str) and (names is None or tag in names)

    wrong = [(f"row {row}", tag) for _, theirs, row in rows for tag in theirs if not is_tag(tag)]
    if not wrong:
        return
    row, tag = wrong[0]
    others = likewise([(where, repr(each)) for where, each in wrong])
    if names is not None:
        raise UsageError(
            f"{place}, {row}: the tag {tag!r} is none of the {len(names)} that the data names ({', '.join(names)}){others}."
        )
    why = "a word without a tag" if tag is None else f"the tag {tag!r} has no name"
    raise UsageError(
        f"{place}, {row}: {why}; write tags as words (B-person, O), or name them in the file's features{others}."
    )


def _check_scheme(names: Sequence[str], place: str) -> None:
    """Raise for tags of which only some mark entities; such as mark none (parts of speech) are tags too."""
    # Parts of speech are tags without entities, and all of them are odd then.
    odd = [name for name in names if not is_entity_tag(name)]
    if odd and len(odd) < len(names):
        raise UsageError(
            f"{place}: the tag '{odd[0]}' is none of BIO, IO or BIOES; where entities are marked, every tag is O or has "
            "B-, I-, E- or S- before its type."
        )
    if len(names) < 2:
        raise UsageError(f"{place}: every word has the tag '{names[0]}'; there is nothing to learn.")


def _check_seen(names: Sequence[str], splits: Mapping[str, Rows], notes: list[str]) -> None:
    """Note tags of other splits that no train row has: they count as missed."""
    seen = {split: set(np.unique(rows.label).tolist()) - {IGNORED} for split, rows in splits.items()}
    for split, tags_seen in seen.items():
        if unseen := sorted(names[tag] for tag in tags_seen - seen["train"]):
            notes.append(f"{split} has tags that no train row has, which cannot be learned: {', '.join(unseen)}")


def _rows(words: list[list[str]], tags: Sequence[Sequence[int]]) -> Rows:
    # As wide as the longest row; what stands behind a row's words is never looked at.
    label = np.full((len(words), max(map(len, words), default=0)), IGNORED, dtype=np.int16)
    for row, row_tags in zip(label, tags, strict=True):
        row[: len(row_tags)] = row_tags
    return Rows([" ".join(own) for own in words], None, label, words=words)


def untagged(words: list[list[str]]) -> Rows:
    """Return rows of words whose tags nobody knows, -1."""
    return _rows(words, [[-1] * len(own) for own in words])


def words_in(table: arrow.Table, column: str | None = None) -> list[list[str]] | None:
    """Return the words of each row of a table to tag; None where it has no column of lists."""
    name = column or _usual(table.schema, WORDS)
    if name is None or name not in table.column_names or not _is_list(table.schema.field(name).type):
        return None
    return [[str(word) for word in own] for own in _lists(table, name)]


def words_of(texts: Sequence[str] | Sequence[Sequence[str]]) -> list[list[str]]:
    """Return each text's words: what stands between spaces, or as given; raises `UsageError` for a text without one."""
    # What `str.split` leaves out, spaces of any kind, is nobody's word.
    words = [text.split() if isinstance(text, str) else list(text) for text in texts]
    if empty := [index for index, own in enumerate(words) if not own]:
        raise UsageError(f"Text {empty[0] + 1} of {len(words)} has no word.")
    return words


def spans(text: str) -> list[tuple[int, int]]:
    """Return where the words of a text begin and end: what `str.split` finds between spaces."""
    places, end = [], 0
    for word in text.split():
        # From the end of the word before, as a word may stand in the text twice.
        start = text.index(word, end)
        end = start + len(word)
        places.append((start, end))
    return places
