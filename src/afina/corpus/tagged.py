"""Read a file of tagged words as a study reads it, a sentence a row, where it shows by itself that it holds any.

Such files are read as a whole, in any form that `task: tagging` takes (data/labels/tag_forms.py).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as arrow

from afina.corpus.lines import SourceFile
from afina.corpus.reading import Reading, read_interactions
from afina.corpus.stream import read_rows
from afina.data.columns import ROW
from afina.data.dialogues.forms import Columns
from afina.data.dialogues.interaction import Interaction, beginning_of
from afina.data.files.compression import format_of
from afina.data.files.literals import parsed_text
from afina.data.files.tables import LINE, read_table, same_label_names
from afina.data.labels.tags import find_tagged, is_tagged, tables_of_lists
from afina.data.names import SPANS, TAG, TAGS, WORD, WORDS, plain_names
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError

__all__ = ["read_inspected"]


def read_inspected(source: SourceFile, how: Reading | None = None) -> Iterator[Interaction]:
    """Yield a file's interactions, or its sentences where it holds tagged words and nobody says that it holds others."""
    table = None
    if how is None or (how.plain is None and how.columns == Columns()):
        table = _tagged(source)
    return read_interactions(source, how) if table is None else _sentences(source, table)


def _tagged(source: SourceFile) -> arrow.Table | None:
    """Return a file of tagged words as a table; None for any other, of which the first rows alone are looked at."""
    # What is noticed here is noticed again where the file is read.
    again = SourceFile(source.path, source.longest_line)
    first = [row.values for row in beginning_of(read_rows(again)) if not row.problem]
    if format_of(source.path) == ".txt":
        lines = arrow.table({LINE: [str(values.get("line") or "") for values in first]})
        likely = bool(first) and is_tagged({"train": lines})
    else:
        likely = bool(first) and _may_have_tags(first[0])
    if not likely:
        return None
    try:
        table = read_table(source.path, [], lines=True)
    except UsageError:  # row by row it is told which cannot be read
        return None
    return table if is_tagged({"train": table}) else None


def _may_have_tags(values: Mapping[str, Any]) -> bool:
    """Return whether the first row's columns have names and values of a form of tagged words."""
    known = plain_names([str(name) for name in values])
    if any(name in known for name in WORD) and any(name in known for name in TAG):
        return True
    lists = (values[known[name]] for name in (*WORDS, *TAGS, *SPANS) if name in known)
    return any(isinstance(parsed_text(own)[0] if isinstance(own, str) else own, list | dict) for own in lists)


def _sentences(source: SourceFile, table: arrow.Table) -> Iterator[Interaction]:
    path, notes = str(source.path), list[str]()
    if ROW not in table.column_names:
        table = table.append_column(ROW, arrow.array(range(1, table.num_rows + 1)))
    tables, spec = tables_of_lists({"train": table}, DatasetSpec(path=path), lambda split: path, notes)
    words, tags = find_tagged(tables, spec, path)
    names = same_label_names({path: tables["train"]}, tags, path)
    rows = zip(*(tables["train"][name].to_pylist() for name in (words, tags, ROW)), strict=True)
    form = next(iter(notes), "tagged words")
    for pieces, marks, number in rows:
        named = [
            names[mark] if names and isinstance(mark, int) and mark < len(names) else str(mark) for mark in marks or ()
        ]
        text = " ".join(str(piece) for piece in pieces or ())
        yield Interaction(place=f"row {number}", text=text, tags=named, form=form)
