"""The forms in which people keep tagged words, each made into a list of words and a list of tags a row.

Lists are read as they are (tags.py). Here are CoNLL's lines, rows of one word (Kaggle), spans of a text (doccano), and lists
that are written out as text.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as arrow

from afina.data.columns import ROW
from afina.data.files.literals import parsed_text
from afina.data.files.tables import LINE
from afina.data.names import DOCUMENTS, SENTENCES, SPANS, TAG, TAGS, TRANSCRIPTS, WORD, WORDS, plain_names
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError, likewise

__all__ = ["has_tagged_form", "listed_words", "renamed_tags"]

_PIECES = re.compile(r"\w+|[^\w\s]")

Form = Callable[[arrow.Table, DatasetSpec, str, list[str]], arrow.Table | None]


def listed_words(table: arrow.Table, spec: DatasetSpec, place: str, notes: list[str]) -> arrow.Table:
    """Return a table with a column of words and one of tags; the table itself where it has none of the forms."""
    return next((found for form in FORMS if (found := form(table, spec, place, notes)) is not None), table)


def has_tagged_form(table: arrow.Table) -> bool:
    """Return whether a table shows by itself that it has tagged words."""
    if LINE in table.column_names:
        # A beginning tells; a corpus may have millions of lines.
        return _is_conll(_lines(table)[:200])
    known = _known(table)
    if _first(known, WORD) and _first(known, TAG) and _first(known, SENTENCES):
        return True
    if _text_and_spans(table) is not None:
        return True
    texts = [_first(known, names) for names in (WORDS, TAGS)]
    # Lists as text show at the first row already.
    return all(name is not None and isinstance(_parsed(table[name][0].as_py()), list) for name in texts)


def _known(table: arrow.Table) -> dict[str, str]:
    """Return the columns of texts or numbers by their plain names."""
    # Nested columns are lists already, which another reader takes.
    flat = [field.name for field in table.schema if not arrow.types.is_nested(field.type) and field.name != ROW]
    return plain_names(flat)


def _first(known: dict[str, str], usual: Iterable[str]) -> str | None:
    return next((known[name] for name in usual if name in known), None)


def _made(words: Sequence[Any], tags: Sequence[Any], rows: Sequence[int]) -> arrow.Table:
    return arrow.table({WORDS[0]: list(words), TAGS[0]: list(tags), ROW: arrow.array(rows, type=arrow.int64())})


# -- CoNLL -----------------------------------------------------------------------------------------------------------


def _lines(table: arrow.Table) -> list[str]:
    return [line or "" for line in table[LINE].to_pylist()]


def _fields(line: str) -> list[str]:
    # Tabs where there are any, as a word may hold a space then.
    return line.split("\t") if "\t" in line else line.split()


def _is_conll(lines: Sequence[str]) -> bool:
    filled = [_fields(line) for line in lines if line.strip() and not line.startswith(("-DOCSTART-", "# "))]
    if not filled or len(filled[0]) < 2:
        return False
    # Nine lines of ten with as many columns, the last of which look like tags: a text of prose does not.
    same = sum(len(fields) == len(filled[0]) for fields in filled)
    tags = all(re.fullmatch(r"O|[A-Z]+|[BIESLU][-_].+", fields[-1]) for fields in filled)
    return 10 * same >= 9 * len(filled) and tags and not any(" " in fields[0] for fields in filled)


def _conll(table: arrow.Table, spec: DatasetSpec, place: str, notes: list[str]) -> arrow.Table | None:
    """Read a word and its tag a line, first and last of 2 or more columns, and a blank line behind each sentence."""
    if LINE not in table.column_names:
        return None
    words: list[list[str]] = [[]]
    tags: list[list[str]] = [[]]
    starts: list[int] = [1]
    width = 0
    wrong: list[tuple[int, str, int]] = []
    for number, line in enumerate(_lines(table), start=1):
        if not line.strip() or line.startswith("-DOCSTART-"):
            if words[-1]:
                # Blank lines may follow one another, and make no empty sentence.
                words, tags, starts = [*words, []], [*tags, []], [*starts, 0]
            continue
        if line.startswith("# "):  # what CoNLL-U says of a sentence
            continue
        fields = _fields(line)
        # The first line sets the width, to which all others are held.
        width = width or len(fields)
        if len(fields) != width or width < 2:
            wrong.append((number, line, len(fields)))
            continue
        if not words[-1]:
            starts[-1] = number

        # CoNLL-U numbers its words in the first of ten columns.
        first, last = (1, 3) if width == 10 and fields[0].split("-")[0].isdigit() else (0, -1)
        words[-1].append(fields[first])
        tags[-1].append(fields[last])
    if wrong:
        wanted = f"the lines before have {width}" if width > 1 else "a word and its tag are wanted"
        others = likewise([(f"line {number}", repr(line[:60])) for number, line, _ in wrong])
        number, line, columns = wrong[0]
        raise UsageError(f"{place}, line {number}: {columns} columns where {wanted} ({line[:60]!r}){others}.")
    # A blank line at the end leaves a sentence without words.
    if not words[-1]:
        words, tags, starts = words[:-1], tags[:-1], starts[:-1]
    if not words:
        raise UsageError(f"{place}: no line has a word and its tag.")
    kind = "the second and fourth of 10 columns (CoNLL-U)" if width == 10 else f"the first and last of {width} columns"
    notes.append(f"words and tags are {kind}: {len(words):,} sentences")
    return _made(words, tags, range(1, len(words) + 1))


# -- a word a row ----------------------------------------------------------------------------------------------------


def _word_rows(table: arrow.Table, spec: DatasetSpec, place: str, notes: list[str]) -> arrow.Table | None:
    """Read rows of one word, with the number of its sentence, which may stand at the first word alone (Kaggle)."""
    known = _known(table)
    word, tag, sentence = (_first(known, usual) for usual in (WORD, TAG, (*SENTENCES, *DOCUMENTS)))
    if word is None or tag is None or spec.text not in (None, word) or spec.label not in (None, tag):
        return None
    if sentence is None:
        raise UsageError(
            f"{place} has a word a row (column '{word}') and no column that says which words are one sentence; name it "
            f"sentence_id ({', '.join(name for name in table.column_names if name != ROW)})."
        )
    words: list[list[str]] = []
    tags: list[list[str]] = []
    starts: list[int] = []
    current: Any = None
    numbers = table[ROW].to_pylist() if ROW in table.column_names else range(1, table.num_rows + 1)
    columns = (table[name].to_pylist() for name in (word, tag, sentence))
    untagged: list[tuple[str, str]] = []
    for piece, mark, of, row in zip(*columns, numbers, strict=True):
        # Some programs write an empty row between sentences.
        if piece is None and mark is None:
            continue
        if mark is None:
            untagged.append((f"row {row}", repr(piece)))
            continue

        # Kaggle's set names a sentence at its first word alone.
        if not words or (of is not None and of != current):
            words.append([])
            tags.append([])
            starts.append(row)
        # The sentence's number goes on until another is named.
        current = current if of is None else of
        words[-1].append("" if piece is None else str(piece))
        tags[-1].append(str(mark))
    if untagged:
        row, piece = untagged[0]
        raise UsageError(f"{place}, {row}: the word {piece} has no tag{likewise(untagged)}.")
    notes.append(f"{table.num_rows:,} rows of one word each are {len(words):,} sentences by column '{sentence}'")
    return _made(words, tags, starts)


# -- spans -----------------------------------------------------------------------------------------------------------


def _spanned(table: arrow.Table, spec: DatasetSpec, place: str, notes: list[str]) -> arrow.Table | None:
    """Read texts with spans, [[start, end, type], ...] or objects of start, end and label (doccano, spaCy, Prodigy)."""
    names = _text_and_spans(table, spec.text, spec.label)
    if names is None:
        return None
    text, column, spans = names
    numbers = table[ROW].to_pylist() if ROW in table.column_names else range(1, table.num_rows + 1)
    words, tags = [], []
    for whole, marked, row in zip(table[text].to_pylist(), spans, numbers, strict=True):
        pieces, marks = _tagged_pieces(str(whole or ""), marked or [], f"{place}, row {row}")
        words.append(pieces)
        tags.append(marks)
    notes.append(f"spans in column '{column}' are tags of words now, with punctuation apart from them")
    return _made(words, tags, numbers)


def _text_and_spans(
    table: arrow.Table, text: str | None = None, column: str | None = None
) -> tuple[str, str, list[list[tuple[int, int, str]]]] | None:
    """Return the columns of texts and of their spans, and the spans; None where each row's are not spans."""
    known = plain_names(table.column_names)
    text = text or _first(known, (*TRANSCRIPTS, "data"))
    column = column or _first(known, SPANS)
    if text not in table.column_names or column not in table.column_names:
        return None
    assert text is not None and column is not None
    read = [_spans(_parsed(value)) for value in table[column].to_pylist()]
    spans = [own for own in read if own is not None]
    # Every row's have to be spans: a column of labels may hold a list by chance.
    return (text, column, spans) if any(spans) and len(spans) == len(read) else None


