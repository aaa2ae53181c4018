"""The forms in which rows keep dialogues: lists of messages, columns of questions and answers, preferences, transcripts."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from afina.data.dialogues.messages import Listed, read_messages, read_tools
from afina.data.dialogues.speakers import Message, Speakers, other_speakers
from afina.data.files.literals import parsed_text
from afina.data.names import (
    CHOSEN,
    CONTEXTS,
    HISTORIES,
    INSTRUCTIONS,
    MESSAGE_LISTS,
    MESSAGES,
    OUTPUTS,
    PAIRS,
    QUESTIONS,
    REJECTED,
    SYSTEMS,
    TOOLS,
    TRANSCRIPTS,
    plain_name,
    plain_names,
)

__all__ = [
    "NO_FORM", "NO_MARKS", "NO_MESSAGES", "Columns", "FoundDialogue", "as_list", "dumped", "no_marks", "read_dialogue",
    "string",
]  # fmt: skip

NO_MARKS = "no line says who speaks"
NO_MESSAGES = "no messages"
NO_FORM = "no known form of dialogue"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Says which columns mean what; those left out are found by their usual names."""

    question: str | None = None
    answer: str | None = None
    text: str | None = None
    label: str | None = None
    messages: str | None = None
    pairs: tuple[tuple[str, str], ...] = PAIRS
    """Usual names of a question's and its answer's columns."""


@dataclass(frozen=True)
class FoundDialogue:
    """Holds what a row says: its dialogue, or why there is none."""

    used: frozenset[str]
    """The columns that it was read from."""
    messages: Sequence[Message] = ()
    form: str = "text"
    problem: str = ""
    text: str | None = None
    others: tuple[Sequence[Message], ...] = ()
    tools: Sequence[Any] = field(default=())


@dataclass(frozen=True)
class _NamedRow:
    """A row's values, with its columns by the plain form of their names."""

    values: Mapping[str, Any]
    names: Mapping[str, str]
    columns: Columns
    speakers: Speakers
    seen: Counter[str]

    def get(self, name: str) -> Any:
        """Return what stands in the column of this usual name."""
        return self.values[self.names[name]] if name in self.names else None

    def usual(self, names: Sequence[str]) -> str | None:
        """Return the first of these usual names of which there is a column."""
        # In the order of the names, as the more telling ones stand first.
        return next((name for name in names if name in self.names), None)

    def listed(self, turns: Sequence[Any], form: str = "") -> Listed:
        messages = read_messages(turns, self.speakers.roles, self.seen)
        return Listed(messages.messages, form, messages.problem) if form else messages

    def found(self, used: Sequence[str], listed: Listed) -> FoundDialogue:
        # What could not be read is kept whole, so that it can be looked at among the rejects.
        text = None if listed.messages else dumped({name: self.values[name] for name in used})
        return FoundDialogue(frozenset(used), listed.messages, listed.form, listed.problem, text)


def read_dialogue(values: Mapping[str, Any], speakers: Speakers, columns: Columns, seen: Counter[str]) -> FoundDialogue:
    """Read a row in the first of the forms that it has; `seen` counts what was assumed."""
    names = plain_names(values)
    row = _NamedRow(values, names, columns, speakers, seen)
    # Forms are tried from the surest to the vaguest; the first that a row has is taken.
    dialogue = next((dialogue for form in FORMS if (dialogue := form(row)) is not None), None)
    if dialogue is None:
        listed = ", ".join(map(str, values)) or "none"
        return FoundDialogue(frozenset(), problem=f"{NO_FORM} (its columns: {listed})", text=dumped(values))
    # Tools are declared beside any form.
    tools = next((read_tools(row.get(name)) for name in TOOLS if row.get(name)), [])
    return FoundDialogue(
        dialogue.used, dialogue.messages, dialogue.form, dialogue.problem, dialogue.text, dialogue.others, tools
    )


def _named_pair(row: _NamedRow) -> FoundDialogue | None:
    # Both were named by a person, and go before every usual name.
    question, answer = row.columns.question, row.columns.answer
    if question is None or answer is None:
        return None
    turns = _said([("user", string(row.values.get(question))), ("assistant", string(row.values.get(answer)))])
    systems = [row.names[name] for name in SYSTEMS if name in row.names]
    return FoundDialogue(frozenset([question, answer, *systems]), [*_system(row), *turns], "question and answer")


