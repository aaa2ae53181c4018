"""Data sets that are Python objects: frames, tables, lists and dicts become the files that a study's workers read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as arrow

from afina.data.files.tables import table_of
from afina.data.sources.layouts import part_named
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.whole_file import whole_file, write_text

__all__ = ["from_objects", "is_objects", "tables_of"]

_MARK = ".afina"
"""Stands beside tables that were written here, which may be written over; those without it are a person's."""
_KINDS = (
    "a pandas or polars DataFrame, a datasets.Dataset or DatasetDict, a pyarrow Table, {column: values}, a list of dicts, "
    "(texts, labels) or (texts, second texts, labels), or {'train': ..., 'test': ...} of these"
)


def is_objects(value: Any) -> bool:
    """Return whether a data set is given as objects, not by a name, a path or the keys of one."""
    if isinstance(value, Mapping):
        # A path that is a value and no text is a data set by itself, with keys beside it.
        return not isinstance(value.get("path"), (str, Path)) if "path" in value else True
    return not isinstance(value, (str, Path, DatasetSpec))


def from_objects(value: Any, folder: Path, *, name: str = "data") -> DatasetSpec:
    """Write a data set of objects into `folder/name`, a parquet file a part, and return the spec that reads it again.

    {'path': OBJECTS, 'text': ..., 'label': ...} says which columns mean what, as a study file does. Equal objects give equal
    files, so that a study goes on. Raises `UsageError` for what is no data set, and where the folder holds tables that no
    such call wrote.
    """
    keys: dict[str, Any] = {}
    if isinstance(value, Mapping) and "path" in value:
        keys = {str(key): own for key, own in value.items() if key != "path"}
        value = value["path"]
    tables = tables_of(value)
    target = folder / str(keys.get("name", name))
    # A name is a folder below the study's, and not a way out of it.
    if not target.resolve().is_relative_to(folder.resolve()) or target.resolve() == folder.resolve():
        raise UsageError(f"The data set's name '{keys['name']}' leads out of the study's folder; give it a plain one.")
    before, mark = set(target.glob("*.parquet")), target / _MARK
    if before and not mark.exists():
        raise UsageError(f"{min(before)} is no table of a study's; choose another folder, or move it away.")
    write_text(mark, "")
    for part, table in tables.items():
        _write(target / f"{part}.parquet", table)
    # Parts of an earlier call that are no part of this one would be read again.
    for stale in before - {target / f"{part}.parquet" for part in tables}:
        stale.unlink()
    spec: DatasetSpec = DatasetSpec.parse({"name": target.name, **keys, "path": str(target)}, "dataset")
    return spec


def _write(path: Path, table: arrow.Table) -> None:
    from pyarrow import parquet

    with whole_file(path) as partial:
        parquet.write_table(table, partial)


def tables_of(value: Any) -> dict[str, arrow.Table]:
    """Return the parts of a data set of objects as tables; raises `UsageError` for what is none."""
    if isinstance(value, Mapping) and value and all(part_named(str(key)) for key in value) and not _columns(value):
        parts: dict[str, arrow.Table] = {}
        for key, rows in value.items():
            part = part_named(str(key))
            assert part is not None
            if part in parts:
                raise UsageError(f"The data set has two {part} parts; one of them is '{key}'.")
            parts[part] = _table(rows, f"the {key} part")
        if "train" not in parts:
            raise UsageError(f"The data set has no train part, but {', '.join(map(str, value))}.")
        if "test" not in parts and "validation" in parts:
            # As folders are read: tested on its validation part where there is no test part.
            parts["test"] = parts.pop("validation")
        return parts
    return {"train": _table(value, "the data set")}


def _columns(value: Mapping[Any, Any]) -> bool:
    """Return whether a dict's values are columns of plain values, whatever they are called."""
    return all(
        _sequence(own) and not isinstance(own, tuple) and len(own) > 0 and isinstance(own[0], (str, int, float))
        for own in value.values()
    )


def _table(value: Any, what: str) -> arrow.Table:
    converted = _converted(value, what)
    if converted.num_rows == 0:
        raise UsageError(f"{what[0].upper()}{what[1:]} has no rows.")
    if len(set(converted.column_names)) < len(converted.column_names):
        raise UsageError(
            f"{what[0].upper()}{what[1:]} has two columns of the same name ({', '.join(converted.column_names)})."
        )
    return converted


def _converted(value: Any, what: str) -> arrow.Table:
    library = type(value).__module__.split(".")[0]
    if isinstance(value, arrow.Table):
        return value
    if library == "pandas" and hasattr(value, "columns"):
        return _of_columns(
            {name: value.iloc[:, at] for at, name in enumerate(value.columns)}, list(value.columns), what
        )
    if library == "polars" and hasattr(value, "to_arrow"):
        return value.lazy().collect().to_arrow() if not hasattr(value, "height") else value.to_arrow()
    if library == "datasets" and hasattr(value, "with_format") and hasattr(value, "num_rows"):
        # The features' names of labels are in the schema's metadata.
        return value.with_format("arrow")[:].replace_schema_metadata(value.features.arrow_schema.metadata)
    if isinstance(value, Mapping) and value and all(map(_sequence, value.values())):
        return _of_columns(value, list(value), what)
    if isinstance(value, tuple) and len(value) in (2, 3) and all(map(_sequence, value)):
        names = ("text", "label") if len(value) == 2 else ("text", "text_pair", "label")
        return _of_columns(dict(zip(names, value, strict=True)), list(names), what)
    if _sequence(value) and len(value) and all(isinstance(row, Mapping) for row in value):
        return table_of(list(value))
    raise UsageError(f"{what[0].upper()}{what[1:]} is {_described(value)}; give {_KINDS}.")


def _described(value: Any) -> str:
    kind = type(value)
    return (
        f"a {kind.__name__}" if kind.__module__ == "builtins" else f"a {kind.__module__.split('.')[0]}.{kind.__name__}"
    )


def _sequence(value: Any) -> bool:
    if isinstance(value, (str, bytes, Mapping)):
        return False
    return isinstance(value, Sequence) or (
        # Arrays of one axis are columns, others are data sets of their own.
        hasattr(value, "tolist") and getattr(value, "ndim", 1) == 1 and hasattr(value, "__len__")
    )


def _of_columns(columns: Mapping[Any, Any], names: list[Any], what: str) -> arrow.Table:
    lengths = {str(name): len(own) for name, own in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name}: {length:,}" for name, length in lengths.items())
        raise UsageError(f"{what[0].upper()}{what[1:]} has columns of different lengths ({listed}).")
    if len({str(name) for name in names}) < len(names):
        raise UsageError(
            f"{what[0].upper()}{what[1:]} has two columns of the same name ({', '.join(map(str, names))})."
        )
    return arrow.table({str(name): _array(own) for name, own in columns.items()})


def _array(values: Any) -> arrow.Array:
    """Return values as a column; what is not a number (NaN) is missing, and a column of several types becomes text."""
    if type(values).__module__.split(".")[0] == "pandas":
        try:
            array = arrow.Array.from_pandas(values)
            return array.combine_chunks() if isinstance(array, arrow.ChunkedArray) else array
        except (arrow.ArrowException, OverflowError):
            # Only a number that is none is unlike itself.
            values = [None if value != value else value for value in values.tolist()]
    plain = values.tolist() if hasattr(values, "tolist") else list(values)
    return table_of([{"": None if value != value else value} for value in plain])[""].combine_chunks()
