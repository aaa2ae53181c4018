"""Dialogues of which every row is one message: turn by turn, or as trees of answers (OpenAssistant)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from afina.data.dialogues.interaction import Interaction, RawRow, dialogue_text
from afina.data.dialogues.messages import read_messages
from afina.data.dialogues.speakers import Speakers
from afina.data.names import CONVERSATION_IDS, ROLE_KEYS, SAID_KEYS, TURNS, plain_names

__all__ = ["grouped_rows"]


def grouped_rows(
    rows: Iterable[RawRow], beginning: Sequence[RawRow], speakers: Speakers, seen: Counter[str]
) -> Iterator[Interaction] | None:
    """Return the dialogues of `rows` that are a message each, as their `beginning` shows; None where it shows none."""
    first = next((row.values for row in beginning if not row.problem), {})
    names = plain_names(first)
    # OpenAssistant's, message by message or a whole tree a row.
    if {"message_id", "parent_id", "text", "role"} <= set(names):
        return _trees(rows, speakers, seen, {name: names.get(name, name) for name in _TREE})
    if "message_tree_id" in names and isinstance(first.get(names.get("prompt", "")), Mapping):
        return _whole_trees(rows, speakers, seen, names["prompt"])
    role = next((names[name] for name in ROLE_KEYS if name in names and isinstance(first[names[name]], str)), None)
    content = next((names[name] for name in SAID_KEYS if name in names and isinstance(first[names[name]], str)), None)
    if role is None or content is None:
        return None
    conversation = next((names[name] for name in CONVERSATION_IDS if name in names), None)
    if conversation is None and not _speak(beginning, role, speakers, seen):
        return None
    turn = next((names[name] for name in TURNS if name in names), None)
    return _one_turn_a_row(rows, speakers, seen, role, content, conversation, turn)


def _speak(rows: Sequence[RawRow], role: str, speakers: Speakers, seen: Counter[str]) -> bool:
    """Return whether a column names who asks or answers in most rows; else they are texts with their authors."""
    named = [str(row.values.get(role)).strip().lower() in speakers.roles for row in rows if not row.problem]
    # Half of them: a few unknown names are mistakes, many are authors.
    if 2 * sum(named) >= len(named):
        return True
    if any(named):
        seen[
            f"of the first {len(named)} rows with one who asks or answers in '{role}', too few for turns of dialogues"
        ] = sum(named)
    return False


# -- turns -----------------------------------------------------------------------------------------------------------


def _one_turn_a_row(
    rows: Iterable[RawRow], speakers: Speakers, seen: Counter[str], role: str, content: str, conversation: str | None,
    turn: str | None,
) -> Iterator[Interaction]:  # fmt: skip
    """Put rows that follow one another and name one conversation together, by their turns' numbers where they have them."""
    group: list[RawRow] = []
    current: Any = None
    ended: set[int] = set()

    def given() -> Iterator[Interaction]:
        if not group:
            return
        # By number where there are numbers, as files are often sorted by something else.
        ordered = sorted(group, key=lambda row: _order(row.values.get(turn))) if turn is not None else group
        turns = [{"role": row.values.get(role), "content": row.values.get(content)} for row in ordered]
        listed = read_messages(turns, speakers.roles, seen)
        problem = listed.problem
        if conversation is not None:
            # Hashes and not the names themselves: a file may have millions of conversations.
            if hash(current) in ended:
                problem = (
                    f"turns of conversation {current} stand apart from its others; sort the file by {conversation}"
                )
            ended.add(hash(current))
        extra = {} if conversation is None else {conversation: current}
        form = "turns out of order" if ordered != group else "one turn a row"
        text = "\n".join(str(each["content"]) for each in turns) if problem else None
        yield Interaction(
            place=group[0].place, messages=listed.messages, form=form, problem=problem, extra=extra, text=text
        )

    for row in rows:
        if row.problem:
            yield Interaction(place=row.place, text=str(row.values.get("unread", "")), problem=row.problem)
            continue
        named = row.values.get(conversation) if conversation is not None else None
        new = named != current if conversation is not None else _starts(row, group, speakers, role)
        if new:
            yield from given()
            group = []
        current = named
        group.append(row)
    yield from given()


