"""The test rows of a study's data sets, kept in its folder so that wrong answers can be read beside what was asked."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from afina.data.rows import TextDataset
from afina.whole_file import whole_file

__all__ = ["TestRows", "read_test_rows", "write_test_rows"]

_LONGEST = 2000
"""Letters of a text that are kept: enough to see why an answer is wrong."""


@dataclass(frozen=True)
class TestRows:
    """Texts of the test split, in its order, cut to what a person reads."""

    text: list[str]
    text_pair: list[str] | None
    number: list[int] | None = None
    """Each row's number in its file, from 1."""

    def shown(self, item: int) -> str:
        """Return a row's text, with its second one behind a bar."""
        pair = "" if self.text_pair is None else f" | {self.text_pair[item]}"
        return self.text[item] + pair


def _path(directory: Path, digest: str) -> Path:
    # Sixteen letters of a digest tell data sets of one study apart, and leave a path that every system takes.
    return directory / "cache" / f"test-{digest[:16]}.parquet"


def write_test_rows(directory: Path, data: TextDataset) -> None:
    """Keep a data set's test rows, where they have texts and one answer each, with their numbers in the file of now."""
    rows, path = data.test, _path(directory, data.digest)
    if rows.pixels is not None or rows.words is not None:
        return
    import pyarrow as arrow
    from pyarrow import parquet

    columns = {"item": np.arange(len(rows)), "text": _cut(rows.text)}
    if rows.text_pair is not None:
        columns["text_pair"] = _cut(rows.text_pair)
    if rows.number is not None:
        columns["row"] = rows.number
    with whole_file(path) as partial:
        parquet.write_table(arrow.table(columns), partial, compression="zstd")


def _cut(texts: list[str]) -> list[str]:
    # Half of a surrogate pair, which a text may end with, is no UTF-8.
    short = (text if len(text) <= _LONGEST else text[:_LONGEST] + "…" for text in texts)
    return [text.encode("utf-8", "replace").decode() for text in short]


def read_test_rows(directory: Path, digest: str, rows: int) -> TestRows | None:
    """Return the kept test rows; None where they are gone, damaged, or not so many: then no text is shown."""
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(_path(directory, digest))
        columns = {name: table[name].to_pylist() for name in ("text", "text_pair") if name in table.column_names}
        numbers = table["row"].to_pylist() if "row" in table.column_names else None
    except (OSError, ValueError, pyarrow.ArrowException):
        return None
    # A file of another length belongs to other rows, and text beside the wrong answer is worse than none.
    if table.num_rows != rows or not all(isinstance(text, str) for own in columns.values() for text in own):
        return None
    number = numbers if numbers and all(isinstance(value, int) for value in numbers) else None
    return TestRows(columns["text"], columns.get("text_pair"), number) if "text" in columns else None
