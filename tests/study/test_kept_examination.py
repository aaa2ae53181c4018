"""A study counts the labels of its train rows by the columns that it names, its audits and mitigations among these."""

from pathlib import Path
from typing import Any

import pytest

from afina.config import StudyConfig
from afina.errors import UsageError
from afina.results.examined_data import read_examination
from afina.study.prepare import PreparedData, prepare


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Give 100 rows, of which those of one team are mostly bad; another column has a value a row."""
    lines = [f"the lamp is {n},{'bad' if n % 10 < 2 + 6 * (n % 2) else 'good'},team {n % 2},{n}" for n in range(100)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label,team,day", *lines]) + "\n")
    return tmp_path / "rows.csv"


def prepared(rows: Path, spec: dict[str, Any], **keys: Any) -> PreparedData:
    config = StudyConfig.parse(
        {"model": "minilm", "dataset": {"path": str(rows), **spec}, "methods": ["head"], "max_length": 16, **keys},
        "study",
    )
    return prepare(config, config.dataset[0], "minilm", rows.parent / "study")


def axes(rows: Path, made: PreparedData) -> list[str]:
    found = read_examination(rows.parent / "study", made.digest)
    assert found is not None
    return [axis.axis for axis in found.groups]


def test_labels_are_counted_by_what_the_study_names(rows: Path) -> None:
    assert axes(rows, prepared(rows, {})) == []
    # Examined anew where other columns are named.
    made = prepared(rows, {"groups": "team"})
    (team,) = read_examination(rows.parent / "study", made.digest).groups  # type: ignore[union-attr]
    assert (team.axis, team.is_uneven, sum(team.counts["team 1"].values())) == ("team", True, 41)
    bias = {"bias": {"columns": ["team", "day"]}}
    assert axes(rows, prepared(rows, {}, audits=[bias])) == ["team"], "a value a row is no group, which the audit says"
    mitigated = {"reweigh": {"column": "team"}}
    assert axes(rows, prepared(rows, {}, mitigate=["none", mitigated])) == ["team"]
    assert axes(rows, prepared(rows, {}, methods=[{"head": {"mitigate": mitigated}}])) == ["team"]
    (rows.parent / "own.yaml").write_text("thing:\n  lamps: {en: [lamp]}\n  kettles: {en: [kettle]}\n")
    assert axes(rows, prepared(rows, {}, audits=[{"bias": {"words": str(rows.parent / "own.yaml")}}])) == ["thing"]


@pytest.mark.parametrize(("column", "why"), [
    ("tem", "no column 'tem' for groups; did you mean 'team'"), ("day", "'day' has 80 values; a column of groups has"),
    ("label", "'label' is the one that labels are read from"),
])  # fmt: skip
def test_a_column_that_is_no_grouping_is_refused_before_training(column: str, why: str, rows: Path) -> None:
    with pytest.raises(UsageError, match=why):
        prepared(rows, {"groups": [column]})
