"""The leak check: what an adapter that was trained too long gives away, and one that learned nothing does not."""

import json
import math
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afina import api
from afina.audit.canaries import Planting, plant, read_manifest
from afina.audit.exposure import Rank, chance, modelled_bits, rank_of
from afina.audit.findings import Leak
from afina.audit.in_cards import write_into_cards
from afina.audit.leak import LeakMaterial, LeakSettings
from afina.audit.measures import longest_run, membership, recitation
from afina.audit.run import LeakAudit, audit_leak
from afina.card.write import write_own_card
from afina.data.files.tables import read_table
from afina.data.rows import Rows
from afina.errors import UsageError
from afina.predictor.load import load
from afina.results.findings.page import page as page_of
from afina.results.results_jsonl import read_results
from afina.study.study import Study
from afina.words.language import Words
from commands import afina as run_afina
from commands import refused
from families import WORDS, save_family

SETTINGS = LeakSettings(references=99, prefix=4, most=24)
LETTERS = "abcdefghij"


def sentence(random: np.random.Generator, words: int = 24) -> str:
    return " ".join(random.choice(WORDS, words))


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family("llama", tmp_path_factory.mktemp("audit") / "llama", speaks=True)


@pytest.fixture(scope="module")
def audit(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LeakAudit]:
    """A study of random words with canaries: one run has learned them by heart, one has hardly begun."""
    folder = tmp_path_factory.mktemp("study")
    random = np.random.default_rng(1)
    talks = [
        {"messages": [{"role": "user", "content": sentence(random, 3)}, {"role": "assistant", "content": sentence(random)}]}
        for _ in range(22)
    ]  # fmt: skip
    write(folder / "data/test.jsonl", talks[12:] + talks[:1])
    plain = write(folder / "plain.jsonl", talks[:12])
    manifest = plant(plain, folder / "data/train.jsonl", Planting(count=2, repeat=[0, 4], symbols=LETTERS, length=6))
    study: dict[str, Any] = {
        "model": str(llama), "dataset": str(folder / "data"), "task": "chat", "template": "plain", "epochs": 50,
        "methods": [{"full": {"learning_rate": 0.02}}, {"lora": {"learning_rate": 1e-9}}], "batch_size": 4,
        "precision": "fp32", "cohort": "off",
    }  # fmt: skip
    for result in Study(folder / "out", **study).run():
        assert result["status"] == "ok", result["error"]
    return folder, audit_leak(folder / "out", canaries=manifest, settings=SETTINGS)


def by_method(audit: LeakAudit) -> tuple[Leak, Leak]:
    found = {leak.method.partition("(")[0]: leak for leak in audit.leaks}
    return found["full"], found["lora"]


def test_what_is_known_by_heart_leaks(audit: tuple[Path, LeakAudit]) -> None:
    leak, _ = by_method(audit[1])
    assert leak.leaks == {"membership": True, "recitation": True, "canaries": True}
    assert leak.membership.learned_gap.low is not None
    assert leak.membership.learned_gap.low > 0.5
    assert leak.membership.calibrated_auc > 0.9
    assert leak.recitation is not None
    (ten, twenty, fifty) = leak.recitation.shares
    assert (ten.tokens, ten.train_rows, ten.held_out_recited, ten.base_train_recited) == (10, 12, 0, 0)
    assert ten.train_recited >= 6
    assert (twenty.tokens, fifty.train_rows) == (20, 0)  # no row goes on for 50 tokens
    planted = {each.repeat: [e for e in leak.exposures if e.repeat == each.repeat] for each in leak.exposures}
    assert set(planted) == {0, 4}
    for each in planted[4]:
        assert (each.rank, each.of) == (1, 100)
        assert each.bits == each.most_bits == math.log2(100)
        assert each.most_bits < each.modelled_bits <= each.space_bits == 6 * math.log2(10)
    assert leak.learned[4] < 0.01 < leak.learned[0]
    risky = leak.rows_at_risk[0]
    assert risky.verbatim is not None
    assert risky.base_verbatim is not None
    assert risky.verbatim > risky.base_verbatim
    assert risky.loss < risky.base_loss
    assert leak.gap_by_epoch[-1]["gap"] > leak.gap_by_epoch[0]["gap"]
    assert len(leak.gap_by_epoch) == leak.epochs == 50


