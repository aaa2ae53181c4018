"""WhatsApp's exported chats, of Android and iPhone: who wrote what, in conversations that a long pause divides."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from afina.data.dialogues.interaction import Interaction, RawRow
from afina.data.dialogues.speakers import Speakers

__all__ = ["WHO_ANSWERS", "is_whatsapp", "whatsapp_chats"]

WHO_ANSWERS = "say who answers"
"""Stands in the one thing that is wrong with a whole chat, and so with every conversation in it."""

_DATE = r"(\d{1,4})[/.-](\d{1,2})[/.-](\d{1,4})"
_TIME = r"(\d{1,2})[:.h](\d{2})(?:[:.]\d{2})?(?:\s?([AaPp])\.?\s?[Mm]\.?)?"
_HEAD = re.compile(rf"(?:\[{_DATE},?\s+{_TIME}\]\s?|{_DATE},?\s+(?:às\s+)?{_TIME}\s+[-–]\s)")
_NAME = re.compile(r"([^:]{1,60}?):(?:\s|$)")
_INVISIBLE = re.compile(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_SPACES = str.maketrans({"\u202f": " ", "\u00a0": " "})
_MEDIA = re.compile(
    r"<(?:m[ií]dia|arquivo de m[ií]dia|media|multimedia)\s+\w+>"
    r"|<(?:anexado|attached|adjunto):[^>]*>|.*\((?:arquivo anexado|file attached|archivo adjunto)\)"
    r"|(?:imagem|image|v[ií]deo|[áa]udio|figurinha|sticker|gif|documento?|contact card|cart[ãa]o de contato)"
    r"(?: \w+)? (?:omitted|ocultad[oa]|omitid[oa])"
    r"|(?:this message was deleted|you deleted this message)\.?"
    r"|(?:(?:esta )?mensagem (?:foi )?apagada|voc[êe] apagou esta mensagem)\.?"
    r"|null",
    re.IGNORECASE,
)
_SYSTEM = re.compile(
    r"end-to-end encrypted|criptografia de ponta a ponta|cifrad\w{0,9} de extremo a extremo", re.IGNORECASE
)
_EDITED = re.compile(r"(?<!\s)\s*+<(?:this message was edited|mensagem editada|editada)>\s*$", re.IGNORECASE)
_PAUSE = timedelta(hours=6)
_FORM = "WhatsApp"


@dataclass
class _Said:
    place: str
    when: tuple[str, ...]
    name: str
    lines: list[str]


def is_whatsapp(lines: Sequence[str]) -> bool:
    """Tell whether the beginning of a text file is a chat that WhatsApp exported."""
    # Two heads at least, with a name somewhere, in a quarter of the lines: texts may hold a date.
    heads = [match for line in lines if (match := _HEAD.match(_clean(line)))]
    named = sum(
        _NAME.match(_clean(line)[match.end() :]) is not None for line in lines if (match := _HEAD.match(_clean(line)))
    )
    return len(heads) >= 2 and named >= 1 and 4 * len(heads) >= len([line for line in lines if line.strip()])


def whatsapp_chats(rows: Iterable[RawRow], speakers: Speakers, seen: Counter[str]) -> Iterator[Interaction]:
    """Yield the conversations of a chat, each ended by a pause of six hours.

    Who answers is the assistant of `speakers`, anybody else then asks; where nobody is named, every conversation has a
    `problem` that lists the names.
    """
    # All of it is read before the first is given out: who answers and how dates are written shows by the whole chat.
    messages = list(_messages(rows, seen))
    if not messages:
        return
    names = Counter(each.name for each in messages)
    roles = _roles(names, speakers)
    problem = "" if set(roles.values()) == {"user", "assistant"} else _who_answers(names, speakers)
    day_first = _day_first(messages)
    talk: list[_Said] = []
    before: datetime | None = None
    for each in messages:
        # Dates that cannot be read end no conversation.
        now = _moment(each.when, day_first=day_first)
        if talk and now is not None and before is not None and now - before > _PAUSE:
            yield _conversation(talk, roles, problem)
            talk = []
        talk.append(each)
        before = now or before
    yield _conversation(talk, roles, problem)


def _messages(rows: Iterable[RawRow], seen: Counter[str]) -> Iterator[_Said]:
    last: _Said | None = None
    for row in rows:
        line = _clean(str(row.values.get("line", "")))
        match = _HEAD.match(line)

        # A line without a head goes on with the message before it.
        if match is None:
            if last is not None:
                last.lines.append(line)
            elif line.strip():
                seen["lines that belong to no message, left out"] += 1
            continue
        if last is not None:
            yield from _kept(last, seen)
        last = None
        rest = line[match.end() :]
        name = _NAME.match(rest)

        # Somebody joined, a number changed, what is encrypted: no person says that.
        if name is None or (len(rest) < 400 and _SYSTEM.search(rest)):
            seen["lines of WhatsApp's own, left out"] += 1
            continue
        when = tuple(part or "" for part in (match.groups()[:6] if match[1] else match.groups()[6:]))
        last = _Said(row.place, when, name[1].strip().lstrip("~").strip(), [rest[name.end() :]])
    if last is not None:
        yield from _kept(last, seen)


def _kept(message: _Said, seen: Counter[str]) -> Iterator[_Said]:
    text = _EDITED.sub("", "\n".join(message.lines).strip())
    # Line by line, as a picture may have a caption under it.
    without = [line for line in text.split("\n") if not _MEDIA.fullmatch(line.strip())]
    if text and (media := text.count("\n") + 1 - len(without)):
        seen["pictures, sound and deleted messages, left out"] += media
    if "".join(without).strip():
        yield _Said(message.place, message.when, message.name, ["\n".join(without).strip()])


def _clean(line: str) -> str:
    return _INVISIBLE.sub("", line).translate(_SPACES)


def _roles(names: Iterable[str], speakers: Speakers) -> dict[str, str]:
    assistants = {name.lower() for name in speakers.assistant}
    asking = {name.lower() for name in speakers.user}
    # Names that are roles themselves, such as Support, need nobody to say so.
    roles = {name: speakers.roles[name.lower()] for name in names if name.lower() in speakers.roles}
    roles |= {name: "assistant" for name in names if name.lower() in assistants}
    # One side is enough: where those who answer are named, everybody else asks, and the other way round.
    if assistants and not asking:
        roles |= {name: "user" for name in names if name not in roles}
    if asking and not assistants:
        roles |= {name: "assistant" for name in names if name not in roles}
    return roles


def _who_answers(names: Counter[str], speakers: Speakers) -> str:
    listed = ", ".join(f"'{name}' ({count:,})" for name, count in names.most_common(6))
    given = [
        name for name in (*speakers.assistant, *speakers.user) if name.lower() not in {own.lower() for own in names}
    ]
    wrong = f"nobody is called '{given[0]}'" if given else "it is not known who answers"
    return (
        f"{wrong}; the chat is written by {listed}: {WHO_ANSWERS} (assistant: NAME among the keys of a study's dataset, "
        "--assistant NAME of afina data)"
    )


def _day_first(messages: Sequence[_Said]) -> bool:
    """Return whether a date is day and month in this order; where no date tells, it is taken to be."""
    firsts = [int(each.when[0]) for each in messages if len(each.when[0]) < 4]
    seconds = [int(each.when[1]) for each in messages]
    # A number above 12 is no month, which tells the order for the whole file.
    month_first = any(number > 12 for number in seconds) and not any(number > 12 for number in firsts)
    return not month_first


def _moment(when: tuple[str, ...], *, day_first: bool) -> datetime | None:
    first, second, third, hour, minute, half = when
    # Four digits in front are a year, as in 2024-05-31.
    year, month, day = (first, second, third) if len(first) == 4 else (third, second, first)
    if len(first) < 4 and not day_first:
        month, day = day, month
    # Twelve is zero on a clock of twelve hours.
    hours = int(hour) % 12 + (12 if half.lower() == "p" else 0) if half else int(hour)
    try:
        # Two digits of a year are of this century, in which the program is.
        return datetime(int(year) + (2000 if len(year) < 4 else 0), int(month), int(day), hours, int(minute))
    except ValueError:
        return None


def _conversation(talk: Sequence[_Said], roles: dict[str, str], problem: str) -> Interaction:
    conversation = Interaction(place=talk[0].place, form=_FORM, problem=problem)
    if problem:
        return replace(conversation, text="\n".join(f"{each.name}: {each.lines[0]}" for each in talk))
    messages: list[dict[str, str]] = []
    for each in talk:
        role = roles.get(each.name, "user")
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += "\n" + each.lines[0]
        else:
            messages.append({"role": role, "content": each.lines[0]})
    return replace(conversation, messages=messages)
