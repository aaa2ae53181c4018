"""`afina explain`: what a person asks for comes out as told, in pages that hold nothing but what was given."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import afina
from afina.errors import UsageError
from afina.explanation.faithful import Faithfulness
from afina.measure.bootstrap import Estimate
from afina.study.study import Study
from commands import afina as command
from commands import refused
from explained import TEXTS, saved_for
from studies import settings

Loader = Callable[..., Path]


@pytest.fixture(scope="module")
def adapter(family_folder: Loader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_for(family_folder("bert"), tmp_path_factory.mktemp("explain") / "adapter", "labels")


@pytest.fixture(scope="module")
def study(family_folder: Loader, csv_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose labels are a matter of four words, with a method that has no gradients beside one that has."""
    words = {"features": {"representation": "words", "lexicon": None}}
    folder = tmp_path_factory.mktemp("whole") / "out"
    own = settings(family_folder, csv_folder, methods=["lora", words], epochs=12, seeds=1, rank=4, batch_size=8)
    results = Study(folder, **own).run()
    assert [result["status"] for result in results] == ["ok", "ok"], [result["error"] for result in results]
    assert min(result["test_metric"] for result in results) > 0.75
    return folder


def test_the_command_tells_words_and_whether_it_is_so(adapter: Path, tmp_path: Path) -> None:
    page = tmp_path / "why.html"
    texts = [*TEXTS, '<b onclick="x">good</b> & late']
    done = command("explain", adapter, *texts, "--contrast", "--steps", 8, "--page", page, "--format", "json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert [text["texts"] for text in found["texts"]] == [[text] for text in texts]
    for text in found["texts"]:
        assert [word["text"] for word in text["words"]] == [
            text["texts"][0][word["start"] : word["end"]] for word in text["words"]
        ]
        assert sum(text["values"]) + text["missing"] == pytest.approx(text["score"] - text["baseline"], abs=1e-3)
        assert len(text["base_values"]) == len(text["values"])
    assert found["faithfulness"]["texts"] == 3
    (own,) = afina.explain(adapter, [texts[0]], steps=8)
    assert np.allclose(own.texts[0].values, found["texts"][0]["values"], atol=1e-4)

    written = page.read_text(encoding="utf-8")
    assert "<b" not in re.sub(r"<body>", "", written)
    assert "&lt;" in written
    assert ">onclick</span>" in written
    largest = max(abs(value) for one in found["texts"] for value in (*one["values"], *one["base_values"]))
    assert f"no word counts for more than {largest:.2f}" in written  # colours alone do not say how much that is
    assert not re.search(r"""(?:src|href|url)\s*[=(]|https?:|@import|<script""", written)
    refused(command("explain", adapter, "good", "--page", page), "exists already")


def test_the_table_names_the_words(adapter: Path) -> None:
    done = command("explain", adapter, "good lamp", "--way", "occlusion", "--language", "pt")
    assert done.returncode == 0, done.stderr
    assert re.search(r"lamp [+-]\d+,\d\d", done.stdout)
    assert "palavras sorteadas" in done.stdout


def test_adapters_stand_side_by_side(adapter: Path, family_folder: Loader, tmp_path: Path) -> None:
    other = saved_for(family_folder("roberta"), tmp_path / "other", "labels", "ia3")
    found = afina.explain([adapter, other], TEXTS, steps=4, page=tmp_path / "both.html", label="good")
    assert [one.method for one in found] == ["lora", "ia3"]
    assert {text.answer for one in found for text in one.texts} == {"good"}
    assert (tmp_path / "both.html").read_text().count("class=card") == 4


def test_a_files_columns_can_be_named(adapter: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("remark,mark\ngood lamp,1\n", encoding="utf-8")
    refused(command("explain", adapter, "--file", rows), "say which with --text (remark, mark)")
    refused(command("explain", adapter, "--file", rows, "--pair", "late"), "--text-pair names the column")
    (found,) = afina.explain(adapter, file=rows, text="remark", way="occlusion")
    assert [word.text for word in found.texts[0].words] == ["good", "lamp"]


def test_pairs_have_words_of_both_texts(adapter: Path) -> None:
    (found,) = afina.explain(adapter, ["good lamp"], ["late order"], way="occlusion")
    assert [(word.part, word.text) for word in found.texts[0].words] == [
        (0, "good"), (0, "lamp"), (1, "late"), (1, "order"),
    ]  # fmt: skip


def test_what_is_cut_off_is_said(family_folder: Loader, tmp_path: Path) -> None:
    folder = saved_for(family_folder("bert"), tmp_path / "short", "labels")
    record = json.loads((folder / "afina.json").read_text())
    (folder / "afina.json").write_text(json.dumps(record | {"max_length": 5}))
    (found,) = afina.explain(folder, [TEXTS[0]], way="occlusion")
    assert len(found.texts[0].words) == 3
    assert any("longer than the model reads" in note for note in found.notes)


def test_a_text_of_one_word(adapter: Path) -> None:
    done = command("explain", adapter, "good", "--steps", 4)
    assert done.returncode == 0, done.stderr
    assert "nothing to compare with" in done.stdout


def test_next_words_of_ones_own(speaker: Loader, tmp_path: Path) -> None:
    folder = saved_for(speaker("gpt2"), tmp_path / "writer", "next")
    own, given = (afina.explain(folder, TEXTS[:1], way="occlusion", following=text)[0] for text in (None, "late lamp"))
    assert own.texts[0].answer
    assert given.texts[0].answer.split() == ["late", "lamp"]
    assert own.texts[0].score >= given.texts[0].score / 2  # the model's own word is likelier than words of two tokens


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([" "], "Text 1 of 1 is empty"),
        ([], "There is no text to explain"),
        (["good", "--label", "gold"], "no label 'gold'"),
        (["good", "--way", "shap"], "shap"),
        (["good", "--way", "occlusion", "--steps", "4"], "unknown setting 'steps'"),
        (["good", "--steps", "0"], "from 1 to 1024"),
        (["good", "--pair", "a", "--pair", "b"], "2 --pair for 1 texts"),
        (["good", "--format", "xml"], "xml"),
        (["good", "--global"], "leave out texts."),
        (["--global", "--label", "good", "--contrast"], "leave out --label, --contrast."),
        (["good", "--wrong", "2"], "--wrong: that is of a study's test rows"),
        (["good", "--text", "remark"], "name columns of --file"),
        (["--global"], "no study's folder"),
    ],
)
def test_what_cannot_be_is_one_sentence(adapter: Path, arguments: list[str], said: str) -> None:
    refused(command("explain", adapter, *arguments), said)


