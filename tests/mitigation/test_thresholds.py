"""Thresholds by group: chosen on development rows as the paper says, kept with the adapter, and used wherever it answers."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import afina
from afina import api
from afina.audit.bias.questions import BiasSettings
from afina.audit.bias.run import audit_bias
from afina.config import StudyConfig
from afina.data.groups.grouping import NONE
from afina.errors import UsageError
from afina.export.by_groups import thresholds_left
from afina.predictor.predictor import Predictor
from afina.report.write import write_report
from afina.results.predictions import read_predictions
from afina.results.result import Result
from afina.serve.predict import Counts
from afina.study.study import Study
from afina.tasks.group_rule import GroupRule
from studies import settings

BY_COLUMN = {"thresholds": {"column": "sex", "fewest": 5, "equal": "selection"}}
BY_WORDS = {"thresholds": {"fewest": 5, "equal": "selection"}}


def test_thresholds_make_a_rate_equal_at_the_most_right_rows() -> None:
    """By hand: of the women's rows of class 1 half are found at 1/2, of the men's all; equal rates need another cut each."""
    margin = np.array([2.0, 1.0, -1.0, -3.0, -2.0, 4.0, 3.0, 2.0, 1.0, -4.0])
    label, group = np.array([1, 1, 1, 1, 0, 1, 1, 1, 1, 0]), np.repeat([0, 1], 5)
    rule = GroupRule(groups=["women", "men"], equal="false_negatives", fewest=2, column="sex")
    logits = np.stack([np.zeros(10), margin], axis=1)
    made = rule.chosen(logits, label, group)
    assert made.cuts is not None and made.cuts[0] is not None and made.cuts[1] is not None
    assert (made.cuts[0].before, made.cuts[1].before) == (0.5, 1.0)
    # All found: one row is wrong, the women's of class 0. With three of four found in both two are.
    assert made.cuts[0].after == made.cuts[1].after == 1.0 and made.cuts[1].cut == 0.0 and made.cuts[0].cut < -3
    assert (made.shifted(logits, group).argmax(axis=1) == label).sum() == 9
    selecting = rule.model_copy(update={"equal": "selection"}).chosen(logits, label, group)
    assert selecting.cuts is not None and selecting.cuts[0] is not None and selecting.cuts[1] is not None
    # Eight are right with three of five answered in both, and with four; at 1/2 it is six of ten.
    assert selecting.cuts[0].after == selecting.cuts[1].after == 0.6
    # Rows of no group keep one half; a group with too few rows too, and the rule can be written and read.
    assert (made.shifted(logits, np.full(10, NONE)) == logits).all()
    few = rule.model_copy(update={"fewest": 5}).chosen(logits, label, group)
    assert few.cuts == [None, None] and (few.shifted(logits, group) == logits).all()
    assert GroupRule.model_validate(json.loads(json.dumps(made.model_dump(exclude_none=True)))) == made


def test_thresholds_equal_the_rate_of_other_rows_too() -> None:
    """Chosen on one half of drawn rows, they bring the gap of the other half from 30 points to what its size allows."""
    random = np.random.default_rng(0)
    group, label = random.integers(0, 2, 4000), random.integers(0, 2, 4000)
    margin = random.normal(2.0 * label - 1 - 0.8 * group, 1.0)
    logits, half = np.stack([np.zeros(4000), margin], axis=1), np.arange(4000) < 2000
    rule = GroupRule(groups=["a", "b"], equal="false_negatives", fewest=30, column="g").chosen(
        logits[half], label[half], group[half]
    )

    def gap(chosen: np.ndarray) -> float:
        found = [chosen[~half & (label == 1) & (group == place)].mean() for place in (0, 1)]
        return abs(float(found[0] - found[1]))

    assert gap(margin > 0) > 0.2
    assert gap(rule.shifted(logits, group).argmax(axis=1) == 1) < 0.06  # two standard errors of 500 rows each
    assert (
        rule.cuts is not None and rule.cuts[0] is not None and rule.cuts[0].low < rule.cuts[0].cut < rule.cuts[0].high
    )


def write_rows(path: Path, rows: int, seed: int) -> None:
    """Texts that say how good it was; of those that a woman says fewer are praise."""
    random, lines = np.random.default_rng(seed), ["text,label,sex"]
    for _ in range(rows):
        woman = random.random() < 0.5
        good = random.random() < (0.35 if woman else 0.65)
        word = random.choice(["good", "great"] if good else ["bad", "late"])
        text = f"{'she' if woman else 'he'} said {random.choice(['order', 'box', 'shop'])} was {word}"
        lines.append(f"{text},{'praise' if good else 'complaint'},{'w' if woman else 'm'}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, family_folder: Callable[[str], Path]) -> Study:
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder / "train.csv", 240, 0)
    write_rows(folder / "test.csv", 80, 1)
    wanted = settings(family_folder, folder, methods=["lora"], epochs=1, learning_rate=1e-3) | {"evaluate": "last"}
    wanted["mitigate"] = ["none", BY_COLUMN, BY_WORDS]
    made = Study(tmp_path_factory.mktemp("study"), StudyConfig.parse(wanted, "study"))
    assert all(result.is_finished for result in made.run())
    return made


def of(study: Study, mitigate: object) -> Result:
    return next(result for result in study.results if result.method_config.get("mitigate") == mitigate)


def rule_of(study: Study, mitigate: object) -> GroupRule:
    record = json.loads((study.directory / str(of(study, mitigate).adapter) / "afina.json").read_text())
    return GroupRule.model_validate(record["task"]["by_group"])


def test_a_run_is_called_by_its_settings_within_settings(study: Study) -> None:
    assert [run.label for run in study.runs] == [
        "lora", "lora(mitigate=thresholds(column=sex, equal=selection, fewest=5))",
        "lora(mitigate=thresholds(equal=selection, fewest=5))",
    ]  # fmt: skip


def test_training_is_what_it_is_without_and_only_answers_differ(study: Study) -> None:
    weights = [
        (study.directory / str(of(study, given).adapter) / "adapter_model.safetensors").read_bytes()
        for given in (None, BY_COLUMN, BY_WORDS)
    ]
    assert weights[0] == weights[1] == weights[2]
    plain = read_predictions(study.directory, of(study, None))
    sexes = [row["sex"] for row in rows_of(study, "test")]
    for given, women in ((BY_COLUMN, "w"), (BY_WORDS, "women")):
        rule, made = rule_of(study, given), read_predictions(study.directory, of(study, given))
        assert rule.cuts is not None and all(rule.cuts)
        cut = {name: own.cut for name, own in zip(rule.groups, rule.cuts, strict=True) if own is not None}
        shift = np.array([cut[women] if sex == "w" else next(v for n, v in cut.items() if n != women) for sex in sexes])
        margin = np.log(plain.scores[:, 1] / plain.scores[:, 0]) - shift
        assert np.allclose(np.log(made.scores[:, 1] / made.scores[:, 0]), margin, atol=1e-5)
        assert (made.prediction == (margin > 0)).all()


def rows_of(study: Study, part: str) -> list[dict[str, str]]:
    with (Path(study.config.dataset[0].path) / f"{part}.csv").open() as file:
        return list(csv.DictReader(file))


def answered_of(adapter: Predictor, folder: Path, sexes: list[str]) -> Counts:
    """Answer a row for each sex by a file; returns the rows by what became of them."""
    (folder / "new.csv").write_text("text,sex\n" + "".join(f"she said box was good,{sex}\n" for sex in sexes))
    answers = api.predict(adapter, file=folder / "new.csv")
    assert len(list(answers)) == len(sexes)
    return answers.counts


def test_groups_are_known_again_as_whole_numbers_and_under_their_older_names() -> None:
    """A column with a hole in it holds 1 as 1.0; rules of before may call that group 1.0."""
    for names in (["0", "1"], ["0.0", "1.0"]):
        rule = GroupRule(groups=names, equal="selection", fewest=5, column="team")
        assert rule.named([0.0, 1.0, None, float("nan"), "x"]).tolist() == [0, 1, -1, -1, -1]
    assert GroupRule(groups=["0", "1"], equal="selection", fewest=5, column="team").named([1, "1", " 0"]).tolist() == [
        1,
        1,
        0,
    ]


def test_an_adapter_answers_as_its_run_did_where_it_knows_the_groups(study: Study, tmp_path: Path) -> None:
    rows = rows_of(study, "test")
    texts, sexes = [row["text"] for row in rows], [row["sex"] for row in rows]
    by_words = afina.load(study.directory / str(of(study, BY_WORDS).adapter))
    by_column = afina.load(study.directory / str(of(study, BY_COLUMN).adapter))
    answers = (by_words.predict(texts), by_column.predict(texts, groups=sexes))
    for given, predictions in zip((BY_WORDS, BY_COLUMN), answers, strict=True):
        run = read_predictions(study.directory, of(study, given))
        assert np.allclose([list((own.probabilities or {}).values()) for own in predictions], run.scores, atol=1e-5)
    with pytest.raises(UsageError, match=r"group of the column 'sex', and texts come without it: .* --file"):
        by_column.predict(texts)
    with pytest.raises(UsageError, match=r"^1 groups for 80 texts"):
        by_column.predict(texts, groups=["w"])
    from_file = list(api.predict(by_column, file=Path(study.config.dataset[0].path) / "test.csv"))
    assert [own.found for own in from_file] == list(answers[1])
    assert from_file and answered_of(by_column, tmp_path, ["w", "m", "M", ""]).ungrouped == 2
    # A group that nobody knew has the plain threshold.
    unknown = by_column.predict(texts[:3], groups=[None, "x", ""])
    plain = read_predictions(study.directory, of(study, None)).scores[:3]
    assert np.allclose([list((own.probabilities or {}).values()) for own in unknown], plain, atol=1e-5)


def test_it_is_audited_and_reported_with_its_price(study: Study) -> None:
    audit = audit_bias(study.directory, BiasSettings(columns=("sex",), fewest=5, swap_rows=4, base=False))
    runs = {each.subject.name: each for each in audit.findings if each.check == "selection"}
    assert len(runs) == 3
    files = write_report(study.directory, language="pt")
    page = files.html.read_text(encoding="utf-8")
    assert "Limiares por grupo" in page and "nem toda lei permite" in page
    (path,) = [path for path in files.tables if path.name.startswith("group-thresholds-") and path.suffix == ".csv"]
    shown = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))[1:]
    assert [row[2] for row in shown] == ["m", "w", *(name for name in rule_of(study, BY_WORDS).groups)]
    cuts = rule_of(study, BY_COLUMN).cuts or []
    probabilities = [1 / (1 + np.exp(-own.cut)) for own in cuts if own is not None]
    assert [float(row[4].split()[0].replace(",", ".")) for row in shown[:2]] == pytest.approx(probabilities, abs=0.006)


def test_what_is_exported_says_what_it_leaves(study: Study) -> None:
    tasks = {
        str(given): afina.load(study.directory / str(of(study, given).adapter)).task
        for given in (None, BY_COLUMN, BY_WORDS)
    }
    assert thresholds_left(Path("a"), tasks[str(None)]) == ()
    assert "no file that other programs load" in thresholds_left(Path("a"), tasks[str(BY_WORDS)])[0]
    with pytest.raises(UsageError, match=r"^a decides by a threshold for each group of the column 'sex'"):
        thresholds_left(Path("a"), tasks[str(BY_COLUMN)])


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"mitigate": {"thresholds": {"fewest": 200}}}, "of the development rows no two groups of gender have 200 rows"),
        ({"mitigate": {"thresholds": {"column": "sx"}}}, "no column 'sx' for mitigate: thresholds.*'sex'"),
        ({"methods": [{"features": {"mitigate": "thresholds"}}]}, "no development split; take mitigate: swap"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_refused(
    more: dict[str, object], sentence: str, study: Study, tmp_path: Path, family_folder: Callable[[str], Path]
) -> None:
    wanted = settings(family_folder, Path(study.config.dataset[0].path), epochs=1) | more
    with pytest.raises(UsageError, match=sentence):
        Study(tmp_path / "out", StudyConfig.parse(wanted, "study")).run()
