"""Every phrase that a person reads is there in both languages, and every phrase that is there is said somewhere."""

import ast
import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from string import Formatter

import pytest

import afina
import afina.words
from afina.cli.command import COMMANDS
from afina.errors import UsageError
from afina.methods.base import METHODS, registry
from afina.words.language import Words, phrases
from afina.words.notes import NOTES
from afina.words.page import PORTUGUESE as PAGE
from source import SOURCE, tree_of

ONE_FORM = {
    "base", "tokens/s", "{rate} tokens/s", "{name} (base)", "{count} token", "{count} tokens", "{count} ms", "p (Holm)", "F1",
    "{share}%", "{what} ({about})", "{name}: {groups}",
}  # fmt: skip
"""Written alike in both."""


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    """Give the source's files, but for those of the phrases themselves."""
    paths = [path for path in sorted(SOURCE.rglob("*.py")) if path.parent != SOURCE / "words"]
    return {path: tree_of(path) for path in paths}


def constants(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def said(tree: ast.AST) -> Iterator[str]:
    """Yield what `words(...)`, `Sentence(...)` and a conversation's `self.note(...)` say, both where one of two is."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", None))
        owner = getattr(getattr(node.func, "value", None), "id", None)
        first = node.args[0]
        if name in ("words", "Sentence") or (name == "note" and owner == "self"):
            branches = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
            yield from (each.value for each in branches if isinstance(each, ast.Constant))
        elif name == "counted":
            yield from (each.value for each in node.args[1:] if isinstance(each, ast.Constant))


def page_phrases() -> set[str]:
    """Return what the page of `afina serve` says: marked in its HTML, and handed to `say` or `spoken` in its script."""
    folder = SOURCE / "serve" / "page"
    html = (folder / "index.html").read_text(encoding="utf-8")
    script = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.js")))
    marked = re.findall(r'data-say[^>]*>([^<]+)<|data-placeholder="([^"]+)"', html)
    handed = re.findall(
        r'\b(?:say|spoken)\((?:[^"()]+\? )?"([^"]+)"(?: : "([^"]+)")?', script
    )  # both where one of two is
    return {text for pair in (*marked, *handed) for text in pair if text}


def names(phrase: str) -> Counter[str]:
    return Counter(name for _, name, _, _ in Formatter().parse(phrase) if name is not None)


@pytest.mark.always
def test_every_phrase_that_is_said_has_its_portuguese(trees: dict[Path, ast.Module]) -> None:
    spoken = {phrase for tree in trees.values() for phrase in said(tree)}
    assert len(spoken) > 80
    assert not spoken - phrases().keys()


CLI = sorted(path.stem for path in (SOURCE / "cli").glob("*.py") if path.stem not in ("__init__", "main"))
"""Files of cli/ but `main`, which speaks before any language is known."""
PRINTS = (
    "print",
    "note",
    "_say",
    "_log",
    "_reset",
    "Table",
    "add_row",
    "add_column",
    "Panel",
    "tell",
    "working",
    "stages_bar",
    "steps_bar",
    "show_file",
    "table_of",
    "add_task",
)


def printed(tree: ast.AST) -> Iterator[str]:
    """Yield the words that are handed to what prints without a call of `words` between."""

    def plain(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            # A method of strings, or what makes text for the terminal, hands on what it is given.
            for each in node.args if name in ("Text", "join", "append") else ():
                yield from plain(each)
        elif isinstance(node, ast.GeneratorExp | ast.ListComp):
            yield from plain(node.elt)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                yield node.value
        elif not isinstance(node, ast.keyword | ast.FunctionDef | ast.Compare | ast.Subscript):
            for child in ast.iter_child_nodes(node):
                yield from plain(child)

    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) == "self.note":  # which says it in its language
            continue
        if getattr(node.func, "id", getattr(node.func, "attr", "")) in PRINTS:
            for each in node.args:
                yield from plain(each)


@pytest.mark.parametrize("name", CLI)
def test_nothing_is_printed_in_english_alone(name: str, trees: dict[Path, ast.Module]) -> None:
    styles = {"dim", "bold", "red", "green", "yellow", "right", "left", "default"}
    units = {"afina", "GB", "MB", "min", "adapter", "Markdown", "CSV", "LaTeX", "tables"}
    for text in printed(trees[SOURCE / "cli" / f"{name}.py"]):
        typed = re.sub(r"\bafina [a-z]+|--\w+ best", "", text)  # what a person is to type
        words = set(re.findall(r"[A-Za-z]{2,}", typed)) - styles - units
        assert not words, text


def test_every_command_takes_a_language() -> None:
    """But for those that are only the name before other commands."""
    without = {name for name, run in COMMANDS.items() if "language" not in signature(run).parameters}
    assert without == {"audit", "data", "rag"}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_is_in_portuguese(name: str) -> None:
    """It stands in the method's own file; what only inherits it would say what another is."""
    assert vars(registry()[name]).get("portuguese")


def test_every_phrase_is_said_somewhere(trees: dict[Path, ast.Module]) -> None:
    everywhere = {text for tree in trees.values() for text in constants(tree)}
    help_lines = {phrase for phrase in phrases() if phrase.startswith("/") and "  " in phrase}  # said by their table
    assert not phrases().keys() - everywhere - help_lines - page_phrases()


def test_the_page_says_nothing_in_english_alone() -> None:
    assert page_phrases() == PAGE.keys()


def test_both_languages_fill_in_the_same_names() -> None:
    assert not [(phrase, other) for phrase, other in phrases().items() if names(phrase) != names(other)]


def test_a_phrase_is_not_its_own_portuguese() -> None:
    alike = [phrase for phrase, other in phrases().items() if phrase == other and phrase.islower()]
    assert not set(alike) - ONE_FORM


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


def test_one_is_counted_in_the_singular_in_both_languages() -> None:
    forms = ("{count} run failed", "{count} runs failed")
    assert [Words().counted(count, *forms) for count in (1, 2)] == ["1 run failed", "2 runs failed"]
    portuguese = [Words("pt").counted(count, *forms) for count in (0, 1, 1_234)]
    assert portuguese == ["0 execuções falharam", "1 execução falhou", "1.234 execuções falharam"]


def test_a_row_has_one_name_in_portuguese() -> None:
    """`linha`, as reports have it: `exemplo` beside it would read as another thing."""
    everything = [*phrases().values(), *NOTES.values()]
    assert not [text for text in everything if re.search(r"(?<!por )\bexemplos?\b", text)]