def _spans(value: Any) -> list[tuple[int, int, str]] | None:
    if value is None or value == []:
        return []
    if isinstance(value, dict) and isinstance(value.get("entities"), list):
        value = value["entities"]
    if not isinstance(value, list):
        return None
    spans = []
    for span in value:
        if isinstance(span, dict):
            kind = span.get("label", span.get("type", span.get("labels")))
            # Label Studio has a list of one label.
            kind = kind[0] if isinstance(kind, list) and len(kind) == 1 else kind
            start, end = span.get("start", span.get("start_offset")), span.get("end", span.get("end_offset"))
        elif isinstance(span, list | tuple) and len(span) == 3:
            start, end, kind = span
        else:
            return None
        if not (isinstance(start, int) and isinstance(end, int) and isinstance(kind, str)):
            return None
        spans.append((start, end, kind))
    # In the text's order, as a word's first span is what another would overlap.
    return sorted(spans)


def _tagged_pieces(text: str, spans: Sequence[tuple[int, int, str]], place: str) -> tuple[list[str], list[str]]:
    pieces = [(match.start(), match.end()) for match in _PIECES.finditer(text)]
    tags = ["O"] * len(pieces)
    for start, end, kind in spans:
        if not 0 <= start < end <= len(text):
            raise UsageError(
                f"{place}: the span {start} to {end} ({kind}) is none in a text of {len(text)} characters."
            )

        # Spans that take a space at their ends in are still those words'.
        marked = text[start:end]
        first, last = start + len(marked) - len(marked.lstrip()), end - len(marked) + len(marked.rstrip())
        inside = [index for index, (a, b) in enumerate(pieces) if a < last and b > first]
        if not inside or pieces[inside[0]][0] != first or pieces[inside[-1]][1] != last:
            cut = next((text[a:b] for a, b in pieces if a < first < b or a < last < b), marked)
            raise UsageError(
                f"{place}: the span {start} to {end} ({marked!r}, {kind}) cuts the word {cut!r}; spans begin and end with "
                "words."
            )
        if any(tags[index] != "O" for index in inside):
            raise UsageError(
                f"{place}: the span {start} to {end} ({marked!r}, {kind}) overlaps another; a word has one tag."
            )
        # BIO, which every tagger reads; the type stays as it was named.
        for index in inside:
            tags[index] = f"{'B' if index == inside[0] else 'I'}-{kind}"
    return [text[start:end] for start, end in pieces], tags