def _starts(row: RawRow, group: list[RawRow], speakers: Speakers, role: str) -> bool:
    """Return whether a turn begins a dialogue where no column says so: a question (or system text) after an answer."""
    known = [speakers.roles.get(str(each.values[role]).strip().lower()) for each in ([*group[-1:], row])]
    return len(known) == 2 and known[1] in ("user", "system") and known[0] not in ("user", "system")


def _order(value: Any) -> tuple[int, float, str]:
    try:
        return 0, float(value), ""
    except (TypeError, ValueError):
        # What is no number comes last, in the order of its text.
        return 1, 0.0, str(value)


# -- trees -----------------------------------------------------------------------------------------------------------

_TREE = ("message_id", "parent_id", "message_tree_id", "text", "role", "rank", "deleted")
_BEST = "replies that are not the best-ranked to their message (or the first), which are not read"


def _trees(
    rows: Iterable[RawRow], speakers: Speakers, seen: Counter[str], names: Mapping[str, str]
) -> Iterator[Interaction]:
    """Yield of each tree the path of best-ranked replies; a tree's rows follow one another, a message behind its parent."""
    group: dict[str, RawRow] = {}

    def given() -> Iterator[Interaction]:
        if group:
            yield _best_path(list(group.values()), speakers, seen, names)

    for row in rows:
        if row.problem:
            yield Interaction(place=row.place, text=str(row.values.get("unread", "")), problem=row.problem)
            continue

        # A message without a parent begins the next tree.
        if row.values.get(names["parent_id"]) in (None, ""):
            yield from given()
            group = {}
        group[str(row.values.get(names["message_id"]))] = row
    yield from given()


def _best_path(
    group: Sequence[RawRow], speakers: Speakers, seen: Counter[str], names: Mapping[str, str]
) -> Interaction:
    known = {str(row.values.get(names["message_id"])) for row in group}
    children: dict[str, list[RawRow]] = {}
    for row in group[1:]:
        parent = str(row.values.get(names["parent_id"]))
        if parent not in known:
            text = str(row.values.get(names["text"]))
            problem = f"its parent_id {parent} is no message of the tree before it; keep a tree's rows together"
            return Interaction(place=row.place, text=text, form="OpenAssistant", problem=problem)
        # A deleted message is no reply, and neither is what answers it.
        if str(row.values.get(names["deleted"], "")).lower() not in ("true", "1"):
            children.setdefault(parent, []).append(row)
    path, turns = group[0], [group[0].values]
    while replies := children.get(str(path.values.get(names["message_id"]))):
        # Rank 0 is the best; replies that nobody ranked come behind all others.
        path = min(replies, key=lambda row: _order(row.values.get(names["rank"]))[:2])
        turns.append(path.values)
        if len(replies) > 1:
            seen[_BEST] += len(replies) - 1
    return _talk([(turn.get(names["role"]), turn.get(names["text"])) for turn in turns], group[0].place, speakers, seen)


def _whole_trees(rows: Iterable[RawRow], speakers: Speakers, seen: Counter[str], column: str) -> Iterator[Interaction]:
    """Yield of each row, which holds a whole tree, the path of best-ranked replies."""
    for row in rows:
        if row.problem:
            yield Interaction(place=row.place, text=str(row.values.get("unread", "")), problem=row.problem)
            continue
        # From the root down, each time to the best reply.
        node, turns = row.values.get(column), []
        while isinstance(node, Mapping):
            turns.append((node.get("role"), node.get("text")))
            replies = [reply for reply in node.get("replies") or () if isinstance(reply, Mapping)]
            if len(replies) > 1:
                seen[_BEST] += len(replies) - 1
            node = min(replies, key=lambda reply: _order(reply.get("rank"))[:2], default=None)
        yield _talk(turns, row.place, speakers, seen)


def _talk(turns: Sequence[tuple[Any, Any]], place: str, speakers: Speakers, seen: Counter[str]) -> Interaction:
    listed = read_messages([{"role": role, "content": said} for role, said in turns], speakers.roles, seen)
    row = Interaction(place=place, messages=listed.messages, form="OpenAssistant", problem=listed.problem)
    return (
        row if not listed.problem else replace(row, text=dialogue_text([{"content": str(said)} for _, said in turns]))
    )
