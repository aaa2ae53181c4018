"""What is read in Portuguese has a decimal comma: each number in a page, a table or a note is written by `Words`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from afina.words.language import Words
from afina.words.notes import NOTES, said_note
from afina.words.serving import SERVED
from source import SOURCE, tree_of

SPEAKERS = [
    path for path in sorted(SOURCE.rglob("*.py"))
    if re.search(r"^ *from afina\.words\.language import .*\bWords\b", path.read_text("utf-8"), re.MULTILINE)
]  # fmt: skip
"""Files that say something in a language, which a new page or table is among as soon as it is there."""
POINTED = re.compile(r"[,%eEfFgG]$|\.\d")
"""Formats that write a point or a comma into a number."""


def unsaid(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the numbers that f-strings and `format` write with marks of their own, where a person reads them."""
    # An error is English, and `words.written` turns the marks of what it is given.
    spared = {
        id(inner) for node in ast.walk(tree) for inner in ast.walk(node)
        if isinstance(node, ast.Raise)
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "written")
    }  # fmt: skip
    for node in ast.walk(tree):
        if id(node) in spared:
            continue
        if isinstance(node, ast.JoinedStr):
            yield from ((node.lineno, text) for text in _read(node))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "format":
            form = node.args[1] if len(node.args) > 1 else None
            if isinstance(form, ast.Constant) and POINTED.search(str(form.value)):
                yield node.lineno, ast.unparse(node)


def _read(node: ast.JoinedStr) -> Iterator[str]:
    before = ""
    constants = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
    # Places in a drawing and shades are no text.
    if constants == "," or constants.startswith("hsl("):
        return
    for part in node.values:
        if isinstance(part, ast.Constant):
            before += part.value
        elif isinstance(part, ast.FormattedValue):
            form = "" if part.format_spec is None else ast.unparse(part.format_spec)[2:-1]
            # Within a tag stand sizes and places, which are written with a point in every language.
            if POINTED.search(form) and before.rfind("<") <= before.rfind(">"):
                yield ast.unparse(node)
            before += "7"


@pytest.mark.parametrize("path", SPEAKERS, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_number_that_is_read_is_written_by_the_language(path: Path) -> None:
    assert not list(unsaid(tree_of(path)))


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('f"{value:.2f}"', 1),
        ('words("{x}", x=f"{100 * value:.0f}%")', 1),
        ('words("{x}", x=f"{value:+,.1f}%")', 1),
        ('f"{count:,} rows"', 1),
        ('f"<b>{value:.1f}</b>"', 1),
        ('f"<i style=width:{value:.1f}%></i>"', 0),
        ('f"{x:.1f},{y:.1f}"', 0),
        ('words.written(f"{value:.3g}")', 0),
        ('format(value, ".3g")', 1),
        ('raise UsageError(f"not {value:.3g}")', 0),
    ],
)
def test_what_finds_them_does(source: str, count: int) -> None:
    assert len(list(unsaid(ast.parse(source)))) == count


def test_a_float_in_a_phrase_has_the_languages_comma() -> None:
    assert Words("pt")("{share}%", share=12.5) == "12,5%"
    assert Words("en")("{share}%", share=12.5) == "12.5%"


def test_figures_in_notes_get_a_comma_and_names_and_settings_keep_their_point() -> None:
    said = said_note("0.12 of 1,034.5 nats a token", "pt")
    assert said == "0,12 de 1.034,5 nats por token"
    assert said_note("12.3 MB", "pt") == "12,3 MB"
    (row,) = (key for key in NOTES if "alpha stays" in key)
    filled = row.format(method="lora", alpha="16", rank="4", scale="4.5", usual="2.5", written="8.5")
    said = said_note(filled, "pt")
    assert "é 4,5 (2,5 " in said and "alpha: 8.5 " in said


def test_every_phrase_with_a_figure_of_its_own_has_the_languages_mark() -> None:
    # A decimal written into an English note is one in the Portuguese too, but for what is typed.
    for english, portuguese in (NOTES | SERVED).items():
        for figure in re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", english):
            assert figure in re.findall(r"`[^`]*`", portuguese) or figure.replace(".", ",") in portuguese
