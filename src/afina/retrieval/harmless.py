"""Make a document's words harmless in a prompt: they stay words, whatever they imitate.

A passage stands in one line, without control characters; no special token and no mark of the chat's template is left whole in
it, and no number in brackets, which only the passages' own numbers are.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from afina.generation.template import Template

__all__ = ["harmless", "marks_of"]

_PROBES = ("\u2063q\u2063", "\u2063a\u2063", "\u2063b\u2063")
_SIGNS = frozenset("<>[]|{}#「」▁")
_NUMBER = re.compile(r"\[(\s*\d[\d\s,;–-]*)\]")


def marks_of(tokenizer: Any, template: Template) -> tuple[str, ...]:
    """Return what a document's text must not hold whole: the tokenizer's added tokens, and the template's marks."""
    from afina.data.dialogues.messages import Message

    marks = {str(token) for token in tokenizer.get_added_vocab()} | set(map(str, tokenizer.all_special_tokens))
    user, answer, more = _PROBES
    turns = [Message("user", user), Message("assistant", answer), Message("user", more)]
    text = template.prompt(turns)
    for probe in _PROBES:
        text = text.replace(probe, " ")
    marks |= {word for word in (*text.split(), *(part for stop in template.stop for part in stop.split()))
              if _SIGNS & set(word)}  # fmt: skip
    return tuple(sorted((mark for mark in marks if len(mark.strip()) > 1), key=len, reverse=True))


def harmless(text: str, marks: Sequence[str]) -> str:
    """Return a document's text in one line, with every mark in it broken by a space and numbers in round brackets."""
    text = "".join(" " if _blank(letter) else letter for letter in text if _stays(letter))
    text = _NUMBER.sub(r"(\1)", " ".join(text.split()))
    folded = unicodedata.normalize("NFKC", text)
    # Letters that look like others become those in some tokenizers, and would make a mark there.
    if folded != text and any(mark in folded and mark not in text for mark in marks):
        text = folded
    changed = True
    while changed:
        changed = False
        for mark in marks:
            if mark in text:
                text, changed = text.replace(mark, f"{mark[0]} {mark[1:]}"), True
    return text


def _blank(letter: str) -> bool:
    return letter.isspace() or unicodedata.category(letter) in ("Cc", "Zl", "Zp")


def _stays(letter: str) -> bool:
    """Return whether a letter is seen: no mark of direction, no letter of no width, no private or lone half of one."""
    return letter.isspace() or unicodedata.category(letter) not in ("Cf", "Co", "Cs", "Cn")
