"""Interactions from rows of any known form: dialogues as lists of messages, or texts on their own.

Known are the forms of a row in `FORMS` (forms.py), rows that are one message each (trees.py), and text files of transcripts,
among them WhatsApp's (whatsapp.py).
"""

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from afina.data.columns import find_label, title_and_body
from afina.data.dialogues.forms import NO_MARKS, Columns, FoundDialogue, no_marks, read_dialogue, string
from afina.data.dialogues.interaction import Interaction, RawRow, beginning_of, dialogue_text
from afina.data.dialogues.speakers import Message, Speakers, Transcript
from afina.data.dialogues.trees import grouped_rows
from afina.data.dialogues.whatsapp import is_whatsapp, whatsapp_chats
from afina.data.names import TEXT_PAIRS, TEXTS, usual_name, usual_pair
from afina.errors import UsageError, nearest

__all__ = [
    "NO_MARKS", "Columns", "Interaction", "dialogue_text", "interaction_of", "interactions",
    "transcripts",
]  # fmt: skip

_LINES = 200
"""Lines without a mark that are kept to say which names stand before colons."""


def interactions(
    rows: Iterator[RawRow], where: str, speakers: Speakers, columns: Columns, seen: Counter[str], *, plain: bool = False
) -> Iterator[Interaction]:
    """Yield what rows of a table say, with `plain` as texts; `seen` counts what was assumed.

    Raises `UsageError` for a named column that is not there.
    """
    beginning = beginning_of(rows)
    if not beginning:
        return
    first = beginning[0]
    asked = (columns.question, columns.answer, columns.text, columns.label, columns.messages)
    named = [name for name in asked if name is not None]
    # A name may be missing in rows that could not be read; only a whole row tells.
    if missing := [name for name in named if name not in first.values and not first.problem]:
        raise UsageError(f"{where} has no column '{missing[0]}'{nearest(missing[0], map(str, first.values))}")
    rows = chain(beginning, rows)
    # Rows that are one message each show it by their columns, unless a person said what these mean.
    if not plain and not named and (grouped := grouped_rows(rows, beginning, speakers, seen)) is not None:
        yield from grouped
        return
    for row in rows:
        yield interaction_of(row, speakers, columns, plain=plain, seen=seen)


# -- text files ------------------------------------------------------------------------------------------------------


def transcripts(rows: Iterator[RawRow], speakers: Speakers, seen: Counter[str]) -> Iterator[Interaction]:
    """Yield the dialogues of a text file's lines: of a chat that WhatsApp exported, or of any marked transcript."""
    first = beginning_of(rows)
    rows = chain(first, rows)
    if is_whatsapp([str(row.values.get("line", "")) for row in first]):
        yield from whatsapp_chats(rows, speakers, seen)
        return
    transcript, begun = Transcript(speakers), ""
    unmarked: list[str] = []

    def given(dialogues: Iterable[list[Message]]) -> Iterator[Interaction]:
        if transcript.loose:
            unmarked.extend(transcript.loose[: max(0, _LINES - len(unmarked))])
            text = "\n".join(transcript.loose)
            transcript.loose.clear()
            yield Interaction(place=begun, text=text, form="transcript", problem=no_marks(unmarked))
        for dialogue in dialogues:
            yield Interaction(place=begun, messages=dialogue, form="transcript")

    for row in rows:
        if row.problem:
            yield from given(transcript.end())
            yield Interaction(place=row.place, text=row.values["unread"], form="transcript", problem=row.problem)
            # What could not be read ends the dialogue before it, as nobody knows what stood there.
            begun = ""
            continue
        for line in speakers.lines(row.values["line"]):
            ended = list(transcript.feed(line))

            # Loose lines are given out paragraph by paragraph, lest a book be one row.
            if ended or (transcript.loose and not line.strip()) or len(transcript.loose) >= 100:
                yield from given(ended)
                begun = row.place if line.strip() else ""
        if row.values["line"].strip():
            begun = begun or row.place
    yield from given(transcript.end())


# -- rows ------------------------------------------------------------------------------------------------------------


def interaction_of(
    row: RawRow, speakers: Speakers, columns: Columns, *, plain: bool = False, seen: Counter[str] | None = None
) -> Interaction:
    """Read one row; `problem` is set where it holds no dialogue and `plain` is not asked for."""
    values = row.values
    if row.problem:
        return Interaction(place=row.place, text=str(values.get("unread", "")), problem=row.problem)
    carried = _carried(values.get("extra"))
    # Tools that a conversion carried along belong to the dialogue as if they stood in a column.
    given = {**values, "tools": carried["tools"]} if "tools" in carried and "tools" not in values else values
    dialogue = (
        _plain(values, columns, seen)
        if plain
        else read_dialogue(given, speakers, columns, Counter() if seen is None else seen)
    )
    label = columns.label or (find_label([str(name) for name in values]) if plain else None)
    # What was read stands in the result already; all other columns are carried along.
    apart = {*dialogue.used, "generated", "extra", label}
    rest = {name: value for name, value in values.items() if name not in apart and value is not None}
    named = values.get(label) if label else None
    return Interaction(
        place=row.place, messages=dialogue.messages, others=dialogue.others, text=dialogue.text, form=dialogue.form,
        problem=dialogue.problem, tools=dialogue.tools, extra=rest | carried, label_from=label, read=frozenset(dialogue.used),
        label=None if named is None or label in dialogue.used else str(named),
        generated=str(values.get("generated", "")).lower() in ("true", "1"),
    )  # fmt: skip


def _carried(extra: Any) -> dict[str, Any]:
    """Return the columns that a conversion before this one carried along."""
    # Anything may be called `extra`; only what looks like an object is taken for one.
    if isinstance(extra, str) and extra.startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):
            extra = json.loads(extra)
    return dict(extra) if isinstance(extra, Mapping) else {} if extra is None else {"extra": extra}


def _plain(values: Mapping[str, Any], columns: Columns, seen: Counter[str] | None) -> FoundDialogue:
    if columns.text is not None:
        return FoundDialogue(frozenset([columns.text]), text=string(values[columns.text]))
    if named := _named(values):
        return FoundDialogue(
            frozenset(named), text="\n".join(part for name in named if (part := string(values[name])).strip())
        )
    label = columns.label or find_label([str(name) for name in values])
    written = [name for name, value in values.items() if isinstance(value, str) and name != label]
    # Words that stand as a list, as tagging has them, are a text too.
    if not written and (lists := [name for name, value in values.items() if _strings(value)]):
        return FoundDialogue(frozenset(lists[:1]), text=" ".join(values[lists[0]]))
    if len(written) > 1 and seen is not None:
        seen[
            f"texts of {' and '.join(written)} together, a label among them maybe (--text and --label say which is which)"
        ] += 1
    text = "\n".join(values[name] for name in written)
    return FoundDialogue(frozenset(written), text=text, problem="" if written else "no column of texts")


def _named(values: Mapping[str, Any]) -> list[str]:
    """Return the columns that a study would read the text from: one, or a title's and its text's, or those of two texts."""
    names = [str(name) for name, value in values.items() if isinstance(value, str | None)]
    text = usual_name(names, TEXTS)
    return list(usual_pair(names, TEXT_PAIRS) or title_and_body(names) or ([text] if text else []))


def _strings(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(part, str) for part in value)