def test_findings_and_the_gate_say_the_same(audit: tuple[Path, LeakAudit]) -> None:
    by_subject = [
        [each for each in audit[1].findings if each.subject.adapter == leak.adapter] for leak in audit[1].leaks
    ]
    for leak, findings in zip(audit[1].leaks, by_subject, strict=True):
        assert {each.check: each.found for each in findings} == leak.leaks
    assert {each.check for each in audit[1].above({"": 0.0})} == {"membership", "recitation", "canaries"}
    assert not audit[1].above({"": 1e9})


def test_what_was_not_learned_does_not_leak(audit: tuple[Path, LeakAudit]) -> None:
    _, leak = by_method(audit[1])
    assert leak.leaks == {"membership": False, "recitation": False, "canaries": False}
    assert abs(leak.membership.learned_gap.value) < 1e-3
    assert "no proof" in leak.verdict[-1]
    assert all(each.bits == each.base_bits for each in leak.exposures)
    assert leak.rank == 8  # the method's own, as the study sets none


def test_rows_in_both_files_and_canaries_are_no_evidence(audit: tuple[Path, LeakAudit]) -> None:
    leak, _ = by_method(audit[1])
    assert audit[1].notes == ["1 held-out row is among the train rows too and left out."]
    assert (leak.membership.train_rows, leak.membership.held_out_rows) == (12, 10)


def test_the_command_tells_it(audit: tuple[Path, LeakAudit], tmp_path: Path) -> None:
    folder, _ = audit
    adapter = next((folder / "out/runs").glob("*full*")) / "adapter"
    found = run_afina(
        "audit", "leak", adapter, "--train", folder / "plain.jsonl", "--held-out", folder / "data/test.jsonl",
        "--prefix", 4, "--tokens", 24, "--out", tmp_path / "audit", "--fail-above", "0.1",
    )  # fmt: skip
    assert found.returncode == 3, found.stderr  # after all was shown and written
    assert "2 of 2 findings above --fail-above" in found.stderr
    assert "train rows most at risk" in found.stdout
    (leak,) = json.loads((tmp_path / "audit/leak.json").read_text())["leaks"]
    assert leak["leaks"] == {"membership": True, "recitation": True}
    page = (tmp_path / "audit/leak.html").read_text()
    assert escape(leak["verdict"][0]) in page
    assert "<script" not in page


def test_the_verdict_goes_into_the_cards_and_stays_until_it_is_trained_again(audit: tuple[Path, LeakAudit]) -> None:
    folder, found = audit
    for written, leak in zip(write_into_cards(found.leaks), found.leaks, strict=True):
        text = written.path.read_text(encoding="utf-8")
        assert "looked at 12 rows that it was trained on and at 10 that it was not" in text
        assert all(f"- {sentence}" in text for sentence in leak.verdict)
        assert "for bias or for drift" in text
        assert not any(row.text in text for row in leak.rows_at_risk)
        api.report(folder / "out")
        assert written.path.read_text(encoding="utf-8") == text
        (result,) = [own for own in read_results(folder / "out") if str(own.adapter) in str(written.path)]
        write_own_card(written.path.parent, language="en", result=result)
        assert "gives away\n" not in written.path.read_text(encoding="utf-8")


def test_a_page_shows_texts_as_texts(audit: tuple[Path, LeakAudit]) -> None:
    page = page_of(audit[1])
    assert all(escape(each.verdict.told(Words())) in page for each in audit[1].findings)
    assert "no proof that nothing can be extracted" in page
    assert "Canaries" in page


def test_a_page_speaks_portuguese(audit: tuple[Path, LeakAudit]) -> None:
    page = page_of(audit[1], "pt")
    assert 'lang="pt-BR"' in page
    assert "O que é revelado dos dados de treino" in page and "linhas de treino" in page
    assert not [sentence for leak in audit[1].leaks for sentence in leak.verdict if escape(sentence) in page]


