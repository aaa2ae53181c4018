"""Interactions of a file, one by one: its dialogues, or its texts where it holds none."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from afina.corpus.lines import SourceFile
from afina.corpus.stream import read_rows
from afina.data.columns import find_label
from afina.data.dialogues.conversations import interactions, transcripts
from afina.data.dialogues.forms import NO_FORM, Columns, string
from afina.data.dialogues.interaction import Interaction, RawRow, beginning_of
from afina.data.dialogues.speakers import Speakers, other_speakers
from afina.data.dialogues.whatsapp import is_whatsapp
from afina.data.files.compression import format_of
from afina.data.names import EITHER_PAIRS, PAIRS, TOOLS, plain_name, usual_pair
from afina.errors import UsageError

__all__ = ["Reading", "read_interactions", "settled"]

_MOST, _FEW = 0.5, 0.1
"""Shares of rows with a form of dialogue from which on a file holds dialogues, and up to which it holds texts."""
_MARKED, _STRAY = 1 / 3, 0.05
"""The same for marked lines of a text file, whose turns may go on over many lines."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Says how a file's rows are read, as far as they do not say it themselves."""

    speakers: Speakers = field(default_factory=Speakers)
    """Names of those who ask and who answer in transcripts."""
    columns: Columns = field(default_factory=Columns)
    """Columns by meaning, where a person named them."""
    plain: bool | None = None
    """True for rows that are texts as they are, False for dialogues; None leaves it to the first rows."""

    @classmethod
    def of(cls, speakers: Speakers | None, columns: Columns | None, plain: bool | None) -> "Reading":
        """Make it of what a person said, which may be nothing."""
        return cls(speakers=speakers or Speakers(), columns=columns or Columns(), plain=plain)


def read_interactions(source: SourceFile, how: Reading | None = None) -> Iterator[Interaction]:
    """Yield a file's interactions one by one.

    What cannot be read comes with its `problem` set; raises `UsageError` only for what concerns the whole file.
    """
    unsaid = how is None or how.plain is None
    how = settled(source, how)
    beside: Counter[str] = Counter()
    marked = 0
    for row in _read(source, how.speakers, how.columns, plain=bool(how.plain)):
        if not row.problem:
            # Tools stand in `extra` too, and are read.
            beside.update(name for name in row.extra if not row.tools or plain_name(name) not in TOOLS)
        # Marks in texts are counted only where nobody said that these are texts.
        marked += unsaid and bool(how.plain) and _is_marked(row.text or "", how.speakers)
        yield row
    if marked:
        source.seen["texts with a speaker's mark at the start of a line, read as texts (--dialogues reads turns)"] = (
            marked
        )
    if beside:
        names = ", ".join(f"'{name}'" for name in beside)
        what = f"rows with columns beside those that are read, which stand in 'extra' afterwards: {names}"
        # A column may be missing in some rows; the most frequent one says how many rows have any.
        source.seen[what] += max(beside.values())


def settled(source: SourceFile, how: Reading | None = None) -> Reading:
    """Return how a file is read, with what was left to its rows decided by the first of them.

    What is decided although some rows speak against it is counted in `source.seen`. Raises `UsageError` where as good as
    as many rows are texts as are dialogues.
    """
    how = how or Reading()
    # What a person says is not questioned.
    if how.plain:
        return how
    columns = _columns_meant(source, how.columns, how.speakers)
    if how.plain is None:
        is_text_file = format_of(source.path) == ".txt"
        plain = (
            _lines_are_texts(source, how.speakers) if is_text_file else _rows_are_texts(source, how.speakers, columns)
        )
        how = replace(how, plain=plain)
    return how if how.plain else replace(how, columns=columns)


def _again(source: SourceFile) -> SourceFile:
    """Return the same file, to be looked at without counting what is noticed."""
    # A counter of its own: the rows come again when the file is read.
    return SourceFile(source.path, source.longest_line)


def _rows_are_texts(source: SourceFile, speakers: Speakers, columns: Columns) -> bool:
    """Return whether a table's first rows are texts: hardly any of them has a form of dialogue."""
    # Rows are told apart by what they would be as dialogues, read from as many as take little memory.
    first = beginning_of(read_rows(_again(source)))
    rows = list(interactions(iter(first), str(source.path), speakers, columns, Counter()))

    # A row that no form fits, or whose text has no mark, is a text; one that is broken or empty says nothing.
    unmarked = [row.text or "" for row in rows if row.problem and row.form == "transcript" and (row.text or "").strip()]
    texts = len(unmarked) + sum(row.problem.startswith(NO_FORM) for row in rows)
    dialogues = [row.place for row in rows if row.form not in ("text", "transcript") or not row.problem]
    share = len(dialogues) / max(1, texts + len(dialogues))
    if not dialogues:
        _note_names(source, unmarked)
    if _FEW < share < _MOST:
        raise UsageError(_undecided(source, dialogues, texts, "rows"))
    if share >= _MOST and texts:
        what = f"of the first {len(first)} rows no dialogues; most are, and the file is read so (--plain reads texts)"
        source.seen[what] += texts
    return share < _MOST