def test_a_base_that_is_gone_and_models_without_gradients(family_folder: Loader, study: Path, tmp_path: Path) -> None:
    gone = saved_for(family_folder("bert"), tmp_path / "gone", "labels")
    for name in ("afina.json", "adapter_config.json"):
        text = (gone / name).read_text().replace(str(family_folder("bert")), "/nowhere/model")
        (gone / name).write_text(text)
    refused(command("explain", gone, "good"), "which is not there")
    words = next((study / "runs").glob("*features*")) / "adapter"
    refused(command("explain", words, "good late"), "without gradients", "--way occlusion")
    (found,) = afina.explain(words, ["the lamp is great"], way="occlusion")
    values = dict(zip((word.text for word in found.texts[0].words), found.texts[0].values, strict=True))
    assert max(values, key=lambda word: abs(values[word])) == "great"
    (tmp_path / "int8.gguf").write_bytes(b"GGUF")
    with pytest.raises(UsageError, match="is an export"):
        afina.explain(tmp_path / "int8.gguf", ["good"])


def test_a_study_as_a_whole(study: Path, tmp_path: Path) -> None:
    done = command(
        "explain", study, "--global", "--steps", 8, "--rows", 30, "--train-rows", 20, "--wrong", 2, "--format", "json",
        "--page", tmp_path / "whole.html",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lora, words = json.loads(done.stdout)
    assert (lora["way"], words["way"]) == ("integrated-gradients", "occlusion")
    for one in (lora, words):
        # The labels are a matter of these words (`studies.write_csv`).
        telling = {"praise": {"good", "great"}, "complaint": {"bad", "late"}}
        for label, own in telling.items():
            assert {word["word"] for word in one["words"][label][:4]} & own, one["words"][label]
        shown = [word for own in one["words"].values() for word in own]
        assert all(type(word["texts"]) is int and word["decisive"] <= word["texts"] <= one["rows"] for word in shown)
        assert sum(group["rows"] for group in one["errors"]) == round((1 - one["accuracy"]) * 40)
        for mistake in one["mistakes"]:
            assert mistake["label"] != mistake["prediction"]
            assert mistake["others"] == 1
    for mistake in lora["mistakes"]:
        pulls = [teacher["cosine"] for teacher in mistake["teachers"]]
        assert pulls == sorted(pulls, reverse=True)
        assert mistake["teachers"][0]["label"] == mistake["prediction"]
    assert "<script" not in (tmp_path / "whole.html").read_text()
    refused(command("explain", study, "--global", "--run", "lorra"), "no finished run 'lorra'")


def test_a_row_teaches_itself_the_most(study: Path) -> None:
    """A train row's gradient points where its own does, and away from where the same text with the other label would go."""
    from afina.data.rows import Rows
    from afina.explanation.influence import cosines

    predictor = afina.load(next((study / "runs").glob("*lora*")) / "adapter")
    train = Rows(["good lamp", "late order", "the cat"], None, np.array([1, 0, 1]))
    own = cosines(predictor, train, train.label, train)
    assert np.allclose(np.diag(own), 1, atol=1e-4)
    other = cosines(predictor, train, 1 - train.label, train)
    assert (np.diag(other) < 0).all()


@pytest.mark.parametrize(
    ("falls", "low", "high", "holds"),
    [(0.85, 0.4, 0.5, True), (0.2, -0.5, -0.1, False), (0.2, -0.1, 0.1, None), (-0.11, 0.01, 0.07, None)],
)
def test_words_decide_where_the_score_falls_without_them(
    falls: float, low: float, high: float, holds: bool | None
) -> None:
    """The last: the score rises without the words, and rises more without others."""
    gain = Estimate((low + high) / 2, low, high)
    assert Faithfulness(falls, 0.1, falls - gain.value, 0.2, gain, gain, 2).holds is holds