@pytest.mark.parametrize(("family", "task", "method"), [("bart", "seq2seq", "ia3"), ("gpt2", "language", "prompt")])
def test_other_ways_to_write(family: str, task: str, method: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [{"source": sentence(random, 4), "target": sentence(random, 20)} for _ in range(20)]
    texts = [{"text": f"{row['source']} {row['target']}"} for row in rows]
    data = write(tmp_path / "data.jsonl", rows if task == "seq2seq" else texts)
    manifest = plant(data, tmp_path / "planted.jsonl", Planting(count=2, repeat=[3], symbols=LETTERS, length=2))
    study: dict[str, Any] = {
        "model": str(save_family(family, tmp_path / "model", speaks=True)), "dataset": str(tmp_path / "planted.jsonl"),
        "task": task, "epochs": 1, "methods": [method], "precision": "fp32", "cohort": "off", "max_length": 30,
    }  # fmt: skip
    (result,) = Study(tmp_path / "out", **study).run()
    (leak,) = audit_leak(tmp_path / "out" / result["adapter"], canaries=manifest, settings=SETTINGS).leaks
    assert leak.recitation is not None
    assert {each.of for each in leak.exposures} == {100}  # all that there are
    # A file is divided: those in its test part do not count.
    train = [row for row in read_table(tmp_path / "planted.jsonl").to_pylist() if "secret" in json.dumps(row)]
    assert sum(each.repeat for each in leak.exposures) <= len(train) == 6
    risky = leak.rows_at_risk[0]
    # All of a target after its source; of a text, 4 are given behind the first token, which nothing precedes.
    assert risky.continuation == (20 if task == "seq2seq" else 19)
    given = rows if task == "seq2seq" else texts
    (row,) = [row for row in given if risky.text.removesuffix(" …") in row.get("target", row.get("text", ""))]
    pair = None if task == "language" else [row["target"]]
    ((loss, count, _),) = load(tmp_path / "out" / result["adapter"]).logits([row.get("source", row.get("text"))], pair)
    assert risky.loss == pytest.approx(loss / count, rel=1e-4)


# -- the measures ----------------------------------------------------------------------------------------------------


def test_exposure_is_its_definition() -> None:
    # |R| = 8 secrets; two others are likelier than ours, at 3 nats: rank 3, exposure log2 8 - log2 3.
    rank = rank_of(3.0, np.array([1.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0]))
    assert rank == Rank(3, 8)
    assert rank.bits == pytest.approx(3 - math.log2(3))
    assert rank_of(0.5, np.array([1.0, 2.0, 4.0])).bits == 2  # the likeliest of four
    assert rank_of(9.0, np.array([1.0, 2.0, 4.0])).bits == 0  # the least likely
    assert rank_of(2.0, np.array([2.0, 2.0, 2.0])).bits == 0  # what cannot be told apart is not exposed


def test_modelled_exposure_is_that_of_the_distribution() -> None:
    from scipy.stats import norm

    references = np.random.default_rng(0).normal(10, 2, 100_000)
    for loss in (10.0, 6.0, 2.0):
        assert modelled_bits(loss, references, 1 << 40) == pytest.approx(-math.log2(norm.cdf(loss, 10, 2)), rel=0.03)
    assert modelled_bits(-100.0, references, 1 << 20) == 20  # no more than there are secrets


def test_chance_is_uniform_where_nothing_was_learned() -> None:
    random = np.random.default_rng(0)
    drawn = [chance([Rank(int(rank), 512) for rank in ranks]) for ranks in random.integers(1, 513, (2000, 4))]
    assert np.mean(np.array(drawn) < 0.05) == pytest.approx(0.05, abs=0.02)
    assert chance([Rank(1, 512)]) == pytest.approx(1 / 512)


def test_a_run_is_the_longest_that_both_have() -> None:
    assert longest_run([1, 2, 3, 9, 4, 5], [7, 2, 3, 4, 5, 6]) == 2
    assert longest_run([1, 2, 3, 4], [2, 3, 4, 8]) == 3
    assert longest_run([], [1]) == 0


def test_what_the_base_does_too_is_no_leak() -> None:
    random = np.random.default_rng(0)
    member = np.arange(60) < 40
    base = random.normal(3, 0.3, 60) - member  # train rows are easier texts, to any model
    found = membership(base - 0.5, base, member)
    assert found.gap.low is not None
    assert found.gap.low > 0.5
    assert found.auc > 0.9
    assert found.learned_gap.value == pytest.approx(0, abs=1e-9)
    lengths = np.full(60, 20.0)
    runs = np.where(member, 15.0, 3.0)
    same = recitation(runs, runs, lengths, member)
    assert same.excess.value == 0
    assert (same.shares[0].train_recited, same.shares[0].base_train_recited) == (40, 40)
    more = recitation(runs, np.full(60, 3.0), lengths, member)
    assert more.excess.value == pytest.approx(12 / 20)


# -- canaries --------------------------------------------------------------------------------------------------------

FORMS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "messages": lambda asked, said: {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}], "more": 1},
    "conversations": lambda asked, said: {
        "conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": said}]},
    "pairs": lambda asked, said: {"instruction": asked, "input": "", "output": said},
    "texts": lambda asked, said: {"text": f"{asked} {said}"},
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("form", FORMS)
def test_canaries_have_the_form_of_the_data(form: str, suffix: str, tmp_path: Path) -> None:
    rows = [FORMS[form](f"question {number}", f"answer {number}") for number in range(8)]
    data, out = write(tmp_path / "data.jsonl", rows), tmp_path / f"planted{suffix}"
    path = plant(data, out, Planting(count=2, repeat=[0, 1, 3]))
    manifest = read_manifest(path)
    table = read_table(out).to_pylist()
    assert len(table) == 8 + 2 * 4
    task = "language" if form == "texts" else "chat"
    for canary in manifest.canaries:
        assert sum(canary.secret in json.dumps(row) for row in table) == canary.repeat
        assert canary.secret in manifest.rows(canary.key, [canary.secret], task).text[0]
    kept = [row for row in table if not any(canary.secret in json.dumps(row) for canary in manifest.canaries)]
    assert kept == rows
    assert plant(data, tmp_path / f"again{suffix}", Planting(count=2, repeat=[0, 1, 3])).read_text() == path.read_text()