def _lines_are_texts(source: SourceFile, speakers: Speakers) -> bool:
    """Return whether a text file's first lines are texts: hardly any of them says who speaks.

    A transcript's answers may go on over many lines, but its first line is marked, and both sides speak.
    """
    first = beginning_of(row for row in read_rows(_again(source)) if not row.problem)
    lines = {row.place: str(row.values["line"]) for row in first if str(row.values["line"]).strip()}
    # A conversation by WhatsApp is told by the times before its lines.
    if not lines or is_whatsapp(list(lines.values())):
        return not lines
    marked = [place for place, line in lines.items() if _is_marked(line, speakers)]
    share = len(marked) / len(lines)
    if not marked:
        _note_names(source, lines.values())
    # A transcript begins with somebody speaking, behind any line that only separates.
    begins = marked[:1] == [place for place, line in lines.items() if not speakers.separates(line)][:1]
    if share >= _MARKED or (begins and share >= _STRAY and _both_speak(lines.values(), speakers)):
        return False
    if share > _STRAY:
        raise UsageError(_undecided(source, marked, len(lines) - len(marked), "lines"))
    return True


def _undecided(source: SourceFile, marked: list[str], others: int, what: str) -> str:
    say = "say who speaks" if what == "lines" else "have a form of dialogue"
    count = len(marked) + others
    return (
        f"{source.path}: of its first {count} {what}, {len(marked)} {say} (the first: {marked[0]}) and {others} do not; read "
        "them as texts with --plain, or as dialogues with --dialogues (plain=True and plain=False in Python)."
    )


def _is_marked(text: str, speakers: Speakers) -> bool:
    return any(speakers.mark(line) is not None for line in speakers.lines(text))


def _both_speak(lines: Iterable[str], speakers: Speakers) -> bool:
    parts = [part for line in lines for part in speakers.lines(line)]
    return {"user", "assistant"} <= {mark[0] for part in parts if (mark := speakers.mark(part)) is not None}


def _note_names(source: SourceFile, texts: Iterable[str]) -> None:
    """Note names before colons, which may be speakers that are not known."""
    names = other_speakers([line for text in texts for line in text.split("\n")])
    # One name before a colon may be any word; two are a conversation.
    if len(names) > 1:
        listed = " and ".join(names)
        source.seen[f"names that may be speakers', {listed} (--user and --assistant make dialogues of them)"] = len(
            names
        )


def _columns_meant(source: SourceFile, columns: Columns, speakers: Speakers) -> Columns:
    """Return the columns with those pairs among them whose names may be a text's and its label's, if rows show a pair.

    Labels come again and again, and beside a column of labels a second text is a headline. Texts that are whole dialogues
    have no answer beside them.
    """
    rows = [row.values for row in beginning_of(read_rows(_again(source))) if not row.problem]
    names = [str(name) for name in rows[0]] if rows else []
    pair = usual_pair(names, EITHER_PAIRS)
    # Columns that a person named, or that are surely labels, leave nothing to tell.
    if pair is None or columns.text or columns.label or find_label([name for name in names if name != pair[1]]):
        return columns
    question, answer = pair
    dialogues = sum(bool(speakers.dialogues(string(values.get(question)))) for values in rows)
    # Texts that are dialogues themselves need no answer beside them.
    if 2 * dialogues > len(rows):
        return columns
    answers = {str(values.get(answer)) for values in rows}
    # Labels come twice on the average at least; answers hardly ever come again.
    labels = 2 * len(answers) <= len(rows)
    first = f"different values of '{answer}' in the first {len(rows)} rows, taken for"
    source.seen[
        f"{first} labels (--question {question} --answer {answer} reads them as answers)"
        if labels
        else f"{first} answers to '{question}' (--text {question} --label {answer} reads them as labels)"
    ] += len(answers)
    return columns if labels else replace(columns, pairs=(*PAIRS, *EITHER_PAIRS))


def _read(source: SourceFile, speakers: Speakers, columns: Columns, *, plain: bool) -> Iterator[Interaction]:
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
