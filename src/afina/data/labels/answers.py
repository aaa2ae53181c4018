"""Questions with answers of their own: which column has them, and which answer is the right one."""

from collections.abc import Mapping

import numpy as np
import pyarrow as arrow

from afina.data.columns import ROW
from afina.data.names import ANSWERS_TO_CHOOSE, plain_names
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError, likewise, nearest

__all__ = ["answers_of", "find_answers", "right_answers"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def find_answers(tables: Mapping[str, arrow.Table], spec: DatasetSpec, where: str) -> str | None:
    """Return the column of lists of answers, by its usual names unless the spec says which; None for shared ones."""
    schema = next(iter(tables.values())).schema
    if spec.choices is not None:
        if spec.choices not in schema.names:
            raise UsageError(f"{where} has no column '{spec.choices}' for choices{nearest(spec.choices, schema.names)}")
        if not _is_list(schema.field(spec.choices).type):
            raise UsageError(
                f"{where}: column '{spec.choices}' holds {schema.field(spec.choices).type}, not lists of texts."
            )
        # A named column is taken whatever it is called, once it holds lists.
        return spec.choices
    known = plain_names(schema.names)
    columns = (known[name] for name in ANSWERS_TO_CHOOSE if name in known)
    return next((name for name in columns if _is_list(schema.field(name).type)), None)


def _is_list(kind: arrow.DataType) -> bool:
    return bool(arrow.types.is_list(kind) or arrow.types.is_large_list(kind) or arrow.types.is_fixed_size_list(kind))


def answers_of(table: arrow.Table, column: str, place: str) -> list[list[str]]:
    """Return each row's answers; raises `UsageError` for a row with fewer than two, or with an empty one."""
    answers = [[str(answer) for answer in own or ()] for own in table[column].to_pylist()]
    wrong = [
        (f"row {row}", f"{len(own)} answers {own}")
        for own, row in zip(answers, _rows(table), strict=True)
        if len(own) < 2 or not all(answer.strip() for answer in own)
    ]
    if wrong:
        row, held = wrong[0]
        raise UsageError(f"{place}, {row}: it has {held}; at least two are needed, none empty{likewise(wrong)}.")
    return answers


def right_answers(table: arrow.Table, column: str, answers: list[list[str]], place: str) -> np.ndarray:
    """Return the place (from 0) of each row's right answer, which its label gives as place, letter or text."""
    labels = table[column].to_pylist()
    places = [_place(label, own) for label, own in zip(labels, answers, strict=True)]
    wrong = [at for at, right in enumerate(places) if right is None]
    if wrong:
        first, rows = wrong[0], _rows(table)
        raise UsageError(
            f"{place}, row {rows[first]}: the label {labels[first]!r} is none of its {len(answers[first])} answers (a place "
            f"from 0, a letter, or the answer itself){likewise([(f'row {rows[at]}', repr(labels[at])) for at in wrong])}."
        )
    return np.array(places, dtype=np.int64)


def _place(label: object, answers: list[str]) -> int | None:
    """Return which answer a label names, counted from 0; None where it names none."""
    if isinstance(label, int) and 0 <= label < len(answers):
        return label
    if isinstance(label, str):
        if label in answers:
            return answers.index(label)
        # Letters as tests have them, of as many answers as there are.
        if len(label) == 1 and label.upper() in _LETTERS[: len(answers)]:
            return _LETTERS.index(label.upper())
    return None


def _rows(table: arrow.Table) -> list[int]:
    # Counted from 1, as people count rows.
    return list(table[ROW].to_pylist()) if ROW in table.column_names else list(range(1, table.num_rows + 1))