def _exported(row: _NamedRow) -> FoundDialogue | None:
    """Read ChatGPT's export: a tree of messages, of which the branch is read that was last on the screen."""
    mapping = row.get("mapping")
    if not isinstance(mapping, Mapping) or not all(isinstance(node, Mapping) for node in mapping.values()):
        return None
    used = [row.names[name] for name in ("mapping", "current_node") if name in row.names]
    branch = _branch(mapping, row.get("current_node"))
    # Other branches were answers that the person had written anew.
    if sum(bool(node.get("message")) for node in mapping.values()) > sum(bool(node.get("message")) for node in branch):
        row.seen["conversations with edits or other answers, of which the last branch is read"] += 1
    turns = []
    for message in (node["message"] for node in branch if node.get("message")):
        author = message.get("author") if isinstance(message.get("author"), Mapping) else {}
        role, recipient = author.get("role"), message.get("recipient") or "all"
        content = message.get("content") if isinstance(message.get("content"), Mapping) else {}
        parts = content.get("parts", content.get("text"))

        # What ChatGPT says to its tools and they to it is no part of what the person read.
        if role == "tool" or recipient != "all" or (role == "system" and not any(parts or ())):
            if role != "system":
                row.seen["messages to and from ChatGPT's own tools, left out"] += 1
            continue
        turns.append({"role": role, "content": parts} | {"weight": message.get("weight")})
    listed = row.listed(turns, "ChatGPT export")
    return row.found(used, Listed(_joined(listed.messages), listed.form, listed.problem))


def _branch(mapping: Mapping[str, Any], current: Any) -> list[Mapping[str, Any]]:
    """Return the nodes from the root to the current one, or where none is named to the last child's last child."""
    node = mapping.get(current) if isinstance(current, str) else None
    if node is None:
        node = next((each for each in mapping.values() if not each.get("parent")), None)

        # At most as many steps as there are nodes: a damaged export may lead in a circle.
        for _ in range(len(mapping)):
            # The last child is the newest answer.
            children = [mapping[name] for name in (node or {}).get("children") or () if name in mapping]
            node = children[-1] if children else node
    path: list[Mapping[str, Any]] = []
    while node is not None and len(path) <= len(mapping):
        path.append(node)
        node = mapping.get(node.get("parent") or "")
    return path[::-1]


def _joined(messages: Sequence[Message]) -> list[Message]:
    """Join what one speaker says in several messages."""
    result: list[Message] = []
    for message in messages:
        # Weights and calls keep messages apart, as they are of one of them alone.
        if result and result[-1]["role"] == message["role"] and result[-1].keys() == message.keys():
            result[-1] = {**message, "content": f"{result[-1]['content']}\n\n{message['content']}".strip()}
        else:
            result.append(message)
    return result


def _listed(row: _NamedRow) -> FoundDialogue | None:
    usual = [row.names[name] for name in MESSAGES if name in row.names]
    for name in [row.columns.messages] if row.columns.messages else usual:
        value = row.values.get(name)
        turns = as_list(value, row.seen)
        if turns is not None:
            return row.found([name], row.listed(turns))
        # A column that is surely meant for messages and holds something else is a mistake to be said, not another
        # form.
        if row.columns.messages or (plain_name(name) in MESSAGE_LISTS and value is not None):
            problem = f"column '{name}' should hold a list of messages, each with a role and content"
            if value is None or (isinstance(value, str) and not value.strip()):
                problem = NO_MESSAGES
            else:
                problem += f", not {string(value)[:60]!r}"
            return row.found([name], Listed([], problem=problem))
    return None


def as_list(value: Any, seen: Counter[str]) -> list[Any] | None:
    """Return a list of messages, also one that is written out as text; None for anything else."""
    if isinstance(value, str):
        value, python = parsed_text(value)
        if isinstance(value, list) and python:
            seen["lists of messages that are Python text, not JSON"] += 1
    # Numbers and texts in a list are no messages, but maybe words.
    if not isinstance(value, list | tuple) or any(isinstance(turn, str | int | float) for turn in value):
        return None
    return list(value)


def _preference(row: _NamedRow) -> FoundDialogue | None:
    """Read what was preferred to something else (DPO): messages, a text after a prompt, or a whole transcript."""
    chosen, prompt = row.usual(CHOSEN), row.usual(QUESTIONS)
    if chosen is None:
        return None
    # Without a prompt the chosen text holds the whole dialogue, as in Anthropic's data.
    if prompt is None and isinstance(value := row.get(chosen), str) and (dialogues := row.speakers.dialogues(value)):
        preferred: FoundDialogue | None = FoundDialogue(frozenset([row.names[chosen]]), dialogues[0], "preferences")
    else:
        preferred = _asked_and_said(row, prompt or "", chosen, "preferences")
    if preferred is not None and preferred.messages and row.usual(REJECTED) is not None:
        row.seen["preferences, of which what was chosen is read and what was rejected is not"] += 1
    return preferred


