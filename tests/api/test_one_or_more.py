"""One text where several may be given: it is never read letter by letter."""

import ast
from pathlib import Path
from typing import Any

import pytest

import afina
import afina.api
from afina.errors import UsageError
from afina.one_or_more import one_or_more
from afina.predictor.predictor import rows_of
from afina.retrieval.index import Index
from afina.study.devices.asked import asked_machines

FACES = sorted(Path(next(iter(afina.api.__path__))).glob("*.py"))
CASES = [
    (path, function, argument)
    for path in FACES
    for function in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(function, ast.FunctionDef) and not function.name.startswith("_")
    for argument in (*function.args.args, *function.args.kwonlyargs)
    if "Sequence[str" in (kind := ast.unparse(argument.annotation) if argument.annotation else "")
    or "Sequence[int" in kind
]
PASSED_ON = {
    ("studies", "plan", "devices"), ("studies", "plan", "prices"), ("prediction", "predict_file", "keep"),
    ("data", "generate", "topics"),
}  # fmt: skip
"""Faces that hand what they are given to another one."""


def test_one_text_path_or_number_is_a_list_of_one() -> None:
    assert one_or_more("text") == ["text"]
    assert one_or_more(Path("file")) == [Path("file")]
    assert one_or_more(3) == [3]
    assert one_or_more(("a", "b")) == ["a", "b"]
    assert one_or_more(None) is None


@pytest.mark.parametrize(
    ("path", "function", "argument"), CASES, ids=[f"{p.stem}.{f.name}-{a.arg}" for p, f, a in CASES]
)
def test_every_face_that_takes_several_takes_one(path: Path, function: ast.FunctionDef, argument: ast.arg) -> None:
    assert argument.annotation is not None
    assert (
        ast.unparse(argument.annotation).strip("'").startswith(("str |", "int |", "Mapping[str, str | float] | str |"))
    )
    taken = {
        ast.unparse(call.args[0])
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "one_or_more"
    }
    assert (argument.arg in taken) != ((path.stem, function.name, argument.arg) in PASSED_ON)


def test_one_file_is_measured_as_a_list_of_it(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Bees make honey.\n")
    alone, listed = (
        afina.evaluate("afina-small", text=text, against_base=False).as_dict()["rows"]
        for text in (tmp_path / "text.txt", [tmp_path / "text.txt"])
    )
    assert alone == listed


def test_one_name_is_that_name(tmp_path: Path) -> None:
    (tmp_path / "pages.csv").write_text("text,other\nBees make honey.,wax\n")
    made = afina.index_documents(tmp_path / "pages.csv", tmp_path / "index", representation="bm25", columns="text")
    assert made.settings.columns == ("text",)
    with pytest.raises(UsageError, match=r"^search_several takes a list of questions, not one question"):
        Index(tmp_path / "index").search_several("honey")
    with pytest.raises(UsageError, match=r"^Unknown audit 'fairness'"):
        afina.recommend(tmp_path, no_worse_than_base="fairness")
    asked = asked_machines("T4", "T4=0.35 EUR/h", None)
    assert asked is not None and [machine.name for machine in asked.devices] == ["T4"]


@pytest.mark.parametrize(
    ("beside", "sentence"),
    [
        ("second", "takes a list of second texts, not one second text"),
        (["a", "b", "c"], "3 text_pairs for 2 texts"),
    ],
)
def test_what_stands_beside_texts_is_one_for_each(beside: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        rows_of(["one", "two"], beside)
