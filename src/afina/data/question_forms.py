"""Data sets in which what is read and what is written stand inside other columns: translations, and SQuAD's answers."""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as arrow

from afina.data.columns import ROW
from afina.data.files.literals import parsed_text
from afina.data.names import PASSAGE_ANSWERS, PASSAGE_QUESTIONS, PASSAGES, TRANSLATIONS, usual_name
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError

__all__ = ["unfolded"]


def unfolded(
    tables: dict[str, arrow.Table], spec: DatasetSpec, place: Callable[[str], str], notes: list[str]
) -> tuple[dict[str, arrow.Table], DatasetSpec]:
    """Return tables in which what is read and what is written are columns, and the spec that names these."""
    for form in FORMS:
        # All parts have to be of the form: one that is not would have other columns.
        made = {split: form(table, spec, place(split)) for split, table in tables.items()}
        fitting = {split: own for split, own in made.items() if own is not None}
        if len(fitting) == len(tables):
            sentence, columns, _ = next(iter(fitting.values()))
            notes.append(sentence)
            return {split: own[2] for split, own in fitting.items()}, spec.model_copy(update=columns)
    return tables, spec


_Form = tuple[str, dict[str, str], arrow.Table]
"""A note for the user, the columns that the spec then names, and the table."""


def _objects(table: arrow.Table, column: str | None) -> list[Any] | None:
    """Return a column's objects, which may be JSON text; None where it holds something else."""
    if column is None or column not in table.column_names:
        return None
    values = [parsed_text(value)[0] if isinstance(value, str) else value for value in table[column].to_pylist()]
    # A column of nothing but missing values is of no form.
    return values if all(isinstance(value, dict | None) for value in values) and any(values) else None


def _numbers(table: arrow.Table) -> list[int]:
    return list(table[ROW].to_pylist()) if ROW in table.column_names else list(range(1, table.num_rows + 1))


def _translated(table: arrow.Table, spec: DatasetSpec, place: str) -> _Form | None:
    """Read `{"translation": {"en": ..., "pt": ...}}`, from the first language to the second unless `text:` says otherwise."""
    values = _objects(table, usual_name(table.column_names, TRANSLATIONS))
    if values is None:
        return None
    # In the order of the file, as the first language is mostly that which is read.
    languages = list(dict.fromkeys(str(name) for value in values if value for name in value))
    source, target = spec.text, spec.target
    if source is None and target is None:
        if len(languages) != 2:
            raise UsageError(
                f"{place} is a translation of {', '.join(languages)}; say from which to which with text: and target:."
            )
        source, target = languages
    for name in (source, target):
        if name not in languages:
            raise UsageError(f"{place} has no language '{name}' in its translations ({', '.join(languages)}).")
    columns = {name: [(value or {}).get(name) for value in values] for name in languages}
    made = arrow.table({**columns, ROW: _numbers(table)})
    note = f"translated from '{source}' to '{target}'; text: and target: say another direction"
    return note, {"text": str(source), "target": str(target)}, made


def _answered(table: arrow.Table, spec: DatasetSpec, place: str) -> _Form | None:
    """Read SQuAD's rows: a question on a context, of whose answers the first is written."""
    if spec.text is not None or spec.target is not None or spec.messages is not None:
        return None
    table = _paragraphs(table)
    question, context, answers = (
        usual_name(table.column_names, usual) for usual in (PASSAGE_QUESTIONS, PASSAGES, PASSAGE_ANSWERS)
    )
    values = _objects(table, answers)
    if values is None or question is None or context is None:
        return None
    given = [(value or {}).get("text") for value in values]
    if not all(isinstance(own, list | None) for own in given):
        return None
    columns = zip(table[question].to_pylist(), table[context].to_pylist(), strict=True)
    sources = [f"question: {asked or ''} context: {passage or ''}" for asked, passage in columns]
    # The first, as SQuAD's later ones are other annotators' wordings of it.
    targets = [str(own[0]) if own else "" for own in given]
    several = sum(len(set(own or ())) > 1 for own in given)
    note = "read as 'question: ... context: ...', and the first of its answers written"
    note += f" ({several:,} rows have others)" if several else ""
    made = arrow.table({"text": sources, "target": targets, ROW: _numbers(table)})
    return note, {"text": "text", "target": "target"}, made


def _paragraphs(table: arrow.Table) -> arrow.Table:
    """Return SQuAD's original files, titles of paragraphs of questions, as a question a row."""
    if "paragraphs" not in table.column_names:
        return table
    values = [parsed_text(value)[0] if isinstance(value, str) else value for value in table["paragraphs"].to_pylist()]
    rows: dict[str, list[Any]] = {"question": [], "context": [], "answers": [], ROW: []}
    for row, paragraphs in zip(_numbers(table), values, strict=True):
        for context, asked in _asked(paragraphs):
            answers = [answer.get("text") for answer in asked.get("answers") or () if isinstance(answer, dict)]
            rows["question"].append(asked.get("question"))
            rows["context"].append(context)
            rows["answers"].append({"text": answers})
            # All questions of a row have its number, by which an error finds them.
            rows[ROW].append(row)
    return arrow.table(rows)


def _asked(paragraphs: Any) -> Sequence[tuple[Any, dict[str, Any]]]:
    objects = [each for each in paragraphs if isinstance(each, dict)] if isinstance(paragraphs, list) else []
    return [
        (each.get("context"), asked) for each in objects for asked in each.get("qas") or () if isinstance(asked, dict)
    ]


FORMS: tuple[Callable[[arrow.Table, DatasetSpec, str], _Form | None], ...] = (_translated, _answered)
"""One function a form; the first that knows all tables unfolds them."""
