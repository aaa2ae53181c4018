"""Cards of adapters: true to the study's results, understood by the hub, and their lines do what they say."""

import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

import afina
from afina import api
from afina.adapters.record import AdapterRecord
from afina.card.base import base_of
from afina.card.blocks import parse
from afina.card.sections import SECTIONS
from afina.errors import UsageError
from afina.results.results_jsonl import read_results
from afina.tasks.base import TASKS, restore
from afina.words.language import phrases
from commands import afina as run_afina
from commands import refused
from studies import settings, write_splits


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, family_folder: Callable[..., Path]) -> Path:
    """A finished study of two methods that PEFT has and one that it has not, in a folder called `home`."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "mail").mkdir()
    splits = write_splits(folder / "mail", train=30, test=24)
    keys = settings(family_folder, splits, methods=["lora", "houlsby", "head", "full"], max_length=12)
    api.study(out=folder / "out", **keys)
    return folder / "out"


def card_of(study: Path, method: str) -> Path:
    (path,) = study.glob(f"runs/*-{method}-seed0/adapter/README.md")
    return path


def test_every_adapter_has_a_card_that_the_hub_reads(study: Path) -> None:
    for result in read_results(study):
        data = ModelCard.load(study / str(result.adapter) / "README.md").data
        assert data.pipeline_tag == "text-classification" and data.model_name == result.run
        values = {entry.metric_type: entry.metric_value for entry in data.eval_results}
        assert values == {name: pytest.approx(value, abs=1e-6) for name, value in result.test_metrics.items()}
        assert result.method in data.tags
    assert ModelCard.load(card_of(study, "lora")).data.library_name == "peft"
    assert ModelCard.load(card_of(study, "houlsby")).data.library_name is None


def test_the_figures_are_those_of_the_results(study: Path) -> None:
    text = card_of(study, "lora").read_text(encoding="utf-8")
    result = next(entry for entry in read_results(study) if entry.method == "lora")
    report = (study / "report.html").read_text(encoding="utf-8")
    answer = re.search(r"<div class=answer><b>.*?</b><br>(.*?)</div>", report)
    assert answer is not None and unescape(answer[1]) in text  # the report's own sentence
    assert (
        f"| train | 30 | {result.texts_cut['train']} |" in text
        and f"| test | 24 | {result.texts_cut['test']} |" in text
    )
    assert f"{100 * result.tested('accuracy'):.1f} [" in text
    assert f"| trained parameters | {result.trainable_parameters:,} (" in text
    assert "not measurable here" in text or result.energy_joules is not None
    assert "| learning rate | 0.01 (set) |" in text and "One seed only" in text
    assert {"lora", "houlsby"} <= {cell for line in text.splitlines() if line.startswith("| ") for cell in line.split()}


def test_it_is_said_whether_the_bases_weights_are_in_the_folder(study: Path) -> None:
    for method, inside in (("full", True), ("lora", False)):
        text = card_of(study, method).read_text(encoding="utf-8")
        assert ("Its weights are in this folder" in text) is inside
        assert ("Its weights are not in this folder" in text) is not inside


def test_no_path_of_the_machine_is_in_a_card(study: Path, family_folder: Callable[..., Path]) -> None:
    for path in study.rglob("README.md"):
        text = path.read_text(encoding="utf-8")
        assert str(study.parent) not in text and str(family_folder("bert")) not in text and str(Path.home()) not in text


def test_to_report_again_changes_no_byte_and_no_word_of_a_persons(study: Path) -> None:
    path = card_of(study, "head")
    before = path.read_bytes()
    api.report(study)
    assert path.read_bytes() == before
    path.write_text(before.decode().replace("<!-- afina: data -->", "Ask Ana first.\n\n<!-- afina: data -->"))
    files = api.report(study, language="pt")
    text = path.read_text(encoding="utf-8")
    assert "Ask Ana first." in text and "## Limites" in text and not files.notes
    path.write_text(text.replace("## Limites", "## O que não faz"))
    (note,) = api.report(study, language="en").notes
    assert "limits" in note and "## O que não faz" in path.read_text() and "## Costs" in path.read_text()
    path.write_bytes(before)
    api.report(study)


def test_a_card_that_cannot_be_read_is_left_alone_and_said(study: Path) -> None:
    path = card_of(study, "head")
    before = path.read_bytes()
    for broken in (b"---\na: [\n---\n", b"\xff\xfe text"):
        path.write_bytes(broken)
        (note,) = api.report(study).notes
        assert str(path) in note and "left as it is" in note and path.read_bytes() == broken
    path.write_bytes(before)


def lines_of(path: Path) -> dict[str, str]:
    """Return the lines of each runtime that a card has."""
    text = path.read_text(encoding="utf-8")
    return dict(re.findall(r"\*\*(\w+)\*\*\n\n```python\n(.*?)\n```", text, re.DOTALL))


def run(lines: str, where: Path, base: Path) -> dict[str, Any]:
    """Carry out a card's lines as one does in its folder, the base being where it is."""
    lines = lines.replace('"."', repr(str(where))).replace(f"path/to/{base.name}", str(base))
    names: dict[str, Any] = {}
    exec(compile(lines, "card", "exec"), names)
    return names


