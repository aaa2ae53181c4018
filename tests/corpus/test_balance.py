"""Labels by group, length and language, as `afina data inspect` counts them before anything is trained."""

import json
from html import escape
from pathlib import Path

import pytest

from afina.corpus.balance import Balance
from afina.corpus.inspect import inspect_file
from afina.corpus.inspect_page import balance_lines, inspection_page
from afina.data.files.tables import read_table
from afina.errors import UsageError
from afina.words.language import Words
from commands import afina as run_afina


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """40 rows about women, of which 30 are bad, and 40 about men, of which 10 are; and one about both."""
    rows = [{"text": f"she was the {n}th of them", "label": "bad" if n < 30 else "good"} for n in range(40)]
    rows += [{"text": f"he was the {n}th of them all", "label": "bad" if n < 10 else "good"} for n in range(40)]
    rows += [{"text": "she and he", "label": "good"}, {"text": "uma mulher muçulmana não é isso", "label": "good"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return tmp_path / "rows.jsonl"


def test_labels_that_differ_by_group_are_told(uneven: Path) -> None:
    inspection = inspect_file(uneven)
    gender, religion = inspection.groups
    assert gender.counts == {"women": {"bad": 30, "good": 11}, "men": {"bad": 10, "good": 30}}
    assert (gender.several, gender.is_uneven) == (1, True)
    # Pearson's statistic with Yates's correction, by the table's own formula: N (|ad - bc| - N/2)^2 / (row and column sums).
    from scipy.stats import chi2

    a, b, c, d = 30, 11, 10, 30
    n = a + b + c + d
    statistic = n * (abs(a * d - b * c) - n / 2) ** 2 / ((a + b) * (c + d) * (a + c) * (b + d))
    assert gender.p_value == pytest.approx(chi2.sf(statistic, 1))
    assert (religion.p_value, religion.too_small) == (None, ("muslims",))
    (first, second) = balance_lines(inspection, Words("pt"))
    assert first[0] and first[1].startswith("gender: os rótulos diferem por grupo (p < 0,001): women (41): 'bad' 73%")
    assert second == (False, "grupos com menos de 30 linhas, não comparados: religion: muslims")


def test_lengths_and_languages_are_told_by_label(uneven: Path) -> None:
    inspection = inspect_file(uneven)
    assert inspection.by_label["bad"].rows == 40
    assert inspection.by_label["bad"].mean_length == pytest.approx((30 * 6 + 10 * 7) / 40)
    assert inspection.by_label["good"].languages["pt"] == 1
    page = inspection_page(inspection, Words())
    assert "Labels by groups of people" in page and "not people" in page
    assert json.loads(json.dumps(inspection.as_dict()))["groups"][0]["is_uneven"] is True


def test_a_column_of_something_else_than_labels_is_not_compared(tmp_path: Path) -> None:
    rows = "".join(f"she was here {n},{n}x\n" for n in range(60))
    (tmp_path / "a.csv").write_text(f"text,label\n{rows}")
    inspection = inspect_file(tmp_path / "a.csv")
    assert (inspection.groups, inspection.by_label) == ([], {})


def test_labels_are_counted_by_columns_and_by_words_of_ones_own(tmp_path: Path) -> None:
    rows = "".join(f"the lamp is {n},{'bad' if n % 40 < 30 - n // 4 else 'good'},{n % 2},row {n}\n" for n in range(80))
    (tmp_path / "a.csv").write_text(f"text,label,team,note\n{rows}")
    (tmp_path / "own.yaml").write_text("thing:\n  lamps: {en: [lamp]}\n  kettles: {en: [kettle]}\n")
    shown = run_afina("data", "inspect", tmp_path / "a.csv", "--group", "team", "--words", tmp_path / "own.yaml",
                      "--format", "json")  # fmt: skip
    team, thing = json.loads(shown.stdout)["groups"]
    assert (team["axis"], {name: sum(own.values()) for name, own in team["counts"].items()}) == (
        "team",
        {"0": 40, "1": 40},
    )
    assert team["p_value"] > 0.5  # one test for two groups of a column; of the words one group alone is there
    assert (thing["axis"], list(thing["counts"]), thing["p_value"]) == ("thing", ["lamps"], None)


def test_a_column_with_holes_has_the_groups_of_one_without_and_the_holes_are_none() -> None:
    balance = Balance(("team",))
    for row in range(80):
        team = float("nan") if row < 10 else float(row % 2)
        balance.add(f"the {row}th lamp", "bad" if row % 3 else "good", 3, "en", {"team": team})
    assert {name: sum(own.values()) for name, own in balance.by_group()[0].counts.items()} == {"0": 35, "1": 35}


def test_labels_to_look_at_again_and_leaked_rows_stand_on_the_page(shared: Path, tmp_path: Path) -> None:
    """Labels may be numbers, or written as marks of a terminal's colours."""
    import pyarrow as arrow
    from pyarrow import parquet

    names = {0: "[/b]", 1: "1", 2: "<b>", 3: "[red]"}
    table = read_table(shared / "data" / "ag_news" / "train.parquet", [])
    texts = table["text"].to_pylist()[:1500]
    labels = [names[(label + (row < 200)) % 4] for row, label in enumerate(table["label"].to_pylist()[:1500])]
    parquet.write_table(arrow.table({"text": texts, "label": labels}), tmp_path / "a.parquet")
    parquet.write_table(arrow.table({"text": texts[:120]}), tmp_path / "b.parquet")
    shown = run_afina("data", "inspect", tmp_path / "a.parquet", "--test", tmp_path / "b.parquet", "--json",
                      tmp_path / "a.json", "--html", tmp_path / "a.html")  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert "'[/b]' " in shown.stdout and "'[red]' " in shown.stdout
    figures, page = json.loads((tmp_path / "a.json").read_text()), (tmp_path / "a.html").read_text()
    assert len(figures["noise"]["rows"]) == figures["noise"]["doubted"] > 50
    assert len(figures["leaks"]["rows"]) == figures["leaks"]["exact"] == 120
    for row in (*figures["noise"]["rows"][:50], *figures["leaks"]["rows"][:50]):
        assert escape(row["text"]) in page
    assert f"50 of {figures['noise']['doubted']}; the file of --json lists more" in page and "50 of 120" in page
    assert "'0' " not in shown.stdout and "<b> " not in page


@pytest.mark.parametrize(("columns", "why"), [
    (("tem",), "no column 'tem' for --group; did you mean 'team'"), (("note",), "'note' has more than 50 values"),
    (("one",), "'one' has one value alone"),
    (("label",), "'label' is the one that labels are read from; name another for the groups"),
    (("text",), "'text' is the one that texts are read from"), (("empty",), "'empty' has no value"),
])  # fmt: skip
def test_a_column_that_is_no_grouping_is_refused(columns: tuple[str, ...], why: str, tmp_path: Path) -> None:
    rows = "".join(f"the lamp is {n},{'bad' if n % 3 else 'good'},{n % 2},row {n},x,\n" for n in range(80))
    (tmp_path / "a.csv").write_text(f"text,label,team,note,one,empty\n{rows}")
    with pytest.raises(UsageError, match=why):
        inspect_file(tmp_path / "a.csv", balance=Balance(columns))
    (tmp_path / "b.csv").write_text("text,team\na lamp,1\na kettle,2\n")
    with pytest.raises(UsageError, match="from 2 to 50 of them, not 0; say which column has them with --label"):
        inspect_file(tmp_path / "b.csv", balance=Balance(["team"]))
