"""No text of a person's keeps a regular expression of these rooms busy for longer than its length lets it.

Every pattern of the rooms is asked, as the code asks it, for its own letters many times over with something behind that does
not fit: what tries all ways to divide them takes the square of their number, and a row of 30 kB an hour.
"""

import importlib
import inspect
import pkgutil
import re
import time
from collections.abc import Iterator
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

import afina.corpus
import afina.data
import afina.retrieval
from afina.corpus.personal import find_personal, mask_personal
from afina.corpus.rules import _mended
from afina.data.dialogues.speakers import Speakers
from afina.data.templates.controls import controls_of
from afina.retrieval.readers.markdown import headings_of

ROOMS = (afina.corpus, afina.data, afina.retrieval)
FEW, MANY, SECONDS = 4_000, 20_000, 0.1
"""Of a letter, and what a search among them may take: a hundred times what one needs that looks at each once or twice, and
a fifth of what one needs that looks at each again for each before it. The few come first, as some would take an hour."""
VERBS = {"search", "match", "fullmatch", "sub", "finditer", "findall", "split", "subn"}
END = "\u2003\x01"
"""Behind the letters: a space that few patterns mean, and what none does."""
LETTERS = ' \t\n\r\u00a0a1Z.,:;-_*#@"/(|[<>]+=~`º\u200b'


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    speakers = Speakers()
    yield "Speakers.separator", speakers._between
    yield "Speakers.mark", speakers._mark
    yield "Speakers.inline", speakers._inline
    names = type(
        "Names", (), {"all_special_tokens": ["<s>", "</s>", "<|im_start|>", "[SEP]"], "added_tokens_decoder": {}}
    )
    controls = controls_of(names())
    assert controls is not None
    yield "controls", controls
    for room in ROOMS:
        for info in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                each = value if isinstance(value, tuple) else value.values() if isinstance(value, dict) else [value]
                for place, one in enumerate(
                    part for own in each for part in (own if isinstance(own, tuple) else [own])
                ):
                    if isinstance(one, re.Pattern) and isinstance(one.pattern, str):
                        yield f"{info.name}.{name}{place or ''}", one


PATTERNS = dict(patterns())


def pieces(pattern: re.Pattern[str]) -> list[str]:
    """Return letters that a pattern means, one of each kind that it names, and the words in it."""
    found: dict[str, None] = {}
    word = ""

    def walk(parts: Any) -> None:
        nonlocal word
        for kind, value in parts:
            if kind is _constants.LITERAL:
                word += chr(value)
                continue
            if word:
                found.update(dict.fromkeys((word, word[0])))
                word = ""
            if kind is _constants.IN:
                found.update((chr(own), None) for what, own in value if what is _constants.LITERAL)
                found.update((chr(own[0]), None) for what, own in value if what is _constants.RANGE)
            elif isinstance(value, tuple | list):
                for own in value:
                    if isinstance(own, _parser.SubPattern):
                        walk(own)
                    elif isinstance(own, list):
                        for each in own:
                            walk(each)
        if word:
            found.update(dict.fromkeys((word, word[0])))
            word = ""

    walk(_parser.parse(pattern.pattern, pattern.flags))
    return list(found)


def seconds(ask: Any, text: str) -> float:
    start = time.thread_time()
    ask(text)
    return time.thread_time() - start


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_takes_time_as_a_text_has_letters(name: str) -> None:
    pattern = PATTERNS[name]
    said = set(VERBS)
    if name.startswith("afina."):
        module, own = name.rstrip("0123456789").rsplit(".", 1)
        source, verbs_of = inspect.getsource(importlib.import_module(module)), "|".join(VERBS)
        # One that is called by another name, in a loop, is asked as anything in its module is.
        said = (
            {*re.findall(rf"\b{own}\.({verbs_of})\b", source)} or {*re.findall(rf"\w\.({verbs_of})\(", source)} or VERBS
        )
    elif name in ("Speakers.separator", "Speakers.mark"):
        said = {"fullmatch", "match"}
    verbs = [getattr(pattern, verb) for verb in said & {"fullmatch", "match"}]
    verbs += [lambda text: pattern.sub("", text)] if said - {"fullmatch", "match"} else []
    known = pieces(pattern)
    repeated = dict.fromkeys((*" \t\u00a0a1.", *known[:16], *LETTERS[:12]))
    starts = ["", "a", *(first for first in known if len(first) > 1)][:5]
    starts += [f"{first} 1" for first in starts[2:4]]
    for verb in verbs:
        for start in starts:
            for letter in repeated:
                for times in (FEW, MANY):
                    text = start + letter * (times // len(letter)) + END
                    taken = seconds(verb, text)
                    if taken > SECONDS:
                        taken = min(seconds(verb, text) for _ in range(2))
                    told = f"{pattern.pattern!r} took {taken:.2f} s for {start!r} and {letter!r} x {times}"
                    assert taken <= SECONDS, told


def test_rules_take_time_as_a_row_has_letters() -> None:
    for ask, text in (
        (_mended, "a" + " " * 30_000 + "\u2003b"),
        (mask_personal, "ana@example.com " * 3_000),
        (find_personal, "+55 11 91234-5678 " * 2_000),
        (headings_of, "# a" + " \t" * 2_000 + "b"),
    ):
        assert seconds(ask, text) < 0.5


def test_numbers_next_to_one_another_are_each_told_once() -> None:
    text = "ana@x.com 529.982.247-25 and +55 11 91234-5678, bia@y.org"
    assert find_personal(text) == {"email": 2, "cpf": 1, "phone": 1}
    assert mask_personal(text) == "[EMAIL] [CPF] and [PHONE], [EMAIL]"