def test_the_lines_of_a_card_load_it(
    study: Path, family_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = card_of(study, "lora")
    ways, base = lines_of(path), family_folder("bert")
    assert set(ways) == {"Afina", "PEFT"} and set(lines_of(card_of(study, "houlsby"))) == {"Afina"}
    adapter = run(ways["Afina"], path.parent, base)["adapter"]
    assert "complaint" in capsys.readouterr().out
    model = run(ways["PEFT"], path.parent, base)["model"].eval()
    texts = ["good parcel", "the bill is late and bad"]
    inputs = adapter.tokenizer(texts, return_tensors="pt", padding=True)
    np.testing.assert_allclose(model(**inputs).logits.detach().numpy(), adapter.logits(texts), atol=1e-5)


def test_every_target_says_how_it_is_loaded() -> None:
    """In lines whose places are all known; the base's weights and library are what the hub is told."""
    from afina.card.form import lines
    from afina.card.known import Known
    from afina.export.target import TARGETS

    record = AdapterRecord("minilm", "lora", {}, {"name": "classification", "label_names": ["a", "b"]}, 32, "fp32", 0)
    known = Known(record, restore(record.task), base_of("minilm"))
    for name, target in TARGETS.items():
        assert target.ways and target.library, name
        for way in target.ways.values():
            language, code = lines(way, known)
            assert "$" not in code and language in ("sh", "python"), code
            if language == "python":
                compile(code, name, "exec")


def test_an_export_has_its_adapters_card_and_a_persons_words_through_a_second_one(
    study: Path, tmp_path: Path, family_folder: Callable[..., Path]
) -> None:
    shutil.copytree(
        card_of(study, "lora").parent, tmp_path / "adapter"
    )  # out of its study: what its card says is taken over
    own = tmp_path / "adapter" / "README.md"
    own.write_text(own.read_text().replace("<!-- afina: data -->", "Ask Ana.\n\n<!-- afina: data -->"))
    made = api.export(tmp_path / "adapter", "merged", tmp_path / "merged", rows=8)
    path = made.folder / "README.md"
    card = ModelCard.load(path)
    assert card.data.library_name == "transformers" and card.data.eval_results[0].metric_type == "accuracy"
    assert "Ask Ana." in str(card) and "## What it was compared with" in str(card) and "weights in f32" in str(card)
    names = run(lines_of(path)["transformers"], made.folder, family_folder("bert"))
    assert names["model"].config.num_labels == 2 and names["tokenizer"].vocab_size > 0
    path.write_text(path.read_text().replace("Ask Ana.", "Ask Ana, or Rui.").replace("## Limits", "## Its limits"))
    with pytest.raises(UsageError, match="--force"):
        api.export(tmp_path / "adapter", "merged", tmp_path / "merged", rows=8)
    again = api.export(tmp_path / "adapter", "merged", tmp_path / "merged", rows=8, force=True, language="pt")
    text = path.read_text(encoding="utf-8")
    assert "Ask Ana, or Rui." in text and "## Its limits" in text and "## Como usar" in text
    assert again.card is not None and "limits" in again.card
    with pytest.raises(UsageError, match="no export of Afina's"):
        api.export(tmp_path / "adapter", "merged", tmp_path / "adapter", force=True)


def test_a_peft_export_is_loaded_by_its_lines(
    study: Path, tmp_path: Path, family_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    made = api.export(card_of(study, "lora").parent, "peft", tmp_path / "peft", rows=8)
    ways = lines_of(made.folder / "README.md")
    assert set(ways) == {"PEFT", "Afina"}
    assert run(ways["PEFT"], made.folder, family_folder("bert"))["model"].peft_config
    run(ways["Afina"], made.folder, family_folder("bert"))
    assert "complaint" in capsys.readouterr().out


def test_runs_have_a_card_before_the_report(tmp_path: Path, family_folder: Callable[..., Path]) -> None:
    """A study that was begun by its class, or killed before its end, has said of each adapter what was known by then."""
    (tmp_path / "mail").mkdir()
    splits = write_splits(tmp_path / "mail", train=12, test=8)
    made = afina.Study(out=tmp_path / "out", **settings(family_folder, splits, methods=["head"], epochs=1))
    made.run()
    card = parse(card_of(tmp_path / "out", "head").read_text(encoding="utf-8"))
    assert set(card.blocks) == set(SECTIONS) - {"audit", "comparison", "export"} and card.metadata["model-index"]
    made_by_report = api.report(made)
    assert not made_by_report.notes
    assert set(parse(card_of(tmp_path / "out", "head").read_text()).blocks) == set(SECTIONS) - {"audit", "export"}


def test_an_adapter_without_a_card_gets_one_wherever_it_lies(study: Path, tmp_path: Path) -> None:
    source = card_of(study, "lora")
    elsewhere = Path(shutil.copytree(source.parent, tmp_path / "adapter"))
    text = source.read_text(encoding="utf-8")
    # What its study found out is known from the card alone, and stays.
    assert (
        parse(api.card(elsewhere).path.read_text(encoding="utf-8")).blocks["results"] == parse(text).blocks["results"]
    )
    (elsewhere / "README.md").unlink()
    shown = run_afina("card", elsewhere, "--language", "pt")
    assert shown.returncode == 0 and str(elsewhere / "README.md") in shown.stdout
    bare = (elsewhere / "README.md").read_text(encoding="utf-8")
    assert "## Limites" in bare and "results" not in parse(bare).blocks
    (elsewhere / "afina.json").unlink()  # as PEFT has it
    theirs = api.card(elsewhere).path.read_text(encoding="utf-8")
    assert "## Limites" in theirs and "peft:LORA" in ModelCard(theirs).data.tags
    source.write_text(f"{text}\nAsk Ana.\n", encoding="utf-8")
    assert "Ask Ana." in api.card(source.parent).path.read_text(encoding="utf-8")
    source.write_text(text, encoding="utf-8")
    refused(run_afina("card", tmp_path), "adapter")


def test_the_card_of_an_export_is_not_written_alone(study: Path, tmp_path: Path) -> None:
    made = api.export(card_of(study, "lora").parent, "peft", tmp_path / "out", rows=3)
    with pytest.raises(UsageError, match="is an export, whose card `afina export --force` writes anew"):
        api.card(made.folder)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_says_what_it_does_in_both_languages(name: str) -> None:
    task = TASKS[name]
    assert task.does in phrases() and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", task.pipeline_tag)


def test_what_a_note_shows_of_the_rows_is_left_out() -> None:
    from afina.words.notes import without_examples

    note = "read as cp1252, since it is not UTF-8 (line 3: Jos\xe9 of Rua 5)"
    assert "José" not in without_examples(note) and "José" not in without_examples(f"mail.csv: {note}")
    assert without_examples(note).startswith("read as cp1252") and without_examples("anything else") == "anything else"
