"""Every phrase that a person reads is there in both languages, and every phrase that is there is said somewhere."""

import ast
import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

import afina
import afina.words
from afina.errors import UsageError
from afina.words.language import Words, phrases

SOURCE = Path(afina.__file__).parent
TREES = {
    path: ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(SOURCE.rglob("*.py"))
    if path.parent != SOURCE / "words"
}
ONE_FORM = {"base", "tokens/s", "p (Holm)", "F1"}
"""Written alike in both."""


def constants(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def said(tree: ast.AST) -> Iterator[str]:
    """Yield what `words(...)`, `self.words(...)` and a conversation's `self.note(...)` say, both where one of two is."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", None))
        owner = getattr(getattr(node.func, "value", None), "id", None)
        first = node.args[0]
        if name == "words" or (name == "note" and owner == "self"):
            branches = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
            yield from (each.value for each in branches if isinstance(each, ast.Constant))


def names(phrase: str) -> Counter[str]:
    return Counter(name for _, name, _, _ in Formatter().parse(phrase) if name is not None)


def test_every_phrase_that_is_said_has_its_portuguese() -> None:
    spoken = {phrase for tree in TREES.values() for phrase in said(tree)}
    assert len(spoken) > 80
    assert not spoken - phrases().keys()


def test_every_phrase_is_said_somewhere() -> None:
    everywhere = {text for tree in TREES.values() for text in constants(tree)}
    help_lines = {phrase for phrase in phrases() if phrase.startswith("/") and "  " in phrase}  # said by their table
    assert not phrases().keys() - everywhere - help_lines


@pytest.mark.parametrize("phrase", phrases())
def test_both_languages_fill_in_the_same_names(phrase: str) -> None:
    assert names(phrase) == names(phrases()[phrase])
    assert phrases()[phrase] != phrase or phrase in ONE_FORM or not phrase.islower()


def test_no_two_files_put_a_phrase_differently() -> None:
    found: dict[str, str] = {}
    for info in pkgutil.iter_modules(afina.words.__path__, "afina.words."):
        for phrase, portuguese in getattr(importlib.import_module(info.name), "PORTUGUESE", {}).items():
            assert found.setdefault(phrase, portuguese) == portuguese, phrase


def test_words_speak_the_language_that_is_asked_for() -> None:
    assert Words()("Runner-up") == "Runner-up"
    assert Words("pt")("Runner-up") == "Em segundo lugar"
    assert Words("pt")("a name of somebody's") == "a name of somebody's"
    with pytest.raises(UsageError, match="--language is en or pt, not 'fr'"):
        Words("fr")
