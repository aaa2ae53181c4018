"""Interactions of a file, one by one: its dialogues, or its texts where it holds none."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from afina.corpus.lines import Source
from afina.corpus.stream import read_rows
from afina.data.columns import find_label
from afina.data.dialogues.conversations import interactions, transcripts
from afina.data.dialogues.forms import Columns, string
from afina.data.dialogues.interaction import Interaction, RawRow
from afina.data.dialogues.speakers import Speakers
from afina.data.files.compression import format_of
from afina.data.names import EITHER_PAIRS, PAIRS, usual_pair

__all__ = ["Reading", "read_interactions"]

_PEEK = 200
"""First rows by which it is told what a file holds."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Says how a file's rows are read, as far as they do not say it themselves."""

    speakers: Speakers = field(default_factory=Speakers)
    """Who asks and who answers in transcripts."""
    columns: Columns = field(default_factory=Columns)
    """Which columns mean what."""
    plain: bool | None = None
    """Whether rows are texts as they are, or dialogues; None leaves it to the first rows."""

    @classmethod
    def of(cls, speakers: Speakers | None, columns: Columns | None, plain: bool | None) -> "Reading":
        """Make it of what a person said, which may be nothing."""
        return cls(speakers=speakers or Speakers(), columns=columns or Columns(), plain=plain)


def read_interactions(source: Source, how: Reading | None = None) -> Iterator[Interaction]:
    """Yield a file's interactions one by one.

    Unless it is said, a file whose first rows have no form of dialogue is taken for one of texts. What cannot be read comes
    with its `problem` set; raises `UsageError` only for what concerns the whole file.
    """
    how = how or Reading()
    speakers, columns, plain = how.speakers, how.columns, how.plain
    columns = columns if plain else _columns_meant(Source(source.path, source.longest_line), columns, speakers)
    if plain is not False:
        texts = _read(source, speakers, columns, plain=True)
        if plain:
            yield from texts
            return
        first = list(islice(_read(Source(source.path, source.longest_line), speakers, columns, plain=False), _PEEK))
        # What has a form of dialogues and cannot be read (nobody knows who answers) is no file of texts.
        if all(row.problem and row.form in ("text", "transcript") for row in first):
            yield from texts
            return
    yield from _read(source, speakers, columns, plain=False)


def _columns_meant(source: Source, columns: Columns, speakers: Speakers) -> Columns:
    """Return the columns with those pairs among them whose names may be a text's and its label's, if rows show a pair.

    Labels come again and again, and beside a column of labels a second text is a headline.
    """
    first = next((row.values for row in read_rows(source) if not row.problem), {})
    names = [str(name) for name in first]
    pair = usual_pair(names, EITHER_PAIRS)
    if pair is None or columns.text or columns.label or find_label([name for name in names if name != pair[1]]):
        return columns
    answers: Counter[int] = Counter()
    for row in islice(read_rows(Source(source.path, source.longest_line)), _PEEK):
        if not answers and speakers.dialogues(string(row.values.get(pair[0]))):
            return columns
        if not row.problem:
            answers[hash(str(row.values.get(pair[1])))] += 1
    labels = 2 * len(answers) <= answers.total()
    return columns if labels else replace(columns, pairs=(*PAIRS, *EITHER_PAIRS))


def _read(source: Source, speakers: Speakers, columns: Columns, *, plain: bool) -> Iterator[Interaction]:
    rows = read_rows(source)
    if format_of(source.path) == ".txt":
        yield from _texts(rows) if plain else transcripts(rows, speakers, source.seen)
        return
    yield from interactions(rows, str(source.path), speakers, columns, source.seen, plain=plain)


def _texts(rows: Iterator[RawRow]) -> Iterator[Interaction]:
    for row in rows:
        text = row.values.get("line", row.values.get("unread"))
        if row.problem or text.strip():
            yield Interaction(place=row.place, text=text, problem=row.problem)
