"""The bias check: a planted bias is found, none where none was planted, and what cannot be tested is said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afina import api
from afina.audit.bias.answers import BiasRows, ClassAnswers
from afina.audit.bias.by_group import Looked, group_drafts
from afina.audit.bias.changes import change_draft, frame_drafts
from afina.audit.bias.drafts import finished
from afina.audit.bias.frames import framed
from afina.audit.bias.material import of_file
from afina.audit.bias.perturb import CHANGES, changed
from afina.audit.bias.questions import BiasSettings, questions
from afina.audit.bias.run import audit_bias
from afina.data.groups.grouping import NONE, Grouping, by_column, by_words, crossed
from afina.data.groups.word_lists import read_word_lists
from afina.data.rows import Rows
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.measure.gaps import RATES, gap_of, permuted_ps, rates_of
from afina.results.findings.audited import read_findings
from afina.results.findings.finding import Finding, Subject
from afina.study.study import Study
from afina.words.language import Words
from commands import afina as run_afina
from commands import refused
from families import WORDS, save_family

NAMES = ("no", "yes")
SUBJECT = Subject(name="run")


def material(labels: np.ndarray, texts: list[str] | None = None) -> BiasRows:
    texts = texts or [f"row {row}" for row in range(len(labels))]
    return BiasRows(Rows(texts, None, labels.astype(np.int64)), NAMES, {}, "rows.csv")


def answers(chosen: np.ndarray, classes: int = 2) -> ClassAnswers:
    scores = np.full((len(chosen), classes), 0.1 / (classes - 1))
    scores[np.arange(len(chosen)), chosen] = 0.9
    return ClassAnswers(scores)


def grouping(group: np.ndarray, groups: int = 2) -> Grouping:
    return Grouping("gender", tuple("abcdefgh"[:groups]), group, "column")


def findings_of(labels: np.ndarray, chosen: np.ndarray, group: Grouping, seed: int = 0) -> dict[str, Finding]:
    looked = Looked(SUBJECT, answers(chosen), {})
    drafts = group_drafts(looked, material(labels), group, fewest=10, seed=seed)
    return {each.check: each for each in finished(drafts)}


# -- groups ----------------------------------------------------------------------------------------------------------


def test_words_are_whole_words_in_any_case_and_language() -> None:
    gender = read_word_lists().axes["gender"]
    texts = ["SHE left.", "The theme of a mansion", "O homem saiu", "He told her", "Minha irmã, dela", "them"]
    found = by_words(texts, gender)
    names = [None if group == NONE else found.groups[group] for group in found.of]
    assert names == ["women", None, "men", None, "women", None]
    assert (found.several, found.without) == (1, 2)
    assert found.counts().tolist() == [2, 1]


def test_a_column_and_two_groupings_at_once() -> None:
    column = by_column("sex", ["f", None, " m ", "f", ""])
    assert (column.groups, column.of.tolist()) == (("f", "m"), [0, NONE, 1, 0, NONE])
    (both,) = crossed([column, by_column("age", ["x", "x", "y", "y", "y"])])
    assert [both.groups[g] if g != NONE else None for g in both.of] == ["f · x", None, "m · y", "f · y", None]
    large, small = both.with_enough(2)
    assert (large.groups, small) == ((), [("f · x", 1), ("f · y", 1), ("m · y", 1)])
    with pytest.raises(UsageError, match="one value alone"):
        by_column("sex", ["f", "f"])


@pytest.mark.parametrize(("text", "why"), [
    ("- a", "should have axes"), ("gender: {women: {en: [she]}}", "two groups"),
    ("gender: {women: {en: she}, men: {en: [he]}}", "list of words"),
    ("gender: {women: {en: [no]}, men: {en: [he]}}", "quote words"),
    ("gender: {women: {de: [sie]}, men: {en: [he]}}", "unknown key 'de'"),
    ("gender: {women: {}, men: {en: [he]}}", "has no words"),
])  # fmt: skip
def test_a_list_of_another_form_is_refused(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text(text)
    with pytest.raises(UsageError, match=why):
        read_word_lists(tmp_path / "words.yaml")


def test_every_group_can_be_named_in_two_ways_in_one_language_at_least() -> None:
    """Frames draw two people of a group; a person's own words would put the frame into a group of another axis's."""
    for axis in read_word_lists().axes.values():
        assert all(len(axis.framed_in(language)) > 1 for language in ("en", "pt"))
        for group in axis.groups:
            assert group.person, f"{axis.name}: {group.name}"


# -- rates -----------------------------------------------------------------------------------------------------------


def test_rates_are_their_definitions() -> None:
    """By the counts of a confusion matrix, written out for two groups."""
    label = np.array([1, 1, 1, 0, 0, 1, 1, 0, 0, 0])
    chosen = np.array([1, 1, 0, 1, 0, 1, 0, 0, 0, 0])
    group = np.array([0] * 5 + [1] * 5)
    gaps = {rate.name: gap_of(rate, group, 2) for rate in rates_of(label, chosen, np.full(10, 0.9), NAMES)}
    assert set(gaps) == set(RATES)
    values = {name: gap.rates[:, 0].tolist() for name, gap in gaps.items() if gap is not None}
    assert values["accuracy"] == [2 / 5, 1 / 5]
    assert values["selection"] == [3 / 5, 1 / 5]
    assert values["excess_selection"] == [0.0, -1 / 5]
    assert values["false_positives"] == [1 / 2, 0.0]
    assert values["false_negatives"] == [1 / 3, 1 / 2]
    assert values["calibration"] == pytest.approx([0.9 - 3 / 5, 0.9 - 4 / 5])


def test_a_rate_that_counts_too_few_rows_has_no_gap() -> None:
    label = np.array([1] + [0] * 19)
    rates = rates_of(label, label, np.full(20, 0.9), NAMES)
    group = np.repeat([0, 1], 10)
    (misses,) = [rate for rate in rates if rate.name == "false_negatives"]
    assert gap_of(misses, group, 2, fewest=5) is None


@pytest.mark.always
def test_a_planted_bias_is_found_with_its_group_and_size() -> None:
    """300 rows a group, of one of them 20 answers in 100 more are wrong: found in both of two draws."""
    found = 0
    for seed in range(2):
        random = np.random.default_rng(seed)
        label, group = random.integers(0, 2, 600), np.repeat([0, 1], 300)
        wrong = random.random(600) < np.where(group == 1, 0.30, 0.10)
        finding = findings_of(label, np.where(wrong, 1 - label, label), grouping(group), seed)["accuracy"]
        found += finding.found
        assert finding.value is not None and finding.value.low is not None and finding.value.high is not None
        assert finding.detectable is not None and finding.detectable < 0.20
    assert found == 2
    assert "more than chance explains" in finding.as_dict()["verdict"]
    assert "in the group 'b'" in finding.as_dict()["verdict"]
    assert {each.remark.values["answer"] for each in finding.evidence if each.remark} <= {"no", "yes"}


def test_none_is_found_among_random_groups() -> None:
    """100 random splits of one model's answers, all rates corrected together: false alarms at the level of 5 in 100.

    Of 100 draws at 5% more than 12 come about once in a thousand times.
    """
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 200)
    chosen = np.where(random.random(200) < 0.2, 1 - label, label)
    rates = rates_of(label, chosen, np.full(200, 0.9), NAMES)
    alarms = 0
    for seed in range(100):
        group = np.random.default_rng(seed).integers(0, 3, 200)
        values = permuted_ps(rates, group, 3, label, seed=seed, permutations=149)
        alarms += min(values) * len(values) < 0.05
    assert alarms <= 12


def test_more_rows_of_a_class_that_is_often_missed_are_no_bias() -> None:
    """One group has more rows of a hard class: its share of wrong answers is larger, at the same rates within each class."""
    random = np.random.default_rng(0)
    group = np.repeat([0, 1], 500)
    label = (random.random(1000) < np.where(group == 1, 0.8, 0.2)).astype(int)
    wrong = random.random(1000) < np.where(label == 1, 0.4, 0.05)
    found = findings_of(label, np.where(wrong, 1 - label, label), grouping(group))
    assert found["accuracy"].value is not None and found["accuracy"].value.value > 0.15
    assert not found["accuracy"].found
    assert found["selection"].found and "Their own labels differ by" in found["selection"].as_dict()["verdict"]


def test_others_stand_beside_on_the_same_rows() -> None:
    random = np.random.default_rng(0)
    label, group = random.integers(0, 2, 600), np.repeat([0, 1], 300)
    biased = np.where((random.random(600) < 0.4) & (group == 1), 1 - label, label)
    looked = Looked(SUBJECT, answers(biased), {"base": answers(label), "twin": answers(biased)})
    finding = finished(group_drafts(looked, material(label), grouping(group), fewest=10, seed=0))[0]
    base, twin = finding.beside
    assert finding.base == base.value
    assert base.value.value == 0
    assert base.difference.value == finding.value.value if finding.value else None
    assert base.p_value is not None and base.p_value < 0.01
    assert (twin.difference.value, twin.difference.low, twin.difference.high, twin.p_value) == (0, 0, 0, 1.0)


# -- frames and changes ----------------------------------------------------------------------------------------------


def test_a_model_that_listens_to_who_speaks_is_found() -> None:
    texts = [f"the film was fine and I saw it {row} times with my friends" for row in range(120)]
    own = material(np.zeros(120), texts)
    asked = framed(texts, read_word_lists().axes["gender"], np.arange(120), seed=0)
    assert asked is not None
    women = ("Mary", "Emily", "woman", "sister")
    listening = [answers(np.array([int(any(w in text for w in women)) for text in each])) for each in asked.texts]
    deaf = [answers(np.zeros(len(each), dtype=int)) for each in asked.texts]
    moved, side = finished(frame_drafts(SUBJECT, own, asked, listening, {"base": deaf}, seed=0))
    assert moved.found and moved.value is not None and moved.value.value == 1
    assert moved.base is not None and moved.base.value == 0
    assert side.found and side.value is not None and side.value.value == 1
    assert not any(each.found for each in finished(frame_drafts(SUBJECT, own, asked, deaf, {}, seed=0)))


def test_frames_are_in_the_language_of_the_rows() -> None:
    texts = ["o filme foi muito bom e eu gostei de tudo"] * 3
    asked = framed(texts, read_word_lists().axes["gender"], np.arange(3), seed=0)
    assert asked is not None
    assert all(text.endswith(texts[0]) and " writes" not in text and "From" not in text for text in asked.texts[0])


def test_changes_leave_words_recognisable() -> None:
    text = "Não houve atenção, infelizmente: a entrega atrasou."
    by_name = {name: changed([text], name, seed=0)[0] for name in CHANGES}
    assert by_name["accents"] == "Nao houve atencao, infelizmente: a entrega atrasou."
    assert by_name["punctuation"] == "Não houve atenção infelizmente a entrega atrasou"
    assert by_name["upper_case"] == text.upper()
    many = changed([text] * 20, "typos", seed=0)
    assert all(sorted(each) == sorted(text) for each in many)
    assert len(set(many)) > 5


def test_accuracy_that_typos_cost_is_found_and_what_gains_is_not() -> None:
    label = np.ones(100)
    own, rows = material(label), np.arange(100)
    texts = [f"rwo {row}" for row in rows]
    right, wrong = answers(np.ones(100, dtype=int)), answers((rows < 80).astype(int))
    for before, after, is_found in ((right, wrong, True), (wrong, right, False)):
        draft = change_draft(SUBJECT, own, "typos", rows, texts, {"": after}, {"": before}, seed=0)
        assert draft is not None
        (finding,) = finished([draft])
        assert finding.found is is_found
        assert finding.value is not None and abs(finding.value.value) == pytest.approx(0.2)
    assert change_draft(SUBJECT, own, "typos", rows, own.rows.text, {"": right}, {"": right}, seed=0) is None


# -- what is asked ---------------------------------------------------------------------------------------------------


def test_a_rate_that_too_few_rows_of_a_group_count_for_is_said() -> None:
    """False negatives count rows with the label: of 5 among the women there is no rate, and nobody is to think it passed."""
    values, labels = ["f"] * 40 + ["m"] * 40, np.zeros(80, dtype=np.int64)
    labels[[*range(5), *range(40, 80)]] = 1
    own = BiasRows(Rows(each_other(80), None, labels), NAMES, {"sex": list(values)}, "rows.csv")
    notes = questions(own, BiasSettings(columns=("sex",), swap_rows=0))[1]
    assert [(note.values["measured"].phrase, note.values["listed"].told(Words())) for note in notes] == [
        ("gap in false positives", "'yes' (m)"), ("gap in false negatives", "'yes' (f)"),
    ]  # fmt: skip


def each_other(count: int) -> list[str]:
    """Return texts of which none says what another does."""
    return [f"{number:03} " * 4 for number in range(count)]


def test_a_small_group_is_said_and_not_tested() -> None:
    values = ["f"] * 40 + ["m"] * 40 + ["x"] * 3
    own = BiasRows(Rows(each_other(83), None, np.zeros(83, dtype=np.int64)), NAMES, {"sex": list(values)}, "rows.csv")
    asked, notes = questions(own, BiasSettings(columns=("sex",), swap_rows=0))
    assert asked.groupings[0].groups == ("f", "m")
    assert any("x has 3 rows, fewer than 30" in note.told(Words()) for note in notes)


def test_groups_that_are_all_too_small_are_told_with_their_rows() -> None:
    own = BiasRows(
        Rows(each_other(43), None, np.zeros(43, dtype=np.int64)), NAMES, {"sex": ["f"] * 40 + ["m"] * 3}, "rows.csv"
    )
    with pytest.raises(UsageError, match=r"no two groups have 30 rows of sex \(f 40, m 3\); name a column"):
        questions(own, BiasSettings(columns=("sex",), swap_rows=0))


def test_many_small_groups_are_told_in_one_short_note() -> None:
    """Of twenty groups and classes with too few rows the first five are named, the largest first, and the rest counted."""
    values = ["f"] * 40 + ["m"] * 40 + [f"g{number:02}" for number in range(12) for _ in range(number + 1)]
    names, labels = tuple(f"c{number}" for number in range(9)), np.arange(len(values), dtype=np.int64) % 9
    own = BiasRows(Rows(each_other(len(values)), None, labels), names, {"sex": list(values)}, "rows.csv")
    notes = [note.told(Words("pt")) for note in questions(own, BiasSettings(columns=("sex",), swap_rows=0))[1]]
    assert notes == [
        "sex: não foram testados, com menos de 30 linhas, g11 (12), g10 (11), g09 (10), g08 (9), g07 (8) e mais 7.",
        "sex: diferença em falsos negativos: ficam de fora, com menos de 30 linhas que contam, 'c0' (f, m); 'c1' (f, m); "
        "'c2' (f, m); 'c3' (f, m); 'c4' (f, m) e mais 4.",
    ]


def test_small_groups_of_two_axes_are_named_as_those_of_one_are() -> None:
    columns: dict[str, list[Any]] = {"sex": ["f"] * 50 + ["m"] * 50}
    columns["age"] = ["young"] * 40 + ["old"] * 10 + ["young"] * 28 + ["old"] * 22
    own = BiasRows(Rows(each_other(100), None, np.zeros(100, dtype=np.int64)), NAMES, columns, "rows.csv")
    asked, notes = questions(own, BiasSettings(columns=("sex", "age"), swap_rows=0))
    assert [each.name for each in asked.groupings] == ["sex", "age"]
    assert notes[0].told(Words()) == (
        "groups of two axes at once: not tested, with fewer than 30 rows, are m · young (28), m · old (22), f · old (10)."
    )
    _, alone = questions(own, BiasSettings(columns=("sex", "age"), swap_rows=0, intersections=False))
    assert alone == notes[1:]


def test_groupings_of_which_one_tells_the_other_make_no_new_groups() -> None:
    town = by_column("town", ["a", "b", "c", "a", "b", "c"])
    country = by_column("country", ["x", "x", "y", "x", "x", "y"])
    other = by_column("team", ["r", "r", "r", "s", "s", "s"])
    assert [own.name for own in crossed([town, country, other])] == ["town × team", "country × team"]


def test_groups_that_the_labels_tell_are_compared_in_one_rate() -> None:
    """Permutations within labels would call any gap chance: 90% wrong beside 10%, with a p-value of 1."""
    labels = np.repeat([0, 1], 50)
    chosen = np.where(np.arange(100) % 10 == 0, labels, 1 - labels)
    chosen[:50] = 1 - chosen[:50]
    assert list(findings_of(labels, chosen, grouping(labels.copy()))) == ["selection"]
    own = BiasRows(Rows(each_other(100), None, labels), NAMES, {"side": ["f"] * 50 + ["m"] * 50}, "rows.csv")
    _, (note,) = questions(own, BiasSettings(columns=("side",), swap_rows=0))
    assert note.told(Words()).startswith("side: each label has rows of one group alone")
    assert note.told(Words("pt")).startswith("side: cada rótulo tem linhas de um só grupo")


def test_rows_that_come_again_and_groups_that_may_be_meant_otherwise_are_said() -> None:
    """A hundred texts twice each are no two hundred, a missing value is no group, and Men may be men."""
    values = [["Men", "men ", "NaN", float("nan"), None][number % 5] for number in range(200)]
    own = BiasRows(Rows(each_other(100) * 2, None, np.zeros(200, dtype=np.int64)), NAMES, {"sex": values}, "rows.csv")
    asked, notes = questions(own, BiasSettings(columns=("sex",), swap_rows=0, fewest=20))
    assert asked.groupings[0].groups == ("Men", "NaN", "men")
    told = [note.told(Words()) for note in notes]
    assert told[0].startswith("100 of 200 rows say what an earlier one says")
    assert told[1:4] == [
        "sex: 80 rows have no value and are in no group.",
        "sex: Men, men differ in case, accents or marks alone, and are groups of their own.",
        "sex: NaN, as a missing value is written, is a group like the others.",
    ]


def test_labels_in_another_case_are_left_out_and_said(tmp_path: Path) -> None:
    lines = [f"text {number},{['good', 'Good', 'bad'][number % 3]},{'fm'[number % 2]}" for number in range(90)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label,sex", *lines]))
    own, notes = of_file(tmp_path / "rows.csv", DatasetSpec(path="rows.csv"), ["good", "bad"], ["sex"])
    assert len(own.rows) == 60
    assert notes == [
        "30 rows of rows.csv have no text or none of the adapter's labels and are left out.",
        "the label 'Good' is none of the adapter's, which has 'good': write it so.",
    ]
    assert Words("pt").note(notes[1]) == "o rótulo 'Good' não é do adaptador, que tem 'good': escreva-o assim."


def test_a_gap_of_nothing_lies_between_two_groups() -> None:
    (rate,) = [own for own in rates_of(np.zeros(4), np.ones(4), np.ones(4), NAMES) if own.name == "selection"]
    gap = gap_of(rate, np.array([0, 0, 1, 1]), 2)
    assert gap is not None
    assert (gap.value, {gap.high, gap.low}) == (0.0, {0, 1})


@pytest.mark.parametrize("column", ["label", "text"])
def test_a_column_that_labels_or_texts_are_read_from_is_no_grouping(column: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\nthe lamp,yes\nthe kettle,no\n")
    with pytest.raises(UsageError, match=f"'{column}' is the one that {column}s are read from"):
        of_file(tmp_path / "rows.csv", DatasetSpec(path="rows"), ["no", "yes"], [column])


@pytest.mark.parametrize(("settings", "why"), [
    (BiasSettings(), "no row is in a group"), (BiasSettings(groups=("gendr",)), "did you mean 'gender'"),
    (BiasSettings(columns=("sex",)), "no two groups have 30 different rows"),
])  # fmt: skip
def test_what_has_no_groups_is_refused(settings: BiasSettings, why: str) -> None:
    columns: dict[str, list[Any]] = {"sex": ["f", "m"] * 10} if settings.columns else {}
    own = BiasRows(Rows(["text"] * 20, None, np.zeros(20, dtype=np.int64)), NAMES, columns, "rows.csv")
    with pytest.raises(UsageError, match=why):
        questions(own, settings)


# -- the whole -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose labels say who a row is about: for one group yes, for the other no."""
    folder = tmp_path_factory.mktemp("bias")
    random = np.random.default_rng(0)
    both = {"text": "she and he", "label": "yes", "team": "red"}  # in neither group, which the command has to say
    rows = [
        {"text": f"{'she' if row % 2 else 'he'} {' '.join(random.choice(WORDS, 6))}", "label": "yes" if row % 4 else "no",
         "team": "red" if row % 3 else "blue"} for row in range(160)
    ]  # fmt: skip
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, [*rows, both])) + "\n")
    made = Study(
        folder / "out", model=str(save_family("bert", folder / "model")), dataset=str(folder / "data.jsonl"), epochs=1,
        methods=["lora", "bitfit"], precision="fp32", cohort="off", batch_size=16, max_length=16,
    )  # fmt: skip
    for result in made.run():
        assert result["status"] == "ok", result["error"]
    return folder


