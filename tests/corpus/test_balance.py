"""Labels by group, length and language, as `afina data inspect` counts them before anything is trained."""

import json
from pathlib import Path

import pytest

from afina.corpus.inspect import inspect_file
from afina.corpus.inspect_page import balance_lines, inspection_page
from afina.words.language import Words


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
    assert first[0] and first[1].startswith("gender: os rótulos diferem por grupo (p < 0,001): women (41): bad 73%")
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