def _completed(row: _NamedRow) -> FoundDialogue | None:
    """Read TRL's conversational prompt and completion, both lists of messages."""
    # A completion that is a text is a pair of columns, which another form reads.
    if "completion" not in row.names or isinstance(row.get("completion"), str):
        return None
    return _asked_and_said(row, "prompt", "completion", "prompt and completion")


def _asked_and_said(row: _NamedRow, prompt: str, answer: str, form: str) -> FoundDialogue | None:
    """Read a prompt, which may be missing, and what is said to it, each a list of messages or a text."""
    used = [row.names[name] for name in (prompt, answer, *SYSTEMS) if name in row.names]
    turns: list[Any] = list(_system(row))
    for name, role in ((prompt, "user"), (answer, "assistant")):
        value = row.get(name)
        listed = as_list(value, row.seen)
        if listed is None and isinstance(value, str):
            listed = [{"role": role, "content": value}]
        # A value that is neither text nor messages shows that this is not the form.
        if listed is None and value is not None:
            return None
        turns += listed or ()
    return row.found(used, row.listed(turns, form))


def _system(row: _NamedRow) -> list[Message]:
    name = row.usual(SYSTEMS)
    text = "" if name is None else string(row.get(name))
    return _said([("system", text)]) if text.strip() else []


def _said(turns: Sequence[tuple[str, str]]) -> list[Message]:
    return [{"role": role, "content": content} for role, content in turns]


def _usual_pair(row: _NamedRow) -> FoundDialogue | None:
    """Read a question and its answer, with what it is about under it, and earlier pairs before it (Alpaca's history)."""
    pair = next(
        (
            own
            for own in row.columns.pairs
            if all(isinstance(row.get(name), str | None) and name in row.names for name in own)
        ),
        None,
    )
    if pair is None:
        return None
    question, answer = pair
    # What a question is about stands under it, as Alpaca's own prompt has it.
    about = [name for name in CONTEXTS if name not in pair and isinstance(row.get(name), str) and row.get(name).strip()]
    asked = "\n\n".join(part for name in (question, *about) if (part := string(row.get(name))).strip())
    if about and question not in INSTRUCTIONS:
        row.seen[f"questions with what stands in '{row.names[about[0]]}' under them"] += 1
    earlier, problem = _history(row)
    used = [row.names[name] for name in (*pair, *CONTEXTS, *SYSTEMS, *HISTORIES) if name in row.names]
    form = "Alpaca" if question in INSTRUCTIONS and answer in OUTPUTS else "question and answer"
    if problem:
        return row.found(used, Listed([], form, problem))
    turns = _said([*earlier, ("user", asked), ("assistant", string(row.get(answer)))])
    return FoundDialogue(frozenset(used), [*_system(row), *turns], form)


def _history(row: _NamedRow) -> tuple[list[tuple[str, str]], str]:
    """Return the turns that stand in a row's history, or why they cannot be read."""
    name = row.usual(HISTORIES)
    history = None if name is None else row.get(name)
    if isinstance(history, str):
        history, _ = parsed_text(history)
    turns: list[tuple[str, str]] = []
    for number, pair in enumerate(history or (), start=1):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            return [], f"pair {number} of its history should be a question and its answer"
        turns += [("user", string(pair[0])), ("assistant", string(pair[1]))]
    return turns, ""


def _transcript(row: _NamedRow) -> FoundDialogue | None:
    text = row.columns.text or next((row.names[name] for name in TRANSCRIPTS if isinstance(row.get(name), str)), None)
    if text is None:
        return None
    whole = string(row.values.get(text))
    dialogues = row.speakers.dialogues(whole)
    if not dialogues:
        return FoundDialogue(frozenset([text]), form="transcript", problem=no_marks(whole.split("\n")), text=whole)
    return FoundDialogue(frozenset([text]), dialogues[0], "transcript", others=tuple(dialogues[1:]))


FORMS: tuple[Callable[[_NamedRow], FoundDialogue | None], ...] = (
    _named_pair, _exported, _listed, _preference, _completed, _usual_pair, _transcript,
)  # fmt: skip
"""One function a form; the first that knows a row reads it."""


def no_marks(lines: Sequence[str]) -> str:
    """Say that no line says who speaks, with the names that stand before colons."""
    names = other_speakers(lines)
    if len(names) < 2:
        return NO_MARKS
    return f"{NO_MARKS} in a way that is known; {' and '.join(names)} stand before colons: say who asks and who answers"


def string(value: Any) -> str:
    """Return what is said as a string; of a list of parts (OpenAI's), the texts."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "\n".join(string(part.get("text")) if isinstance(part, Mapping) else string(part) for part in value)
    return dumped(value)


def dumped(value: Any) -> str:
    """Return a value as JSON."""
    return json.dumps(value, ensure_ascii=False, default=str)