def test_a_study_is_audited_with_its_base_and_methods_beside(study: Path) -> None:
    audit = audit_bias(study / "out", BiasSettings(groups=("gender",), columns=("team",), fewest=5, swap_rows=10))
    assert {each.subject.method for each in audit.findings} == {"lora", "bitfit"}
    checks = {each.check for each in audit.findings}
    assert {"accuracy", "selection", "swaps", "swap_direction", "upper_case"} <= checks
    for each in audit.findings:
        if each.check in RATES:
            assert each.beside[0].name == "base"
            assert len(each.beside) == 2
    assert {each.grouping.name for each in audit.rates} >= {"gender", "team"}
    assert {cells[0][0] for _, cells in audit.further(Words("pt"))} == {"grupo"}
    assert [claim.split()[0] for claim in audit.claims(Words())] == ["A", "Groups"]


def test_recommend_asks_the_audit(study: Path) -> None:
    audit = audit_bias(study / "out", BiasSettings(groups=("gender",), fewest=5, swap_rows=0))
    audit.write(study / "out/audits/bias.json")
    with pytest.raises(UsageError, match="'fairness'"):
        api.recommend(study / "out", no_worse_than_base=["fairness"])
    answer = api.recommend(study / "out", no_worse_than_base=["bias"])
    worse = {each.subject.method for each in audit.findings for beside in each.beside
             if beside.name == "base" and (beside.p_value or 0) < 0.001 and beside.difference.value > 0}  # fmt: skip
    assert {label.split()[0] for label, _ in answer.excluded} >= worse
    refused(run_afina("recommend", study / "out", "--no-worse-than-base", "bais"), "did you mean 'bias'")


