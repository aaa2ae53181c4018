"""What Python programs have texts in is read as texts, and what is no text is refused instead of being made one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow as arrow
import pytest

import afina
from afina import api
from afina.adapters.adapter import build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.load import load_backbone
from afina.errors import UsageError
from afina.given_texts import given_choices, given_texts
from afina.methods.base import make_method
from afina.predictor.predictor import Predictor
from afina.tasks.classification import Classification
from commands import afina as afina_command

Loader = Callable[[str], Path]
TWO = ["the lamp is late", "the kettle"]


@pytest.fixture(scope="module")
def loaded(family_folder: Loader, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    base, folder = family_folder("bert"), tmp_path_factory.mktemp("given") / "adapter"
    backbone, task, method = load_backbone(str(base)), Classification(["a", "b"]), make_method("bitfit", {})
    record = AdapterRecord(
        model=str(base), method="bitfit", settings=method.settings(), task=task.state(), max_length=60, precision="fp32",
        seed=0, facts={"columns": {"text": "text", "label": "label"}},
    )  # fmt: skip
    save_adapter(folder, build_adapter(method, backbone, task.outputs, seed=0), backbone, record)
    return afina.load(folder)


def of_pairs(loaded: Any) -> Any:
    """Return the same adapter, as if it had learned from pairs."""
    facts = {"columns": {"text": "question", "text_pair": "passage", "label": "label"}}
    return replace(loaded, record=replace(loaded.record, facts=facts))


@pytest.mark.parametrize(
    "texts",
    [
        TWO, tuple(TWO), (text for text in TWO), np.array(TWO), np.array(TWO, dtype=object), pandas.Series(TWO),
        polars.Series(TWO), arrow.array(TWO), arrow.chunked_array([TWO]), dict.fromkeys(TWO).keys(),
    ],
    ids=["list", "tuple", "generator", "numpy", "objects", "pandas", "polars", "arrow", "chunks", "keys"],
)  # fmt: skip
def test_texts_are_taken_from_whatever_yields_them(texts: Any, loaded: Any) -> None:
    wanted = [dict(one.probabilities) for one in loaded.predict(TWO)]
    found = loaded.predict(texts)
    assert [dict(one.probabilities) for one in found] == wanted
    assert {type(text) for text in given_texts(np.array(TWO))} == {str}


REFUSED: list[tuple[Any, str]] = [
    ("one", "a list of texts, not one text"),
    ({"text": "one"}, "not a mapping"),
    ({"one", "two"}, "not a set"),
    (pandas.DataFrame({"text": TWO}), "not a table"),
    (polars.DataFrame({"text": TWO}), "not a table"),
    (arrow.table({"text": TWO}), "not a table"),
    (3, "not a int"),
    (["one", None], r"^Text 2 of 2 is missing \(None\)"),
    (pandas.Series(["one", None]), r"^Text 2 of 2 is missing \(nan\)"),
    (pandas.Series(["one", pandas.NA], dtype="object"), r"^Text 2 of 2 is missing \(<NA>\)"),
    (arrow.array([None, "one"]), r"^Text 1 of 2 is missing"),
    (["one", 3], "^Text 2 of 2 is of type int"),
    ([b"one"], "^Text 1 of 1 is of type bytes"),
    ([["one", "two"]], "^Text 1 of 1 is of type list"),
]


@pytest.mark.parametrize(("texts", "sentence"), REFUSED)
def test_what_is_no_list_of_texts_is_refused_by_all_that_reads_texts(texts: Any, sentence: str, loaded: Any) -> None:
    for verb in (loaded.predict, loaded.logits, loaded.embed):
        with pytest.raises(UsageError, match=sentence):
            verb(texts)
    if not isinstance(texts, str):  # which is one text there
        with pytest.raises(UsageError, match=sentence):
            list(api.predict(loaded, texts))


def test_answers_to_choose_from_are_a_list_for_each_text() -> None:
    assert given_choices([["yes", "no"], ("a", "b")], 2) == [["yes", "no"], ["a", "b"]]
    for choices, sentence in (
        ("yes", "a list with a list"),
        (["yes", "no"], "each text takes a list of choices, not one choice"),
        ([["yes", "no"]], "1 choices for 2 texts"),
        ([["yes", None], ["a", "b"]], "Choice 2 of 2 is missing"),
    ):
        with pytest.raises(UsageError, match=sentence):
            given_choices(choices, 2)


def test_who_learned_from_pairs_is_asked_in_pairs_and_who_learned_from_texts_in_texts(loaded: Any) -> None:
    learned = of_pairs(loaded)
    for ask in (learned.predict, learned.logits):
        with pytest.raises(UsageError, match="learned from pairs of texts, and these are single ones"):
            ask(TWO)
        assert len(ask(TWO, TWO)) == 2
    for ask in (loaded.predict, loaded.logits):
        with pytest.raises(UsageError, match="learned from single texts, and these are pairs"):
            ask(TWO, TWO)
    elsewhere = replace(loaded, record=replace(loaded.record, facts={}))
    assert len(elsewhere.predict(TWO)) == len(elsewhere.predict(TWO, TWO)) == 2
    with pytest.raises(UsageError, match=r"^Second text 1 of 2 is missing"):
        learned.predict(TWO, [None, "second"])


def test_texts_that_are_longer_than_is_read_are_counted_and_said(loaded: Any, tmp_path: Path) -> None:
    texts = ["the lamp " * 40, *TWO, "the kettle " * 60]
    assert (loaded.predict(texts).cut, loaded.predict(TWO).cut) == (2, 0)
    answers = api.predict(loaded, texts, batch_size=2)
    list(answers)
    assert (answers.counts.cut, answers.counts.answered) == (2, 4)
    assert str(answers.counts) == "4 rows: 4 answered, 2 longer than is read, and cut"
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    said = afina_command("predict", loaded.folder, "--file", tmp_path / "texts.txt", "--language", "pt").stderr
    assert "2 de 4 textos eram mais longos do que os 60 tokens que são lidos, e foram cortados" in said
    assert "cut" not in afina_command("predict", loaded.folder, TWO[0]).stderr


def test_lines_that_still_come_have_no_second_texts(loaded: Any) -> None:
    assert len(list(api.predict(loaded, iter(TWO)))) == 2
    with pytest.raises(UsageError, match=r"^--pair goes with texts that are given"):
        api.predict(loaded, iter(TWO), pair=["second", "second"])


def test_a_column_that_happens_to_have_a_second_texts_name_is_no_part_of_single_texts(
    loaded: Any, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("text,text_pair\nthe lamp is late,of yesterday\n")
    (answer,) = api.predict(loaded, file=tmp_path / "rows.csv")
    (wanted,) = loaded.predict(TWO[:1])
    assert dict(answer.found.probabilities) == pytest.approx(dict(wanted.probabilities))
