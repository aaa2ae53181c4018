"""Interactions from rows of any known form: dialogues as lists of messages, or texts on their own.

Known are the OpenAI chat format (`messages`), ShareGPT (`conversations` of `from` and `value`), Alpaca (`instruction`,
`input`, `output`), columns of questions and answers, one turn a row (`role`, `content`, a conversation's number),
transcripts in a text column, and text files of transcripts.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from afina.data.columns import find_label
from afina.data.compression import format_of
from afina.data.speakers import Message, Speakers, Transcript, other_speakers
from afina.data.stream import RawRow, Source, read_rows
from afina.errors import UsageError, nearest

__all__ = ["NO_MARKS", "Columns", "Interaction", "dialogue_text", "interaction_of", "read_interactions"]

NO_MARKS = "no line says who speaks"
_PEEK = 200

_LISTS = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat")
_PAIRS = (
    ("prompt", "completion"), ("prompt", "response"), ("prompt", "chosen"), ("question", "answer"), ("question", "response"),
    ("query", "response"), ("query", "answer"), ("instruction", "output"), ("instruction", "response"), ("user", "assistant"),
    ("human", "assistant"), ("input", "output"), ("comment", "reply"), ("context", "response"), ("pergunta", "resposta"),
    ("comentario", "resposta"), ("usuario", "assistente"), ("source", "target"),
)  # fmt: skip
_TEXTS = (
    "text",
    "transcript",
    "dialogue",
    "dialog",
    "conversation",
    "chat",
    "content",
    "sentence",
    "texto",
    "conversa",
)
_ROLES = ("role", "from", "speaker", "author", "sender")
_SAID = ("content", "value", "text", "message", "utterance", "body")
_CONVERSATION = ("conversation_id", "dialogue_id", "dialog_id", "conversation", "thread_id", "session_id", "chat_id")
_TURN = ("turn", "turn_id", "turn_number", "position", "index", "timestamp", "created_at", "date")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns mean what; those left out are found by their usual names."""

    question: str | None = None
    answer: str | None = None
    text: str | None = None
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """What one row says."""

    place: str
    """Where it stands in its file."""
    messages: Sequence[Message] = ()
    others: Sequence[Sequence[Message]] = ()
    """Further dialogues that the same row holds."""
    text: str | None = None
    """Of a row that is no dialogue, or of one that could not be read, what there is of it."""
    label: str | None = None
    generated: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Columns that mean nothing here and are carried along."""
    form: str = "text"
    problem: str = ""
    """Why it can be no row of a result."""

    @property
    def all_text(self) -> str:
        return dialogue_text(self.messages) if self.messages else self.text or ""


def dialogue_text(messages: Iterable[Message]) -> str:
    """Return what is said, one message a line, without who says it."""
    return "\n".join(message["content"] for message in messages)


def read_interactions(
    source: Source, speakers: Speakers | None = None, columns: Columns | None = None, *, plain: bool | None = None
) -> Iterator[Interaction]:
    """Yield a file's interactions one by one; with `plain`, its texts as they are.

    With `plain` None, a file whose first rows hold no dialogue is taken for one of texts. What cannot be read comes with its
    `problem` set; raises `UsageError` only for what concerns the whole file.
    """
    speakers, columns = speakers or Speakers(), columns or Columns()
    if plain is not False:
        texts = _read(source, speakers, columns, plain=True)
        if plain:
            yield from texts
            return
        first = list(islice(_read(Source(source.path, source.longest_line), speakers, columns, plain=False), _PEEK))
        if all(row.problem for row in first):
            yield from texts
            return
    yield from _read(source, speakers, columns, plain=False)


def _read(source: Source, speakers: Speakers, columns: Columns, *, plain: bool) -> Iterator[Interaction]:
    rows = read_rows(source)
    if format_of(source.path) == ".txt":
        yield from _texts(rows) if plain else _transcripts(source, rows, speakers)
        return
    first = next(rows, None)
    if first is None:
        return
    named = [name for name in vars(columns).values() if name is not None]
    if missing := [name for name in named if name not in first.values and not first.problem]:
        raise UsageError(f"{source.path} has no column '{missing[0]}'{nearest(missing[0], map(str, first.values))}")
    rows = chain([first], rows)
    if not plain and not named and (turns := _turn_columns(first.values)):
        yield from _one_turn_a_row(rows, speakers, *turns)
        return
    for row in rows:
        yield interaction_of(row, speakers, columns, plain=plain)


# -- text files ------------------------------------------------------------------------------------------------------


def _texts(rows: Iterator[RawRow]) -> Iterator[Interaction]:
    for row in rows:
        text = row.values.get("line", row.values.get("unread"))
        if row.problem or text.strip():
            yield Interaction(place=row.place, text=text, problem=row.problem)


def _transcripts(source: Source, rows: Iterator[RawRow], speakers: Speakers) -> Iterator[Interaction]:
    transcript, begun = Transcript(speakers), ""
    unmarked: list[str] = []

    def given(dialogues: Iterable[list[Message]]) -> Iterator[Interaction]:
        if transcript.loose:
            unmarked.extend(transcript.loose[: max(0, _PEEK - len(unmarked))])
            text = "\n".join(transcript.loose)
            transcript.loose.clear()
            yield Interaction(place=begun, text=text, form="transcript", problem=_no_marks(unmarked))
        for dialogue in dialogues:
            yield Interaction(place=begun, messages=dialogue, form="transcript")

    for row in rows:
        if row.problem:
            yield from given(transcript.end())
            yield Interaction(place=row.place, text=row.values["unread"], form="transcript", problem=row.problem)
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


def _no_marks(lines: Iterable[str]) -> str:
    names = other_speakers(lines)
    if len(names) < 2:
        return NO_MARKS
    return f"{NO_MARKS} in a way that is known; {' and '.join(names)} stand before colons: say who asks and who answers"


# -- rows ------------------------------------------------------------------------------------------------------------


def interaction_of(row: RawRow, speakers: Speakers, columns: Columns, *, plain: bool = False) -> Interaction:
    """Read one row; `problem` is set where it holds no dialogue and `plain` is not asked for."""
    values = row.values
    if row.problem:
        return Interaction(place=row.place, text=str(values.get("unread", "")), problem=row.problem)
    used, found = _plain(values, columns) if plain else _dialogue(values, speakers, columns)
    label = columns.label or (find_label([str(name) for name in values]) if plain else None)
    rest = {
        name: value for name, value in values.items() if name not in {*used, "generated", label} and value is not None
    }
    rest |= _carried(rest.pop("extra", None))
    given = values.get(label) if label else None
    return replace(
        found,
        place=row.place,
        label=None if given is None or label in used else str(given),
        generated=str(values.get("generated", "")).lower() in ("true", "1"),
        extra=rest,
    )


def _carried(extra: Any) -> dict[str, Any]:
    """Columns that a conversion before this one carried along."""
    if isinstance(extra, str) and extra.startswith("{"):
        with contextlib.suppress(json.JSONDecodeError):
            extra = json.loads(extra)
    return dict(extra) if isinstance(extra, Mapping) else {} if extra is None else {"extra": extra}


def _plain(values: Mapping[str, Any], columns: Columns) -> tuple[set[str], Interaction]:
    names = {str(name).lower(): str(name) for name in reversed(list(values))}
    text = columns.text or next(
        (names[name] for name in _TEXTS if isinstance(values.get(names.get(name, "")), str)), None
    )
    if text is not None:
        return {text}, Interaction(place="", text=_string(values[text]))
    label = columns.label or find_label(list(names.values()))
    own = [name for name, value in values.items() if isinstance(value, str) and name != label]
    if not own and (lists := [name for name, value in values.items() if _strings(value)]):
        return {lists[0]}, Interaction(place="", text=" ".join(values[lists[0]]))
    text = "\n".join(values[name] for name in own)
    return set(own), Interaction(place="", text=text, problem="" if own else "no column of texts")


def _dialogue(values: Mapping[str, Any], speakers: Speakers, columns: Columns) -> tuple[set[str], Interaction]:
    names = {str(name).lower(): str(name) for name in reversed(list(values))}
    if columns.question is not None and columns.answer is not None:
        return _pair(values, columns.question, columns.answer)
    for name in _LISTS:
        if (own := names.get(name)) is not None and not isinstance(values[own], str) and _is_sequence(values[own]):
            return {own}, _listed(values[own], speakers, own)
    if "instruction" in names and "output" in names:
        return _alpaca(values, names)
    for question, answer in _PAIRS:
        if question in names and answer in names and all(_is_text(values[names[name]]) for name in (question, answer)):
            return _pair(values, names[question], names[answer])
    text = columns.text or next(
        (names[name] for name in _TEXTS if isinstance(values.get(names.get(name, "")), str)), None
    )
    if text is None:
        listed = ", ".join(map(str, values)) or "none"
        return set(), Interaction(
            place="", text=_dumped(values), problem=f"no known form of dialogue (its columns: {listed})"
        )
    found = speakers.dialogues(_string(values[text]))
    if not found:
        said = _string(values[text])
        return {text}, Interaction(place="", text=said, form="transcript", problem=_no_marks(said.split("\n")))
    return {text}, Interaction(place="", messages=found[0], others=tuple(found[1:]), form="transcript")


def _pair(values: Mapping[str, Any], question: str, answer: str) -> tuple[set[str], Interaction]:
    said = (("user", values[question]), ("assistant", values[answer]))
    return {question, answer}, Interaction(
        place="",
        messages=[{"role": role, "content": _string(value)} for role, value in said],
        form="question and answer",
    )


def _alpaca(values: Mapping[str, Any], names: Mapping[str, str]) -> tuple[set[str], Interaction]:
    def said(name: str) -> str:
        return _string(values[names[name]]) if name in names else ""

    messages = [{"role": "system", "content": said("system")}] if said("system").strip() else []
    history = values[names["history"]] if "history" in names else None
    for pair in history or ():
        messages += [
            {"role": role, "content": _string(part)} for role, part in zip(("user", "assistant"), pair, strict=False)
        ]
    question = "\n\n".join(part for part in (said("instruction"), said("input")) if part.strip())
    messages += [{"role": "user", "content": question}, {"role": "assistant", "content": said("output")}]
    used = {names[name] for name in ("instruction", "input", "output", "system", "history") if name in names}
    return used, Interaction(place="", messages=messages, form="Alpaca")


def _listed(turns: Sequence[Any], speakers: Speakers, name: str) -> Interaction:
    """Read a list of messages, OpenAI's or ShareGPT's."""
    messages: list[Message] = []
    form = "OpenAI messages"
    for number, turn in enumerate(turns, start=1):
        role = said = None
        if isinstance(turn, Mapping):
            role = next((turn[key] for key in _ROLES if turn.get(key) is not None), None)
            said = next((turn[key] for key in _SAID if key in turn), None)
            form = "ShareGPT" if "from" in turn else form
        known = speakers.roles.get(str(role).strip().lower())
        if known is None:
            what = f"the unknown role '{role}'" if role is not None else "no role"
            return Interaction(place="", text=_dumped({name: turns}), form=form, problem=f"message {number} has {what}")
        messages.append({"role": known, "content": _string(said)})
    return Interaction(place="", messages=messages, form=form, problem="" if messages else "no messages")


def _turn_columns(values: Mapping[str, Any]) -> tuple[str, str, str | None, str | None] | None:
    """Columns of role, content, conversation and turn, where a row is one turn."""
    names = {str(name).lower(): str(name) for name in reversed(list(values))}
    role = next((names[name] for name in _ROLES if name in names and isinstance(values[names[name]], str)), None)
    said = next((names[name] for name in _SAID if name in names and isinstance(values[names[name]], str)), None)
    if role is None or said is None:
        return None
    conversation = next((names[name] for name in _CONVERSATION if name in names), None)
    return role, said, conversation, next((names[name] for name in _TURN if name in names), None)


def _one_turn_a_row(
    rows: Iterator[RawRow], speakers: Speakers, role: str, said: str, conversation: str | None, turn: str | None
) -> Iterator[Interaction]:
    """Put rows that follow one another and name one conversation together, by their turns' numbers where they have them."""
    group: list[RawRow] = []
    current: Any = None
    ended: set[int] = set()

    def given() -> Iterator[Interaction]:
        if not group:
            return
        ordered = sorted(group, key=lambda row: _order(row.values.get(turn))) if turn is not None else group
        found = _listed([row.values for row in ordered], speakers, "messages")
        problem = found.problem
        if conversation is not None:
            if hash(current) in ended:
                problem = (
                    f"turns of conversation {current} stand apart from its others; sort the file by {conversation}"
                )
            ended.add(hash(current))
        extra = {} if conversation is None else {conversation: current}
        label = "turns out of order" if ordered != group else "one turn a row"
        text = found.text or (dialogue_text(found.messages) if problem else None)
        yield replace(found, place=group[0].place, form=label, problem=problem, extra=extra, text=text)

    for row in rows:
        if row.problem:
            yield Interaction(place=row.place, text=str(row.values.get("unread", "")), problem=row.problem)
            continue
        own = row.values.get(conversation) if conversation is not None else None
        new = own != current if conversation is not None else _starts(row, group, speakers, role)
        if new:
            yield from given()
            group = []
        current = own
        group.append(row)
    yield from given()


def _starts(row: RawRow, group: list[RawRow], speakers: Speakers, role: str) -> bool:
    """Whether a turn begins a dialogue where no column says so: a question (or a system's text) after an answer."""
    known = [speakers.roles.get(str(each.values[role]).strip().lower()) for each in ([*group[-1:], row])]
    return len(known) == 2 and known[1] in ("user", "system") and known[0] not in ("user", "system")


def _order(value: Any) -> tuple[int, float, str]:
    try:
        return 0, float(value), ""
    except (TypeError, ValueError):
        return 1, 0.0, str(value)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _strings(value: Any) -> bool:
    return _is_sequence(value) and all(isinstance(part, str) for part in value)


def _string(value: Any) -> str:
    """Return what is said as a string; of a list of parts (OpenAI's), the texts."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if _is_sequence(value):
        return "\n".join(_string(part.get("text")) if isinstance(part, Mapping) else _string(part) for part in value)
    return _dumped(value)


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
