"""Files of interactions in one form, parquet or JSON lines: `messages` as OpenAI's chat format has them, or `text`.

Beside it stand `label` (of texts that have one), `generated` (whether a model wrote the row), `source` (where it comes from)
and `extra` (columns that the file it comes from had besides, as JSON).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from afina.data.dialogues.interaction import Interaction
from afina.errors import UsageError
from afina.outputs import check_outputs

__all__ = ["OUTPUTS", "InteractionFile", "as_values", "check_output"]

OUTPUTS = (".parquet", ".jsonl")
_BATCH = 500
_LETTERS = 2 << 20
"""Rows, and letters in them, that are written at once."""


def check_output(path: Path, beside: Path, source: Path, *, force: bool = False) -> None:
    """Raise `UsageError` unless a result can be written to `path`, and what goes with it to `beside`."""
    if path.suffix.lower() not in OUTPUTS:
        raise UsageError(f"{path}: a result is written as {' or '.join(OUTPUTS)}, not '{path.suffix or path.name}'.")
    check_outputs((path, beside), (source,), force=force)


def as_values(row: Interaction, source: str, reason: str | None = None) -> dict[str, Any]:
    """Return a row by column."""
    return {
        "messages": [dict(message) for message in row.messages] or None,
        # A row is a dialogue or a text: the other column is empty.
        "text": row.text if not row.messages else None,
        "label": row.label,
        "generated": row.generated,
        "source": f"{source}, {row.place}",
        # As one text: columns beside differ from file to file, and a table has one set of them.
        "extra": json.dumps(row.extra, ensure_ascii=False, default=str, sort_keys=True) if row.extra else None,
    } | ({} if reason is None else {"reason": reason})


class InteractionFile:
    """Context manager that writes rows to an open path in batches; what is the same in all rows takes no column."""

    def __init__(self, path: Path, suffix: str, *, plain: bool, rejects: bool = False) -> None:
        """Take rows as texts with `plain`; `rejects` have both columns and a `reason`."""
        self.path, self.rows = path, 0
        # A reject may be of either kind, so that both columns are there.
        contents = ["messages", "text"] if rejects else ["text", "label"] if plain else ["messages"]
        self.columns = [*contents, "generated", "source", "extra", *(["reason"] if rejects else [])]
        self._waiting: list[Mapping[str, Any]] = []
        self._letters = 0
        self._parquet = suffix.lower() == ".parquet"
        self._details: list[str] = []
        """Fields of messages beside role and content, which a parquet file names in its schema."""
        self._file: Any = None

    def __enter__(self) -> "InteractionFile":
        if self._parquet:
            from pyarrow import parquet

            self._file = parquet.ParquetWriter(self.path, self._schema(), compression="zstd")
        else:
            self._file = self.path.open("w", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What broke off is thrown away with its file, and needs no last batch.
        if kind is None:
            self._flush()
        self._file.close()

    def write(self, values: Mapping[str, Any]) -> None:
        """Take a row's values by column (`as_values`)."""
        self._waiting.append(values)
        self.rows += 1
        self._letters += len(values["text"] or "") + sum(len(each["content"]) for each in values["messages"] or ())
        # By rows or by letters, as one dialogue may be as long as a book.
        if len(self._waiting) >= _BATCH or self._letters > _LETTERS:
            self._flush()

    def _schema(self) -> Any:
        import pyarrow as arrow

        message = [("role", arrow.string()), ("content", arrow.string())]
        kinds = {
            "messages": arrow.list_(arrow.struct([*message, *((name, _DETAILS[name]()) for name in self._details)])),
            "generated": arrow.bool_(),
        }
        return arrow.schema([(name, kinds.get(name, arrow.string())) for name in self.columns])

    def _flush(self) -> None:
        rows, self._waiting, self._letters = self._waiting, [], 0
        if not rows:
            return
        if self._parquet:
            # Only what some message has gets a place in the schema.
            self._widen({name for row in rows for message in row["messages"] or () for name in message} & set(_DETAILS))
            table = [{name: _as_text(_clean(row[name])) for name in self.columns} for row in rows]
            self._file.write_table(self._table(table, self._schema()))
            return
        for row in rows:
            # What is missing takes no place in a line.
            values = {name: row[name] for name in self.columns if row[name] is not None}
            if "extra" in values:
                values["extra"] = json.loads(values["extra"])
            self._file.write(json.dumps(_clean(values), ensure_ascii=False) + "\n")

    def _widen(self, keys: set[str]) -> None:
        """Make place for what messages have more than those before; what is written already is written again."""
        if keys <= set(self._details):
            return
        from pyarrow import parquet

        self._file.close()
        self._details = [name for name in _DETAILS if name in {*keys, *self._details}]
        # Under a name that is taken away with the other if the run is broken off.
        before = self.path.rename(self.path.with_name(f"{self.path.name.removesuffix('.part')}.narrow.part"))
        self._file = parquet.ParquetWriter(self.path, self._schema(), compression="zstd")
        try:
            with parquet.ParquetFile(before) as file:
                for batch in file.iter_batches(batch_size=_BATCH):
                    self._file.write_table(self._table(batch.to_pylist(), self._schema()))
        finally:
            before.unlink()

    @staticmethod
    def _table(rows: list[dict[str, Any]], schema: Any) -> Any:
        import pyarrow as arrow

        return arrow.Table.from_pylist(rows, schema=schema)


def _string() -> Any:
    import pyarrow as arrow

    return arrow.string()


def _number() -> Any:
    import pyarrow as arrow

    return arrow.int64()


_DETAILS = {"weight": _number, "tool_calls": _string, "tool_call_id": _string, "name": _string}
"""Fields that a message may have beside role and content, as a parquet file keeps them; tool calls are JSON text there."""


def _as_text(value: Any) -> Any:
    """Write calls of tools out as JSON text: as a column their arguments would all have one another's names."""
    if not isinstance(value, list):
        return value
    return [
        {**message, "tool_calls": json.dumps(message["tool_calls"], ensure_ascii=False)}
        if "tool_calls" in message
        else message
        for message in value
    ]


def _clean(value: Any) -> Any:
    """Replace halves of surrogate pairs, which no UTF-8 file can hold."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {name: _clean(part) for name, part in value.items()}
    return [_clean(part) for part in value] if isinstance(value, list) else value