def test_the_command_writes_what_it_shows_and_holds_the_gate(study: Path, tmp_path: Path) -> None:
    adapter = next((study / "out/runs").glob("*lora*")) / "adapter"
    arguments = ["audit", "bias", adapter, "--rows", study / "data.jsonl", "--axis", "gender", "--fewest", 5, "--swap-rows",
                 5, "--no-base", "--out", tmp_path / "audits"]  # fmt: skip
    shown = run_afina(*arguments, "--language", "pt")
    assert shown.returncode == 0, shown.stderr
    assert "Passar na auditoria não é ser justo" in shown.stdout
    assert "1 linhas têm palavras de vários grupos" in shown.stdout
    assert read_findings(tmp_path / "audits/bias.json")
    page = (tmp_path / "audits/bias.html").read_text(encoding="utf-8")
    assert "Viés" in page and "<script" not in page
    refused(run_afina(*arguments), "exists already")


def test_a_limit_that_nothing_is_held_against_is_said_and_one_that_cannot_be_is_refused(study: Path) -> None:
    adapter = next((study / "out/runs").glob("*lora*")) / "adapter"
    shown = run_afina(
        "audit", "bias", adapter, "--rows", study / "data.jsonl", "--axis", "gender", "--fewest", 5, "--swap-rows", 0,
        "--no-base", "--fail-above", "swaps=0.5", "--fail-above", "selection=1",
    )  # fmt: skip
    assert "--fail-above: no test of swaps was made, so that nothing was held against the limit" in shown.stdout
    audit = audit_bias(study / "out", BiasSettings(groups=("gender",), fewest=5, swap_rows=0, base=False))
    for name, why in (("acuracy", "did you mean 'accuracy'"), ("word_swaps", "no test by itself")):
        with pytest.raises(UsageError, match=why):
            audit.above({name: 0.1})
    assert audit.above({"swaps": 0.1}) == []


@pytest.mark.parametrize(("more", "why"), [
    (["--group", "sex"], "no column 'sex'"), (["--axis", "gendr"], "did you mean 'gender'"),
    (["--fail-above", "swap=1"], "did you mean 'swaps'"),
    (["--fail-above", "word_swaps=0.05"], "no test by itself"), (["--rows", "none.csv"], "does not exist"),
])  # fmt: skip
def test_bad_input_is_refused_in_a_sentence(study: Path, more: list[str], why: str) -> None:
    adapter = next((study / "out/runs").glob("*lora*")) / "adapter"
    refused(run_afina("audit", "bias", adapter, *more), why)


def test_what_writes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(run_afina("audit", "bias", tmp_path / "empty"), "neither an adapter")
