"""Read a column of a study's data that puts its rows into groups."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from afina.config import StudyConfig
from afina.data.columns import find_columns
from afina.data.groups.grouping import refuse_read
from afina.data.rows import Rows
from afina.data.sources.finding import find
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError, nearest

__all__ = ["group_values"]


def group_values(
    config: StudyConfig, spec: DatasetSpec, parts: Sequence[tuple[str, Rows]], columns: Sequence[str], *, asked: str,
    otherwise: str = "",
) -> list[dict[str, list[Any]]]:  # fmt: skip
    """Return each part's rows' values of `columns`, by column; parts are named `train`, `validation` and `test`.

    Raises `UsageError` for a column that is not there (`asked` is what named it) or that is read already, and where rows
    cannot be found again (`otherwise` says what to do then).
    """
    parts_read = find(spec, config.trust_remote_code)
    tables, read = parts_read.tables, dict[str, str]()
    # What labels or texts are read from otherwise (several columns, say) is found by no usual name.
    with suppress(UsageError):
        read = find_columns(tables, parts_read.spec, parts_read.where)
    for column in columns:
        refuse_read(column, read)
    of_parts = []
    for part, rows in parts:
        # What a study holds out, or tests on where its data has no such part, are rows of the train part.
        table = tables.get(part, tables["train"])
        if rows.number is None:
            raise UsageError(f"{spec.path}: its rows cannot be found again by number{otherwise}.")
        for column in columns:
            if column not in table.column_names:
                raise UsageError(
                    f"{spec.path} has no column '{column}' for {asked}{nearest(column, table.column_names)}"
                )
        values = {column: table[column].to_pylist() for column in columns}
        of_parts.append({column: [own[int(number) - 1] for number in rows.number] for column, own in values.items()})
    return of_parts