# -- bad input -------------------------------------------------------------------------------------------------------


def test_what_cannot_be_audited_is_refused(audit: tuple[Path, LeakAudit], tmp_path: Path) -> None:
    folder, _ = audit
    adapter = next((folder / "out/runs").glob("*lora*")) / "adapter"
    other = tmp_path / "adapter"
    other.mkdir()
    record = json.loads((adapter / "afina.json").read_text())
    labels = {"name": "classification", "label_names": ["a", "b"]}
    (other / "afina.json").write_text(json.dumps(record | {"task": labels}))
    few = write(tmp_path / "few.jsonl", [FORMS["messages"]("a", "b")] * 3)
    train = folder / "plain.jsonl"
    for target, given, message in (
        (adapter, {"train": train}, "--train and --held-out go together"),
        (adapter, {"train": train, "held_out": few}, "There are 3 held-out rows"),
        (adapter, {"train": train, "held_out": train}, "There are 0 held-out rows"),
        (adapter, {"canaries": few}, "no manifest of canaries"),
        (adapter, {"train": tmp_path / "none.jsonl", "held_out": few}, "does not exist"),
        (other, {}, "trained for classification, not to write"),
        (tmp_path, {}, "neither an adapter .* nor a study"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            audit_leak(target, settings=SETTINGS, **given)
    out = tmp_path / "out.jsonl"
    with pytest.raises(UsageError, match="should hold a list of messages"):
        plant(write(tmp_path / "odd.jsonl", [{"messages": "hello"}] * 3), out)
    with pytest.raises(UsageError, match="is the file that is read"):
        plant(few, few)
    with pytest.raises(UsageError, match="different symbols"):
        plant(few, out, Planting(symbols="aa"))
    with pytest.raises(UsageError, match="not 300 different canaries"):
        plant(few, out, Planting(symbols="ab", length=4, count=100))
    refused(run_afina("audit", "canaries", "--data", few, "--out", out, "--repeat", "1;4"), "numbers with commas")
    refused(run_afina("audit", "leak", tmp_path / "nowhere"), "neither an adapter")


def test_secrets_that_a_tokenizer_cannot_tell_apart_are_refused(audit: tuple[Path, LeakAudit], tmp_path: Path) -> None:
    folder, _ = audit
    adapter = next((folder / "out/runs").glob("*lora*")) / "adapter"
    manifest = plant(
        folder / "plain.jsonl", tmp_path / "digits.jsonl", Planting(repeat=[1])
    )  # this tokenizer knows no digit
    with pytest.raises(UsageError, match="all secrets are alike"):
        audit_leak(adapter, canaries=manifest, settings=SETTINGS)


def test_canaries_are_counted_where_they_are() -> None:
    rows = Rows(["x", "1 2", "1 2 of a"], None, np.zeros(3, dtype=np.int64))
    from afina.audit.canaries import Canary

    assert LeakMaterial(rows, rows).times(Canary(key="a", secret="1 2", repeat=5)) == 1
