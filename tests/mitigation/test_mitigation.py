"""Mitigations of bias: rows weigh, come and are added as their papers say, and a study with them is a study."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from afina.config import StudyConfig
from afina.data.groups.grouping import NONE, by_words
from afina.data.tokens.batching import balanced_batches, steps_per_epoch
from afina.errors import UsageError
from afina.mitigation.base import MITIGATIONS, make_mitigation
from afina.report.write import write_report
from afina.results.predictions import read_predictions
from afina.results.result import Result
from afina.study.plan import expand
from afina.study.study import Study
from kills import killed_and_resumed
from studies import settings

TEXTS = ["she is late", "Her book was late", "she is good", "he is good", "he is good", "his book is good", "it is bad"]
LABELS = np.array([0, 0, 1, 1, 1, 1, 0])


def test_weights_make_group_and_label_independent() -> None:
    weights = make_mitigation("reweigh").learned(TEXTS, LABELS).weights
    assert weights is not None
    group = by_words(TEXTS, make_mitigation("reweigh").axis()).of
    table = np.zeros((3, 2))
    np.add.at(table, (group + 1, LABELS), weights)
    # Cells that hold rows weigh what the product of both margins says of the rows as they are.
    rows, classes = np.bincount(group + 1), np.bincount(LABELS)
    there = table > 0
    assert np.allclose(table[there], (np.outer(rows, classes) / len(LABELS))[there])
    assert weights[0] == pytest.approx(3 * 3 / 7 / 2) and weights[2] == pytest.approx(3 * 4 / 7 / 1)


def test_a_column_puts_rows_into_groups_as_words_do() -> None:
    """Where a column says what the words say, weights and cells are the same; an empty value is no group."""
    values = ["women", "women", "women", "men", "men", "men", ""]
    for name in ("reweigh", "balance"):
        by_words = make_mitigation(name).learned(TEXTS, LABELS)
        by_column = make_mitigation({name: {"column": "sex"}}).learned(TEXTS, LABELS, values)
        for one, other in ((by_words.weights, by_column.weights), (by_words.cells, by_column.cells)):
            assert (one is None) == (other is None)
            if one is not None and other is not None:  # cells are numbered by the groups' names
                assert [np.flatnonzero(one == own).tolist() for own in one] == [
                    np.flatnonzero(other == own).tolist() for own in other
                ]
    with pytest.raises(
        UsageError, match=r"^reweigh: of the train rows no two groups of sex have 2 rows; name another column"
    ):
        make_mitigation({"reweigh": {"column": "sex"}}).learned(TEXTS, LABELS, ["a", "b", None, None, None, None, None])


def test_words_are_swapped_in_their_case_and_labels_stay() -> None:
    learned = make_mitigation("swap").learned(TEXTS, LABELS)
    assert learned.added == (
        ("he is late", 0), ("His book was late", 1), ("he is good", 2), ("she is good", 3), ("she is good", 4),
        ("her book is good", 5),
    )  # fmt: skip
    portuguese = make_mitigation("swap").learned(["ELA disse que a mãe dela viu", "ele e ela"], np.array([0, 1]))
    assert portuguese.added == (("ELE disse que o pai dele viu", 0),)


def test_words_of_a_persons_own_are_swapped_place_by_place(tmp_path: Path) -> None:
    """Of three groups one is drawn; a text of two is left alone, and lists that do not pair are refused."""
    path = tmp_path / "words.yaml"
    path.write_text(
        "city: {north: {en: [belem, manaus]}, south: {en: [curitiba, pelotas]}, east: {en: [recife, natal]}}"
    )
    swap = make_mitigation({"swap": {"by": "city", "words": str(path)}})
    ((text, row),) = swap.learned(["Manaus is far", "from belem to recife", "nowhere"], np.zeros(3, dtype=int)).added
    assert text in ("Pelotas is far", "Natal is far") and row == 0
    path.write_text("city: {north: {en: [belem, manaus]}, south: {en: [curitiba]}}")
    with pytest.raises(
        UsageError, match=r"has 2 of north and 1 of south \(en\); words to be swapped are as many in both"
    ):
        swap.learned(["Manaus is far"], np.zeros(1, dtype=int))
    with pytest.raises(
        UsageError, match=r"^swap: region has no pairs of words, as gender, race, religion, age have; give"
    ):
        make_mitigation({"swap": {"by": "region"}}).learned(["from bahia"], np.zeros(1, dtype=int))


@pytest.mark.parametrize(("rows", "size"), [(400, 6), (1003, 7), (37, 16)])
def test_batches_have_as_many_rows_of_each_cell(rows: int, size: int) -> None:
    random = np.random.default_rng(0)
    cells = random.choice([NONE, 0, 1, 2, 3], rows, p=[0.4, 0.3, 0.2, 0.08, 0.02])
    cells[:4] = [0, 1, 2, 3]
    lengths = random.integers(5, 60, rows)
    seen = np.zeros(rows, dtype=int)
    for epoch in range(4):
        batches = balanced_batches(lengths, cells, size, seed=1, epoch=epoch)
        assert [batch.tolist() for batch in batches] == [
            batch.tolist() for batch in balanced_batches(lengths, cells, size, seed=1, epoch=epoch)
        ]
        assert len(batches) == steps_per_epoch(rows, size) and max(map(len, batches)) <= size
        drawn = np.concatenate(batches)
        assert len(drawn) == rows
        counts = np.bincount(cells[drawn] + 1, minlength=5)
        assert counts[0] == (cells == NONE).sum() and np.ptp(counts[1:]) <= 1
        assert (np.bincount(drawn, minlength=rows)[cells == NONE] == 1).all()
        whole = [batch for batch in batches if len(batch) == size]
        share = (cells != NONE).sum() / rows / 4 * size
        spread = [np.bincount(cells[batch] + 1, minlength=5)[1:] for batch in whole]
        assert np.abs(np.array(spread) - share).max() < 3
        seen += np.bincount(drawn, minlength=rows)
    # Rows of a large cell take turns: none is left out for good, and rare ones come often.
    assert seen[cells == 3].min() > seen[cells == 0].max()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"swap": {"column": "sex"}}, "a column tells nothing"),
        ({"reweigh": {"column": "a", "by": "age"}}, "column or from words"),
        ({"thresholds": {"fewest": 2}}, "5 rows or more"), ({"thresholds": {"equal": "rates"}}, "equal"),
        ("reweight", "did you mean 'reweigh'"), ({"swap": {"by": "sex"}}, "has no words for 'sex'"),
        ({"swap": {"to": 1}}, "unknown setting 'to'"), ({"swap": {"words": "/nowhere.yaml"}}, "/nowhere.yaml"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_refused_by_one_sentence(given: object, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as error:
        make_mitigation(given, "lora: ").axis()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted(MITIGATIONS))
def test_rows_without_groups_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name}: .*gender.*\(by:\)"):
        make_mitigation(name).learned(["it is late", "it is good"], np.array([0, 1]))


def write_rows(folder: Path, name: str, rows: int, seed: int, *, fair: bool) -> None:
    """Texts that say how good it was, whose label is flipped where `she` says it, in train rows alone."""
    random = np.random.default_rng(seed)
    lines = ["text,label,sex"]
    for _ in range(rows):
        good, woman = random.random(2) < 0.5
        told = good if fair or not woman else good and random.random() < 0.2
        filler = " ".join(random.choice(["order", "box", "shop", "day"], 3))
        text = f"{'she' if woman else 'he'} said {filler} was {random.choice(['good', 'great'] if good else ['bad', 'late'])}"
        lines.append(f"{text},{'praise' if told else 'complaint'},{'w' if woman else 'm'}")
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory, family_folder: Callable[[str], Path]) -> Study:
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder, "train", 120, 0, fair=False)
    write_rows(folder, "test", 80, 1, fair=True)
    wanted = settings(family_folder, folder, methods=["lora", {"lora": {"mitigate": "reweigh"}}], epochs=1)
    wanted |= {"mitigate": ["none", "swap", "balance"], "evaluate": "last"}
    study = Study(tmp_path_factory.mktemp("study"), StudyConfig.parse(wanted, "study"))
    study.run()
    return study


def of(study: Study, label: str) -> Result:
    return next(result for result in study.results if result.method_label == label)


def weights_of(study: Study, label: str) -> bytes:
    return (study.directory / str(of(study, label).adapter) / "adapter_model.safetensors").read_bytes()


LABELLED = ("lora", "lora(mitigate=swap)", "lora(mitigate=balance)", "lora(mitigate=reweigh)")


@pytest.mark.always
def test_each_mitigation_is_a_run_of_its_own(studied: Study) -> None:
    assert sorted(run.label for run in studied.runs) == sorted(LABELLED)
    assert all(of(studied, label).is_finished for label in LABELLED)
    assert len({weights_of(studied, label) for label in LABELLED}) == 4
    # Added rows are steps more; metrics are of the rows that were there.
    assert of(studied, "lora(mitigate=swap)").train_rows == 240 and of(studied, "lora").train_rows == 120
    assert "mitigate" not in of(studied, "lora").method_config
    assert of(studied, "lora(mitigate=balance)").method_config["mitigate"] == "balance"


def test_without_a_mitigation_an_adapter_is_what_it_was(
    studied: Study, tmp_path: Path, family_folder: Callable[[str], Path]
) -> None:
    wanted = settings(family_folder, Path(studied.config.dataset[0].path), epochs=1) | {"evaluate": "last"}
    alone = Study(tmp_path / "alone", StudyConfig.parse(wanted, "study"))
    alone.run()
    assert weights_of(alone, "lora") == weights_of(studied, "lora")
    again = Study(
        tmp_path / "again", StudyConfig.parse(wanted | {"methods": [{"lora": {"mitigate": "swap"}}]}, "study")
    )
    again.run()
    assert weights_of(again, "lora(mitigate=swap)") == weights_of(studied, "lora(mitigate=swap)")


def test_a_weighed_loss_is_the_sum_of_weighed_rows(studied: Study) -> None:
    from types import SimpleNamespace
    from typing import Any, cast

    from afina.tasks.classification import Classification
    from afina.train.loop import Member

    task, logits, labels = (
        Classification(("a", "b")),
        torch.randn(5, 2, dtype=torch.float64),
        torch.tensor([0, 1, 1, 0, 1]),
    )
    weights, order = np.array([9.0, 0.5, 2.0, 0.5, 1.0, 2.0, 9.0]), np.array([1, 2, 3, 4, 5])
    member = Member(
        cast("Any", SimpleNamespace(method=SimpleNamespace(loss_weights=dict))), task, cast("Any", None), 0, 1, 5,
        cast("Any", None), None, torch.zeros((), dtype=torch.float64), weights=weights,
    )  # fmt: skip
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    wanted = (each * torch.from_numpy(weights[order])).sum() / 5
    assert torch.allclose(member.loss(logits, labels, 5, (cast("Any", None), order)), wanted)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"race": True, "methods": ["lora", "head"]}, "race: candidates learn from the same rows"),
        ({"methods": [{"features": {"mitigate": "reweigh"}}]}, "takes no steps.*mitigate: swap"),
        ({"mitigate": "swapp", "methods": ["lora"]}, "did you mean 'swap'"),
        ({"mitigate": {"swap": {"words": "gone.yaml"}}, "methods": ["lora"]}, r"lora\(mitigate=.*gone\.yaml"),
        ({"mitigate": {"swap": {"by": "gendr"}}, "methods": ["lora"]}, "did you mean 'gender'"),
    ],
)  # fmt: skip
def test_what_cannot_stand_beside_it_is_refused(
    more: dict[str, object], sentence: str, studied: Study, tmp_path: Path, family_folder: Callable[[str], Path]
) -> None:
    wanted = settings(family_folder, Path(studied.config.dataset[0].path)) | {"mitigate": ["none", "swap"]} | more
    with pytest.raises(UsageError, match=sentence):
        Study(tmp_path, StudyConfig.parse(wanted, "study"))


def test_none_is_no_mitigation_wherever_it_is_said(tmp_path: Path, family_folder: Callable[[str], Path]) -> None:
    wanted = settings(family_folder, Path("tickets"), methods=["lora", {"ia3": {"mitigate": "none"}}])
    for given, labels in ((None, ["lora", "ia3"]), (["none", "swap"], ["lora", "lora(mitigate=swap)", "ia3"])):
        runs = expand(StudyConfig.parse(wanted | {"mitigate": given}, "study"))
        assert [run.label for run in runs] == labels


def test_numbers_have_no_cells(studied: Study, tmp_path: Path, family_folder: Callable[[str], Path]) -> None:
    lines = "\n".join(f"she said {n},{n}.5" for n in range(40))
    (tmp_path / "numbers.csv").write_text(f"text,label\n{lines}\n")
    wanted = settings(family_folder, tmp_path / "numbers.csv", methods=[{"lora": {"mitigate": "swap"}}])
    with pytest.raises(UsageError, match=r"swap is for texts with one class each.*task: regression"):
        Study(tmp_path / "out", StudyConfig.parse(wanted, "study")).run()


def test_the_report_shows_what_each_costs(studied: Study) -> None:
    files = write_report(studied.directory, language="pt")
    assert "O que custam as mitigações" in files.html.read_text(encoding="utf-8")
    (path,) = [path for path in files.tables if path.name.startswith("mitigated-") and path.suffix == ".csv"]
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    assert [row[0] for row in rows[1:]] == list(LABELLED)
    # The gap in how often a class is answered is that of the predictions, counted here by hand.
    predictions = read_predictions(studied.directory, of(studied, "lora"))
    lines = (Path(studied.config.dataset[0].path) / "test.csv").read_text().splitlines()[1:]
    said = np.array([line.startswith("she ") for line in lines])
    shares = [(predictions.prediction[own] == 1).mean() for own in (said, ~said)]
    shown = float(rows[1][4].split(" ")[0].replace(",", "."))
    assert shown == pytest.approx(100 * abs(shares[0] - shares[1]), abs=0.06)


def test_killed_and_resumed_it_goes_on_with_the_same_rows(
    studied: Study, tmp_path: Path, family_folder: Callable[[str], Path]
) -> None:
    wanted = settings(family_folder, Path(studied.config.dataset[0].path), epochs=2) | {"evaluate": "last"}
    (result,) = killed_and_resumed(wanted | {"methods": [{"lora": {"mitigate": "balance"}}]}, tmp_path, [25])
    assert result["method_config"]["mitigate"] == "balance"
