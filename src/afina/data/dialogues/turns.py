"""Messages in the order that a chat template takes: the system first if at all, then the user and the assistant by turns.

Behind an answer that calls tools stand what they gave, each a message of role tool, and then the assistant again.
"""

import json
from collections import Counter
from collections.abc import Sequence

from afina.data.dialogues.interaction import Interaction
from afina.data.dialogues.messages import TOOLS, Message
from afina.data.dialogues.speakers import Message as Said

__all__ = ["ordered", "written_out"]


def ordered(messages: Sequence[Said], seen: Counter[str]) -> tuple[list[Message], str]:
    """Return messages up to the last of the assistant, or why they cannot be learned; `seen` counts what is left out.

    None where a turn is empty or no answer is learned.
    """
    made: list[Message] = []
    for number, turn in enumerate(messages, start=1):
        role, before = turn["role"], made[-1] if made else None
        if problem := _misplaced(role, before, number):
            # Before any question it is a greeting, and the conversation begins behind it.
            if role == "assistant" and (before is None or before.role == "system") and len(messages) > number:
                seen["first messages that are the assistant's, before any question, left out"] += 1
                continue
            return [], problem
        details = {key: value for key, value in turn.items() if key not in ("role", "content")}
        made.append(Message(role, turn["content"].strip(), details))
    # What nobody answers cannot be learned.
    while made and made[-1].role != "assistant":
        made.pop()
    if not all(message.content or message.details.get("tool_calls") for message in made):
        return [], ""
    if made and not any(message.learned for message in made):
        seen["conversations of which no answer is to be learned (weight 0), left out"] += 1
        return [], ""
    if unlearned := sum(message.role == "assistant" and not message.learned for message in made):
        seen["answers that are read and not learned (weight 0)"] += unlearned
    return made, ""


def _misplaced(role: str, before: Message | None, number: int) -> str:
    """Return why a message cannot follow the one before it, or nothing where it can."""
    if role == "system":
        return f"message {number} is the system's; it stands before all others" if number > 1 else ""
    last = before.role if before else "system"
    called = before is not None and bool(before.details.get("tool_calls"))
    wanted = {"system": ("user",), "user": ("assistant",), "tool": ("assistant", "tool")}.get(last, ("user",))
    # A call is answered by a tool, whoever else could speak.
    wanted = ("tool",) if called else wanted
    if role in wanted:
        return ""
    after = f"follows the {before.role}'s" if before else "is the first"
    if role == "tool":
        return f"message {number} is a tool's and {after}; a tool answers a call (tool_calls) of the assistant"
    if called:
        return f"message {number} is the {role}'s and follows a call of tools; what these gave (role tool) is not there"
    return f"message {number} is the {role}'s and {after}; user and assistant take turns, the user first"


def written_out(row: Interaction, messages: Sequence[Message]) -> str:
    """Return messages as JSON, [[role, content], ...], with what else a message has in third place."""
    if not messages:
        return ""
    # As a message of its own before all others, which needs no other form for rows with tools.
    declared = [Message(TOOLS, "", {TOOLS: list(row.tools)})] if row.tools else []
    short = [
        list(message) if message.details else [message.role, message.content] for message in (*declared, *messages)
    ]
    return json.dumps(short, ensure_ascii=False, default=str)
