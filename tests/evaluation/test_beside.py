"""Models one beside another: values are transformers' own, differences are paired, and each is weighed in one sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import afina
from afina.errors import UsageError
from afina.evaluation.beside import BesideRow, BesideVerdict, judged_of
from afina.evaluation.beside_told import verdicts
from afina.evaluation.measured_alone import MeasuredModel
from afina.measure.bootstrap import Estimate
from afina.words.language import Words
from commands import afina as command
from commands import refused
from studies import write_csv

TEXTS = ["where is my parcel", "the lamp is broken please help", "a good film", "team cat sat on my mat", "good kettle"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return texts with labels of the small classifiers' own names."""
    path = tmp_path_factory.mktemp("rows") / "mail"
    path.mkdir()
    for split in ("train", "test"):
        write_csv(path / f"{split}.csv", 60, seed=3)
        named = (path / f"{split}.csv").read_text().replace("praise", "class 0").replace("complaint", "class 1")
        (path / f"{split}.csv").write_text(named)
    return path


@pytest.fixture(scope="module")
def pair(family_folder: Callable[..., Path], rows: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return a classifier and a smaller one of the same labels, each of which finds both among the rows."""
    texts = [line.rpartition(",")[0] for line in (rows / "test.csv").read_text().splitlines()[1:]]
    folders = []
    for family, sizes in (("bert", (24, 37)), ("distilbert", (20, 31))):
        source, folder = family_folder(family, sizes=sizes), tmp_path_factory.mktemp("pair") / family
        shutil.copytree(source, folder)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(source).eval()
        encode = transformers.AutoTokenizer.from_pretrained(source)
        with torch.no_grad():
            logits = torch.cat([model(**encode(text, return_tensors="pt")).logits for text in texts])
            model.classifier.bias -= logits.mean(dim=0)
        model.save_pretrained(folder)
        folders.append(str(folder))
    return folders


@pytest.mark.always
def test_labels_are_those_of_transformers_and_differences_are_paired(
    pair: list[str], rows: Path, tmp_path: Path
) -> None:
    compared = afina.compare_models(pair, data=[rows], max_length=32, out=tmp_path / "compared.json")
    (row,) = compared.rows
    lines = [line.rpartition(",") for line in (rows / "test.csv").read_text().splitlines()[1:]]
    right = []
    for name in pair:
        model = transformers.AutoModelForSequenceClassification.from_pretrained(name).eval()
        encode = transformers.AutoTokenizer.from_pretrained(name)
        with torch.no_grad():
            logits = [model(**encode(text, return_tensors="pt")).logits[0] for text, _, _ in lines]
        answers = [model.config.id2label[int(own.argmax())] for own in logits]
        right.append(np.array([answer == label for answer, (_, _, label) in zip(answers, lines, strict=True)]))
    values = [float(own.mean()) for own in right]
    assert [own.value for own in row.values] == pytest.approx(values)
    assert row.differences[0] == Estimate(0.0, 0.0, 0.0) and row.items == len(lines)
    assert row.differences[1].value == pytest.approx(values[1] - values[0])

    # Paired: the spread of the rows' own differences, and not that of two sets of rows.
    low, high = row.differences[1].low, row.differences[1].high
    assert low is not None and high is not None
    spread = (right[1].astype(float) - right[0]).std() / np.sqrt(len(lines))
    assert (high - low) / (2 * 1.96 * spread) == pytest.approx(1, abs=0.2)
    first, second = compared.models
    assert second.bytes_on_disk < first.bytes_on_disk and min(own.speed for own in compared.models) > 0
    assert first.bytes_on_disk == (Path(pair[0]) / "model.safetensors").stat().st_size
    written = json.loads((tmp_path / "compared.json").read_text())
    assert [own["name"] for own in written["models"]] == pair and written["verdicts"][0]["worst_on"] == "mail"


def test_what_is_written_and_read_is_measured_as_evaluate_does(speaker: Callable[..., Path], tmp_path: Path) -> None:
    texts, asked = tmp_path / "texts.txt", tmp_path / "asked.csv"
    texts.write_text("\n\n".join(TEXTS) + "\n")
    asked.write_text("prompt,reference\n" + "\n".join(f"{text},good" for text in TEXTS) + "\n")
    names = [str(speaker("llama")), str(speaker("gpt2"))]
    compared = afina.compare_models(
        names, text=[texts], answers=[asked], max_new_tokens=4, metrics=["chrf", "contains"]
    )
    alone = afina.evaluate(names[1], text=[texts], answers=[asked], answering=afina.Answering(max_new_tokens=4))
    wanted = {(Path(own.source).name, own.measure): own.value.value for own in alone.rows}
    found = {(Path(own.source).name, own.measure): own.values[1].value for own in compared.rows}
    measures = [
        ("texts.txt", "perplexity"),
        ("texts.txt", "bits_per_byte"),
        ("asked.csv", "chrf"),
        ("asked.csv", "contains"),
    ]
    assert list(found) == measures
    for key, value in found.items():
        assert value == pytest.approx(wanted[key], rel=1e-4), key
    # Of a loss less is better, so that what it rises by is what is lost.
    row = compared.rows[0]
    assert row.losses[1].value == pytest.approx(row.values[1].value / row.values[0].value - 1)


def weighed(loss: tuple[float, float, float], *, size: int = 50, speed: float = 2.0) -> BesideVerdict:
    """Return how a model is judged that loses so much, from so much to so much, beside one of 100 bytes."""
    values, gaps = (Estimate(0.9), Estimate(0.9 - loss[0])), (Estimate(0), Estimate(-loss[0]))
    row = BesideRow("mail", "accuracy", 100, True, values, gaps, (Estimate(0.0, 0.0, 0.0), Estimate(*loss)))
    models = [MeasuredModel("a", 100, rows_per_second=1.0), MeasuredModel("b", size, rows_per_second=speed)]
    return judged_of(models, [row], 1, 0.02)


WEIGHED = [
    (
        weighed((0.01, 0.0, 0.019)),
        "worth it",
        "b: worth it. It is 50.0% smaller and 2.00 times as fast. On mail, where it may lose most, it loses 1.0% [0.0, 1.9] "
        "of accuracy, within the 2% allowed.",
        "b: vale a pena. É 50,0% menor e 2,00 vezes",
    ),
    (
        weighed((0.01, -0.01, 0.03)),
        "unclear",
        "cannot rule out more: measure on more.",
        "não excluem mais: meça com mais.",
    ),
    (
        weighed((0.03, 0.01, 0.05)),
        "not worth it",
        "b: not worth it. It is 50.0% smaller and 2.00 times as fast. On mail it loses 3.0% [1.0, 5.0] of accuracy, more "
        "than the 2% allowed.",
        "mais do que os 2% permitidos.",
    ),
    (weighed((-0.03, -0.05, -0.01)), "worth it", "it gains 3.0% [1.0, 5.0] of accuracy.", "ganha 3,0% [1,0; 5,0]"),
    (
        weighed((0.0, 0.0, 0.0), size=100, speed=1.0),
        "not worth it",
        "It is neither smaller nor faster.",
        "Não é nem menor",
    ),
]


@pytest.mark.parametrize(("judged", "verdict", "english", "portuguese"), WEIGHED)
def test_each_is_weighed_in_a_sentence(judged: BesideVerdict, verdict: str, english: str, portuguese: str) -> None:
    compared: Any = type("", (), {"judged": [judged], "at_most": 0.02})
    assert judged.verdict == verdict
    for language, part in (("en", english), ("pt", portuguese)):
        (sentence,) = verdicts(compared, Words(language))
        assert part in sentence


def test_what_cannot_be_compared_is_refused_before_anything_is_measured(
    pair: list[str], rows: Path, tmp_path: Path, speaker: Callable[..., Path]
) -> None:
    other = tmp_path / "other.csv"
    other.write_text("text,label\n" + "\n".join(f"{text},{label}" for text in TEXTS for label in ("yes", "no")) + "\n")
    for names, more, part in [
        (pair[:1], {"data": [rows]}, "two models at least"),
        ([pair[0], pair[0]], {"data": [rows]}, "stands twice"),
        (pair, {}, "Nothing to compare on"),
        (pair, {"data": [rows], "at_most": 2}, "--at-most is a share"),
        ([*pair, "./gone"], {"data": [rows]}, "compare: './gone' is not there"),
        (pair, {"data": [other]}, "cannot say which of no, yes a text is: its head tells others apart (class 0, class 1)"),
        (pair, {"text": [other]}, "writes no text"),
        ([str(speaker("llama")), str(speaker("gpt2"))], {"answers": [other]}, "no column that looks like a"),
    ]:  # fmt: skip
        with pytest.raises(UsageError) as caught:
            afina.compare_models(names, **more)
        assert part in str(caught.value)
    (tmp_path / "there.json").write_text("{}")
    result = command("compare", *pair, "--data", rows, "--out", tmp_path / "there.json")
    refused(result, "exists already")


def test_the_command_says_it_in_portuguese(pair: list[str], rows: Path) -> None:
    result = command("compare", *pair, "--data", rows, "--max-length", "32", "--at-most", "0.9", "--language", "pt")
    assert result.returncode == 0 and "vezes tão rápido" in result.stdout and "pesos em disco (MB)" in result.stdout
