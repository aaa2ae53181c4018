"""Transcripts: lines such as `User: ...` and `Atendente: ...`, and marks of chat templates, as dialogues of messages."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

__all__ = ["ROLES", "Message", "Speakers", "Transcript", "other_speakers"]

Message = dict[str, Any]
"""`role` and `content`, as the OpenAI chat format has them, and what else a message may have (messages.py)."""

ROLES = {
    "user": "user human prompter customer client guest visitor caller patient student question query prompt instruction "
    "comment me q usuário usuario cliente humano pergunta comentário comentario consumidor aluno paciente visitante pregunta "
    "utilisateur benutzer kunde",
    "assistant": "assistant bot ai ia chatbot agent support operator advisor gpt chatgpt model answer response reply output "
    "a assistente atendente agente suporte vendedor robô robo resposta asistente respuesta berater",
    "system": "system developer sistema système",
    "tool": "tool function observation tool_response tool_result ipython ferramenta",
}
"""Names of speakers by role, in lower case; those of files (`from: human`) and those before a colon are the same."""
_WEAK = {"q", "a", "me", "ai", "ia", "question", "query", "prompt", "instruction", "comment", "answer", "response", "reply",
         "output", "model", "pergunta", "comentário", "comentario", "resposta", "pregunta", "respuesta", "support", "suporte",
         "tool", "function", "observation", "tool_response", "tool_result", "ipython", "developer", "ferramenta"}  # fmt: skip
"""Names that are also common words: speakers at the start of a line only, never in the middle."""

_TEMPLATES = (
    (re.compile(r"<\|im_start\|>\s*(\w+)[ \t]*\n?"), r"\n\1: "),
    (re.compile(r"<\|(user|assistant|system)\|>\s*"), r"\n\1: "),
    (re.compile(r"<\|start_header_id\|>\s*(\w+)\s*<\|end_header_id\|>\s*"), r"\n\1: "),
    (re.compile(r"(?<=\S)[ \t]+(?=#{2,4}[ \t]*\w)"), "\n"),
    (re.compile(r"\[INST\]"), "\nuser: "),
    (re.compile(r"\[/INST\]"), "\nassistant: "),
    (re.compile(r"<\|(?:im_end|eot_id|end|begin_of_text)\|>|<s>"), "\n"),
    (re.compile(r"<\|endoftext\|>|</s>|<\|end_of_text\|>"), "\n---\n"),
)
_SEPARATOR = (
    r"\s*+(?:[-=*_#~]{3,}+|#{1,4}\s*+end\.?|[#*\s]*+(?:conversation|dialogue?|chat|example|conversa|diálogo|exemplo)\s*+"
    r"(?:n[º°o.]*+\s*+)?#?\d++\s*+[:.*]*+)\s*+"
)
_BEFORE = (
    r"\s*+(?:(?:\[[^\]\n]{1,40}\]|\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4},?|\d{1,2}[:h]\d\d(?::\d\d)?|[-–—*>•#_]++|\d{1,4}[.)])"
    r"\s*+){0,4}+"
)
"""A pattern of what may stand before a name: a date, a time, a bullet, a number, marks of headings and of bold type."""
_AFTER = r"(?:\s?\d{1,3})?(?:\s?\([^)\n]{1,40}\))?[*_]{0,3}\s?[:：][*_]{0,3}\s*"

_NAME = re.compile(rf"{_BEFORE}([^\W\d_][\w .'-]{{0,24}}?){_AFTER}")


@dataclass(frozen=True)
class Speakers:
    """Says who is who in a transcript; names given here come before the known ones."""

    user: tuple[str, ...] = ()
    assistant: tuple[str, ...] = ()
    separator: str | None = None
    """Regular expression of a line between two dialogues; left out, blank lines, rules and numbered headings."""

    @cached_property
    def roles(self) -> dict[str, str]:
        """Return each role by name in lower case."""
        known = {name: role for role, names in ROLES.items() for name in names.split()}
        named = {name.lower(): role for role in ("user", "assistant") for name in getattr(self, role)}
        # Names that a person gives win over the known ones.
        return known | named

    @cached_property
    def _mark(self) -> re.Pattern[str]:
        # The longest name first, or `ai assistant` would be read as `ai`.
        names = "|".join(re.escape(name) for name in sorted(self.roles, key=len, reverse=True))
        return re.compile(rf"{_BEFORE}({names}){_AFTER}", re.IGNORECASE)

    @cached_property
    def _inline(self) -> re.Pattern[str]:
        # In the middle of a line only capitalised, unmistakable names count: a sentence may hold "answer:" itself.
        strong = [name for name in self.roles if name not in _WEAK]
        spelled = {form for name in strong for form in (name.capitalize(), name.upper())}
        names = "|".join(re.escape(name) for name in sorted(spelled, key=len, reverse=True))
        return re.compile(rf"(?<=[^\s:])[ \t]+(?=(?:{names})\s?:\s)")

    @cached_property
    def _between(self) -> re.Pattern[str]:
        return re.compile(self.separator or _SEPARATOR, re.IGNORECASE)

    def mark(self, line: str) -> tuple[str, str, bool] | None:
        """Return the role that a line's mark names, what is said behind it, and whether the name may be a common word.

        None for a line without a mark.
        """
        match = self._mark.match(line)
        if match is None:
            return None
        name = match[1].lower()
        # A name that a person gave, or that a heading marks, is a speaker's and no common word.
        weak = name in _WEAK and name not in self.user + self.assistant and "##" not in match[0]
        return self.roles[name], line[match.end() :], weak

    def separates(self, line: str) -> bool:
        """Return whether a line stands between two dialogues and belongs to neither."""
        return self._between.fullmatch(line) is not None

    def lines(self, text: str) -> list[str]:
        """Divide a text into lines with at most one mark each, at its start."""
        # Marks of templates have one of these signs; most texts have none, and are not searched ten times.
        if "<" in text or "[" in text or "##" in text:
            for pattern, instead in _TEMPLATES:
                text = pattern.sub(instead, text)
        return [part for line in text.split("\n") for part in self._apart(line)]

    def _apart(self, line: str) -> list[str]:
        if (match := self._mark.match(line)) is None:
            return [line]
        # Behind the first mark, which is the line's own.
        first, *more = self._inline.split(line[match.end() :])
        return [match[0] + first, *more]

    def dialogues(self, text: str) -> list[list[Message]]:
        """Read the dialogues of a text; none where no line is marked."""
        transcript = Transcript(self)
        ended = [dialogue for line in self.lines(text) for dialogue in transcript.feed(line)]
        return [*ended, *transcript.end()]


class Transcript:
    """Puts lines together to dialogues as they come.

    A separator ends a dialogue; so does a blank line with the user's mark behind it, or with the assistant's
    where it spoke before. Lines without a mark go on with the turn before them, or are `loose` where there is none.
    """

    MOST_TURNS = 200
    """Turns without any separator after which they are given out: a file of questions and answers has no dialogues."""

    def __init__(self, speakers: Speakers) -> None:
        self.speakers = speakers
        self.loose: list[str] = []
        self._messages: list[Message] = []
        self._lines: list[str] = []
        self._blank = False
        self._named: set[str] = set()
        """Roles that a name which is no common word has been seen for."""

    def feed(self, line: str) -> Iterator[list[Message]]:
        """Take the next line; yields the dialogue that it ends, if any."""
        # A blank line may end a dialogue or part two paragraphs: what follows tells.
        if not line.strip() and self.speakers.separator is None:
            self._blank = True
            if self._lines:
                self._lines.append("")
            return
        marked = self.speakers.mark(line)
        if marked is None:
            if self.speakers.separates(line):
                yield from self.end()
            # Lines without a mark go on with what was being said.
            elif self._messages:
                self._lines.append(line)
            else:
                self.loose.append(line)
            return
        role, text, weak = marked
        if weak and role in self._named and self._messages:
            # `Model: X200` in what an `Assistant:` says is no turn.
            self._lines.append(line)
            return
        if not weak:
            self._named.add(role)
        last = self._messages[-1]["role"] if self._messages else None
        apart = self._blank and self.speakers.separator is None
        # A long file of questions and answers is divided somewhere, so that no row is the whole of it.
        full = len(self._messages) >= self.MOST_TURNS
        begins = role == "system" or (role == "user" and (apart or full)) or (apart and role == last == "assistant")
        if last not in (None, "system") and begins:
            yield from self.end()
        self._close()
        self._messages.append({"role": role, "content": text})
        self._lines, self._blank = [text], False

    def end(self) -> Iterator[list[Message]]:
        """Yield the dialogue that was begun, if any."""
        self._close()
        if self._messages:
            yield self._messages
        self._messages, self._blank = [], False

    def _close(self) -> None:
        if self._messages:
            self._messages[-1]["content"] = "\n".join(self._lines).strip()
        self._lines = []


def other_speakers(lines: Iterable[str], most: int = 4) -> list[str]:
    """Return names that stand before a colon at the start of at least half of the lines, the most frequent first."""
    counts: Counter[str] = Counter()
    filled = 0
    for line in filter(str.strip, lines):
        filled += 1
        if match := _NAME.match(line):
            counts[match[1]] += 1
    # Only if such lines are the rule: names before colons occur in any prose.
    return [name for name, _ in counts.most_common(most)] if 2 * counts.total() >= filled else []
