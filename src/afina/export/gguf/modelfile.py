"""A Modelfile, by which Ollama makes a model of a GGUF file: its template in Go's language, and what ends an answer.

Ollama reads no Jinja. What a chat template writes around each role's words is found by having it write conversations; the
form is kept only if, put together again, it gives what the template gives, to the byte.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from afina.errors import UsageError
from afina.export.chat import Messages, rendered

__all__ = ["NO_TEMPLATE", "Around", "around_of", "modelfile"]

NO_TEMPLATE = (
    "Modelfile: the chat template does more than write turns, so that it is not there; Ollama goes by what it knows of the "
    "model."
)


class Around(NamedTuple):
    """Holds what stands before and after each role's words, before the first turn and before the answer."""

    roles: Mapping[str, tuple[str, str]]
    begin: str
    answer: str
    default: str
    """The system's words in a conversation that has none."""

    def text(self, messages: Messages) -> str:
        """Return a conversation up to its answer, as Ollama puts it together."""
        given = list(messages)
        if self.default and given[0]["role"] != "system":
            given.insert(0, {"role": "system", "content": self.default})
        parts = [f"{self.roles[own['role']][0]}{own['content']}{self.roles[own['role']][1]}" for own in given]
        return self.begin + "".join(parts) + self.answer


# Signs that no template writes, so that each is found again in what it wrote.
_A, _B, _C, _S = (f"\u2063{letter}\u2063" for letter in "abcs")


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _talks() -> list[Messages]:
    system, reply = {"role": "system", "content": _S}, {"role": "assistant", "content": _B}
    return [
        [_user(_A)],
        [_user(_A), reply, _user(_C)],
        [system, _user(_A)],
        [system, _user(_A), reply, _user(_C), reply, _user(_A)],
    ]


def around_of(source: str, specials: Mapping[str, str]) -> Around | None:
    """Return what a template writes around each role's words; None for one that does more than that."""

    def write(messages: Messages, answer: bool = False) -> str:
        return rendered(source, specials, messages, answer=answer)

    try:
        around = _parted(write)
        talks = [talk for talk in _talks() if "system" in around.roles or talk[0]["role"] != "system"]
        same = all(around.text(talk) == write(talk, True) for talk in talks)
    except (UsageError, ValueError):  # it refuses a conversation, or leaves words out
        return None
    return around if same else None


def _parted(write: Callable[..., str]) -> Around:
    reply = {"role": "assistant", "content": _B}
    alone, answered, again = write([_user(_A)]), write([_user(_A), reply]), write([_user(_A), reply, _user(_C)])
    # Of a first turn and a later one: many templates write something before the very first.
    before, after_user = _cut(alone, _A)
    between = again[again.index(_A) + len(_A) : again.index(_B)]
    after_reply = answered[answered.index(_B) + len(_B) :]
    next_user = again[again.index(_B) + len(_B) : again.index(_C)].removeprefix(after_reply)
    roles = {"user": (next_user, after_user), "assistant": (between.removeprefix(after_user), after_reply)}
    begin, default = before.removesuffix(next_user), ""
    try:
        written = write([{"role": "system", "content": _S}, _user(_A)])
        opened, rest = _cut(written, _S)
        closed = rest[: rest.index(_A)].removesuffix(next_user)
        # Words that stand there without being given are a default of the template's.
        if begin and opened + closed and begin.startswith(opened) and begin.endswith(closed):
            default = begin[len(opened) : len(begin) - len(closed)]
            begin = ""
        roles["system"] = (opened.removeprefix(begin), closed)
    except (UsageError, ValueError):
        pass
    return Around(roles, begin, write([_user(_A)], True).removeprefix(alone), default)


def _cut(text: str, mark: str) -> tuple[str, str]:
    place = text.index(mark)
    return text[:place], text[place + len(mark) :]


def modelfile(
    base: str, *, adapter: str | None, source: str | None, specials: Mapping[str, str], begins: bool, stops: Sequence[str],
    context: int,
) -> str:  # fmt: skip
    """Return a Modelfile's text; `begins` says that llama.cpp writes the first mark by itself."""
    lines = [f"FROM ./{base}", *([] if adapter is None else [f"ADAPTER ./{adapter}"])]
    around = None if source is None else around_of(source, specials)
    if around is not None and (form := _go(around, specials.get("bos_token", "") if begins else "")) is not None:
        lines.append(form)
        if around.default:
            lines.append(f"SYSTEM {_text(around.default)}")
    elif source is not None:
        lines.append(f"# {NO_TEMPLATE}")
    lines += [f"PARAMETER stop {_text(stop)}" for stop in stops]
    lines.append(f"PARAMETER num_ctx {context}")
    return "\n".join(lines) + "\n"


def _go(around: Around, first: str) -> str | None:
    """Return the template as Go has it, without a first mark that is written anyway."""
    roles, begin = dict(around.roles), around.begin
    if first and begin.startswith(first):
        begin = begin.removeprefix(first)
    elif first and "system" in roles and roles["system"][0].startswith(first):
        roles["system"] = (roles["system"][0].removeprefix(first), roles["system"][1])
    parts, word = [_literal(begin), "{{ range .Messages }}"], "if"
    for role, (before, after) in roles.items():
        parts.append(f'{{{{ {word} eq .Role "{role}" }}}}{_literal(before)}{{{{ .Content }}}}{_literal(after)}')
        word = "else if"
    text = "".join([*parts, "{{ end }}{{ end }}", _literal(around.answer)])
    return f'TEMPLATE """{text}"""' if _kept(text) and _kept(around.default) else None


def _literal(text: str) -> str:
    """Return text as Go's templates write it; a brace before what is to be done would be read as part of that."""
    braces = text.endswith("{") or "{{" in text
    return re.sub(r"\{+", lambda own: f'{{{{ "{own[0]}" }}}}', text) if braces else text


def _kept(text: str) -> bool:
    """Return whether Ollama reads a text between three quotes as it is: it leaves out what cannot be printed."""
    return '"""' not in text and all(own.isprintable() or own in "\n\t" for own in text)


def _text(value: str) -> str:
    # Spaces at its ends and quotation marks are kept only between three of them.
    if '"' in value or "\n" in value or value != value.strip():
        return f'"""{value}"""'
    return f'"{value}"'
