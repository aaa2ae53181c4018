"""The one form of what audits find: kept as a file and read again, said in both languages, and held against limits."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from afina.errors import AboveLimit, AfinaError, UsageError
from afina.measure.bootstrap import Estimate
from afina.results.findings.against_base import findings_by_run, worse_than_base
from afina.results.findings.audited import FOLDER, Audited, audits_of, read_findings
from afina.results.findings.finding import (
    ComparedFigure,
    Evidence,
    Finding,
    Subject,
    above,
    check_gate,
    corrected,
    parse_limits,
)
from afina.results.findings.page import page
from afina.results.findings.sentence import Figure, Sentence, interval
from afina.words.language import Words

FOUND = Finding(
    audit="bias", check="swaps", measured=Sentence("value"), on=Sentence("train rows"), rows=1200, found=True,
    subject=Subject(name="lora", method="lora", rank=4), value=Estimate(1234.5, 1000.25, None), base=Estimate(0.1, 0.0, 0.2),
    verdict=Sentence("Exposure of the canaries' secrets, of {most} bits at the most: {parts}.", {
        "most": Figure(1234.5, 1), "parts": interval(Estimate(0.25, 0.125, 0.5), digits=3)}),
    beside=(ComparedFigure(name="base", value=Estimate(0.1), difference=Estimate(0.3, 0.2, 0.4), p_value=0.01),),
    evidence=(Evidence(text="<b>she</b> said", row=7, remark=Sentence("{count} canaries", {"count": 4})),),
    p_value=0.001, p_corrected=0.004,
)  # fmt: skip


def test_a_finding_is_read_as_it_was_written(tmp_path: Path) -> None:
    Audited(audit="bias", target="study", findings=[FOUND, replace(FOUND, value=None, found=False)]).write(
        tmp_path / FOLDER / "bias.json"
    )
    first, second = read_findings(tmp_path / FOLDER / "bias.json")
    assert first == FOUND
    assert second.value is None
    assert audits_of(tmp_path) == {"bias": [first, second]}
    assert audits_of(tmp_path, ["leak"]) == {}


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"findings": [1]}', '{"findings": [{"said": {}}]}', "{", '{"findings": 3}']
)
def test_what_is_no_audit_is_refused_in_a_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "bias.json").write_text(text)
    with pytest.raises(AfinaError, match=r"audit again\.$"):
        read_findings(tmp_path / "bias.json")


def test_a_verdict_is_said_with_the_numbers_of_its_language() -> None:
    told = FOUND.verdict.told(Words("pt"))
    assert "1.234,5 bits" in told
    assert "+0,250 (intervalo de 95% de +0,125 a +0,500)" in told
    assert FOUND.as_dict()["verdict"].endswith("+0.250 (95% interval +0.125 to +0.500).")


def test_a_page_shows_texts_as_texts() -> None:
    shown = page(Audited(audit="bias", target="a<b", findings=[FOUND]), "pt")
    assert "&lt;b&gt;she&lt;/b&gt; said" in shown
    assert "a&lt;b" in shown
    assert 'lang="pt-BR"' in shown


def test_json_holds_the_sentences_in_english() -> None:
    values = json.loads(json.dumps(FOUND.as_dict()))
    assert values["measured"] == "value"
    assert values["evidence"][0] == {"text": "<b>she</b> said", "row": 7, "remark": "4 canaries"}


def test_limits_are_of_all_checks_or_of_one() -> None:
    limits = parse_limits(["0.05", "swaps=2000"], ["swaps", "calibration"])
    assert limits == {"": 0.05, "swaps": 2000.0}
    other = replace(FOUND, check="calibration", value=Estimate(0.06, 0.05, 0.07))
    assert above([FOUND, other], limits) == [other]
    assert above([replace(other, found=False), replace(other, value=None)], limits) == []
    assert above([FOUND], {}) == []
    with pytest.raises(AboveLimit, match=r"2 of 2 findings .* swaps of lora is 1.23e\+03, and 1 more\.$") as error:
        check_gate([FOUND, other], {"": 0.0})
    assert error.value.exit_code == 3


@pytest.mark.parametrize(("given", "why"), [
    (["much"], "number from 0"), (["-1"], "number from 0"), (["nan"], "number from 0"), (["swap=1"], "did you mean 'swaps'"),
    (["1", "2"], "two limits"), (["swaps=1", "swaps=2"], "two limits"),
])  # fmt: skip
def test_a_limit_that_is_none_is_refused(given: list[str], why: str) -> None:
    with pytest.raises(UsageError, match=why.replace("?", ".")):
        parse_limits(given, ["swaps"])


def test_what_tuning_made_worse_is_told_and_what_has_no_base_too() -> None:
    worse = ComparedFigure(name="base", value=Estimate(0.1), difference=Estimate(0.3, 0.2, 0.4), p_value=0.01)
    findings = {"a": [FOUND], "b": [replace(FOUND, beside=(replace(worse, difference=Estimate(-0.3)),))],
                "c": [replace(FOUND, beside=())],
                "d": [replace(FOUND, beside=(replace(worse, p_value=0.04),))] * 2}  # fmt: skip
    told = worse_than_base(["a"], findings)
    assert told is not None and told.told(Words("pt")) == "é pior que a sua base: valor (linhas de treino) em 0,300"
    assert worse_than_base(["b"], findings) is None
    assert worse_than_base(["d"], findings) is None  # two tests at 0.04 are 0.08
    for run in ("c", "unknown"):
        told = worse_than_base([run], findings)
        assert told is not None and told.phrase == "no audit has its base beside it"


def test_a_study_that_was_not_audited_is_told_how(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="afina audit bias"):
        findings_by_run(tmp_path, "bias")


def test_tests_that_were_not_made_do_not_count() -> None:
    # Holm: the smallest of two is doubled, the other stays.
    assert corrected([0.03, None, 0.02]) == [(0.04, True), (None, False), (0.04, True)]
    assert corrected([0.03, 0.03]) == [(0.06, False), (0.06, False)]