# -- lists as text ---------------------------------------------------------------------------------------------------


def _parsed(value: Any) -> Any:
    """Return a value, or the list that a text writes out; None for a text that is none."""
    return parsed_text(value)[0] if isinstance(value, str) else value


def _as_text(table: arrow.Table, spec: DatasetSpec, place: str, notes: list[str]) -> arrow.Table | None:
    """Read lists that are written out as text, by JSON, Python or numpy, or with spaces between."""
    known = _known(table)
    columns = [spec.text or _first(known, WORDS), spec.label or _first(known, TAGS)]
    if any(name not in known.values() for name in columns):
        return None
    lists = [[_parsed(value) for value in table[name].to_pylist()] for name in columns]
    # One that cannot be read as a list may be words with spaces between.
    if all(isinstance(own, list) for column in lists for own in column):
        notes.append(f"the lists in columns '{columns[0]}' and '{columns[1]}' are written as text")
    elif unread := _unread(table, columns, lists):
        raise UsageError(f"{place}, {unread}")
    else:
        lists = [[str(value or "").split() for value in table[name].to_pylist()] for name in columns]
        # As many tags as words in each row, or it is prose.
        if any(len(words) != len(tags) for words, tags in zip(*lists, strict=True)) or max(map(len, lists[1])) < 2:
            return None
        notes.append(f"words and tags in columns '{columns[0]}' and '{columns[1]}' have spaces between them")
    tags = [[tag if isinstance(tag, int) else str(tag) for tag in own] for own in lists[1]]
    numbers = table[ROW].to_pylist() if ROW in table.column_names else range(1, table.num_rows + 1)
    return _made([[str(word) for word in own] for own in lists[0]], tags, numbers)


def _unread(table: arrow.Table, columns: Sequence[str | None], lists: Sequence[Sequence[Any]]) -> str:
    """Say which value begins as a list does and is none; nothing where there is no such value."""
    for name, parsed in zip(columns, lists, strict=True):
        for row, (value, listed) in enumerate(zip(table[name].to_pylist(), parsed, strict=True), start=1):
            if isinstance(value, str) and listed is None and value.lstrip().startswith(("[", "(")):
                return f"row {row}: column '{name}' holds {value[:60]!r}, no list that can be read; write lists as JSON does."
    # Nothing begins as a list, so that nothing is wrong with it as one.
    return ""


FORMS: tuple[Form, ...] = (_conll, _word_rows, _spanned, _as_text)
"""One function a form; the first that knows a table makes lists of it."""


# -- schemes ---------------------------------------------------------------------------------------------------------

_UNDERSCORE = re.compile(r"([BIESLU])_(.+)")
_BILOU = re.compile(r"O|[BILU]-.+")


def renamed_tags(names: Iterable[str], notes: list[str]) -> dict[str, str]:
    """Return tags by their names in BIO or BIOES: `B_LOC` as `B-LOC`, BILOU's `U-` and `L-` as `S-` and `E-`."""
    renamed = {name: name for name in names}
    # Two names at least: one alone may have an underscore for another reason.
    if all(name == "O" or _UNDERSCORE.fullmatch(name) for name in renamed) and len(renamed) > 1:
        renamed = {name: _UNDERSCORE.sub(r"\1-\2", name) for name in renamed}
        notes.append("tags such as B_X are read as B-X")
    results = set(renamed.values())
    # `U` or `L` shows BILOU; B and I alone are BIO's too.
    if any(tag.startswith(("U-", "L-")) for tag in results) and all(map(_BILOU.fullmatch, results)):
        renamed = {name: {"U-": "S-", "L-": "E-"}.get(tag[:2], tag[:2]) + tag[2:] for name, tag in renamed.items()}
        notes.append("tags are BILOU's, read as BIOES: U- is S-, L- is E-")
    return renamed
