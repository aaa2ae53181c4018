"""Studies of models that learn to write, from a file of rows to adapters that know their template."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file

import afina
from afina.cli.learned import show_learned
from afina.config import StudyConfig
from afina.data.tokens.preview import Learned
from afina.errors import UsageError
from afina.export.merge import merge
from afina.export.parity import check_parity, load_merged, load_peft
from afina.export.peft import write_peft
from afina.results.predictions import read_predictions
from afina.results.statistics import compare
from afina.study.estimate import estimate_study
from afina.study.study import Study
from afina.words.language import Words
from commands import afina as run_afina
from kills import killed_and_resumed

Speaker = Callable[[str], Path]
TALKS = [("where is my parcel", "late"), ("the lamp is broken", "refund the order"), ("is the film good", "great"),
         ("please help", "when"), ("my kettle is late", "return the kettle please"), ("what sport", "team")]  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def talks(folder: Path, times: int = 4) -> str:
    rows = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
        for asked, said in TALKS
    ]
    (folder / "data").mkdir()
    write(folder / "data/test.jsonl", rows)
    write(folder / "data/train.jsonl", rows * times)
    return str(folder / "data")


def chat_study(speaker: Speaker, folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "model": str(speaker("llama")), "dataset": talks(folder), "task": "chat", "template": "plain", "epochs": 4,
        "methods": [{"lora": {"learning_rate": 0.02}}, {"prompt": {"learning_rate": 0.05}}], "batch_size": 4,
        "precision": "fp32", "cohort": "off", **more,
    }  # fmt: skip


def test_a_study_of_conversations(speaker: Speaker, tmp_path: Path) -> None:
    study = chat_study(speaker, tmp_path, methods=[{"lora": {"learning_rate": 0.02}}, "prompt", "full", "features"])
    events: list[dict[str, Any]] = []
    results = {r["method"]: r for r in Study(tmp_path / "out", **study).run(lambda event: events.append(dict(event)))}
    lora = results["lora"]
    assert (lora["task"], lora["metric"], lora["status"]) == ("chat", "perplexity", "ok")
    losses = [entry["train_loss"] for entry in lora["history"]]
    assert losses[-1] < losses[0]
    assert lora["test_metric"] == pytest.approx(np.exp(lora["test_metrics"]["loss"]))
    assert lora["packing"] == "auto"
    assert "start or end" in results["prompt"]["packing"]
    assert results["full"]["status"] == "ok"
    assert "says nothing" in results["features"]["error"]

    # Each test row's summed loss and tokens, from which the statistics redraw the perplexity.
    predicted = {name: read_predictions(tmp_path / "out", results[name]) for name in ("lora", "prompt")}
    one = predicted["lora"]
    assert np.exp(one.prediction.sum() / one.label.sum()) == pytest.approx(lora["test_metric"], rel=1e-5)
    assert one.label.tolist() == one.scores[:, 1].tolist() == predicted["prompt"].label.tolist()
    np.testing.assert_allclose(one.scores[:, 0], one.prediction, rtol=1e-5)
    (entry,) = compare({name: {0: own} for name, own in predicted.items()}, "perplexity")
    assert entry.difference == pytest.approx(lora["test_metric"] - results["prompt"]["test_metric"], rel=1e-5)
    assert entry.low <= entry.difference <= entry.high

    # What was learned was told first.
    (prepared,) = [event["learned"] for event in events if event["kind"] == "prepared"]
    assert isinstance(prepared, Learned)
    assert prepared.answers == prepared.rows == 4 * len(TALKS)
    out = run_afina("report", str(tmp_path / "out"))
    assert out.returncode == 0, out.stderr
    assert "perplexity" in out.stdout

    # The adapter knows how it was spoken to.
    loaded = afina.load(tmp_path / "out" / lora["adapter"])
    assert loaded.task.stop == ("</s>",)
    with pytest.raises(UsageError, match="trained to write"):
        loaded.predict(["please help"])
    out = run_afina("predict", str(tmp_path / "out" / lora["adapter"]), "please help")
    assert (out.returncode, "trained to write" in out.stderr) == (2, True)


def test_what_was_measured_is_what_the_adapter_says(speaker: Speaker, tmp_path: Path) -> None:
    study = chat_study(speaker, tmp_path, methods=["ia3"], epochs=1)
    (result,) = Study(tmp_path / "out", **study).run()
    loaded = afina.load(tmp_path / "out" / result["adapter"])
    rows = [json.dumps([["user", asked], ["assistant", said]]) for asked, said in TALKS]
    scores = loaded.logits(rows)
    kept = read_predictions(tmp_path / "out", result)
    np.testing.assert_allclose(scores[:, 0], kept.prediction, rtol=1e-4)


def test_a_cohort_of_writers(speaker: Speaker, tmp_path: Path) -> None:
    methods = [{"lora": {"learning_rate": 0.02}}, {"loreft": {"learning_rate": 0.01}}]
    study = chat_study(speaker, tmp_path, methods=methods, epochs=2, cohort=2)
    for result in Study(tmp_path / "out", **study).run():
        assert (result["cohort_size"], result["measured"]) == (2, "profile")
        assert result["tokens_per_second"] > 0
        assert result["history"][1]["test_perplexity"] < result["history"][0]["test_perplexity"]


def test_killed_and_resumed_is_as_if_undisturbed(speaker: Speaker, tmp_path: Path) -> None:
    study = chat_study(speaker, tmp_path, methods=[{"lora": {"learning_rate": 0.01}}], epochs=15, checkpoint_seconds=0)
    killed_and_resumed(study, tmp_path, [20])


def test_packed_training_is_unpacked_training(speaker: Speaker, tmp_path: Path) -> None:
    study = chat_study(speaker, tmp_path, methods=[{"lora": {"learning_rate": 0.01}}], batch_size=8)
    weights = []
    for packing in ("auto", "off"):
        (result,) = Study(tmp_path / packing, **study | {"packing": packing}).run()
        assert result["packing"] == packing
        weights.append(load_file(tmp_path / packing / result["adapter"] / "adapter_model.safetensors"))
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=2e-3, atol=5e-4)


@pytest.mark.always
@pytest.mark.parametrize(("family", "task"), [("t5", "seq2seq"), ("bart", "seq2seq"), ("gpt2", "language")])
def test_studies_of_pairs_and_of_texts(family: str, task: str, speaker: Speaker, tmp_path: Path) -> None:
    rows = [{"document": asked, "summary": said, "text": f"{asked} {said}"} for asked, said in TALKS] * 5
    data = {"path": write(tmp_path / "rows.jsonl", rows)}
    data |= (
        {"text": "document", "target": "summary", "prompt": "please {text}"} if task == "seq2seq" else {"text": "text"}
    )
    study = {"model": str(speaker(family)), "dataset": data, "task": task, "epochs": 6, "batch_size": 4, "max_length": 30,
             "methods": [{"lora": {"learning_rate": 0.005}}], "precision": "fp32"}  # fmt: skip
    (result,) = Study(tmp_path / "out", **study).run()
    assert result["status"] == "ok", result["error"]
    perplexities = [entry["test_perplexity"] for entry in result["history"]]
    assert perplexities[-1] < perplexities[0]
    adapter = tmp_path / "out" / result["adapter"]
    assert json.loads((adapter / "afina.json").read_text())["task"]["name"] == task
    out = run_afina("export", str(adapter), "--to", "merged", "--out", str(tmp_path / "merged"))
    assert out.returncode == 0, out.stderr
    assert "perplexity" in out.stdout


@pytest.mark.parametrize("family", ["llama", "bart"])
def test_what_writes_is_exported(family: str, speaker: Speaker, tmp_path: Path) -> None:
    rows = [{"source": asked, "target": said, "text": f"{asked} {said}"} for asked, said in TALKS] * 3
    study = {"model": str(speaker(family)), "dataset": write(tmp_path / "rows.jsonl", rows), "epochs": 2,
             "task": "seq2seq" if family == "bart" else "language", "methods": [{"lora": {"learning_rate": 0.02}}],
             "precision": "fp32"}  # fmt: skip
    (result,) = Study(tmp_path / "out", **study).run()
    loaded = afina.load(tmp_path / "out" / result["adapter"])
    from afina.data.rows import Rows

    asked, said = zip(*TALKS, strict=True)
    sample = Rows(list(asked), list(said), np.zeros(len(TALKS), dtype=np.int64))
    merge(loaded, tmp_path / "merged")
    (tmp_path / "peft").mkdir()
    write_peft(loaded, tmp_path / "peft")
    for outside in (load_merged(loaded, tmp_path / "merged"), load_peft(loaded, tmp_path / "peft")):
        parity = check_parity(loaded, loaded, *outside, sample)
        assert parity.equal, parity
        assert parity.metrics["perplexity"][0] == pytest.approx(parity.metrics["perplexity"][1], rel=1e-3)


# -- before training -------------------------------------------------------------------------------------------------


def test_what_is_learned_is_shown_before(speaker: Speaker, tmp_path: Path) -> None:
    study = chat_study(speaker, tmp_path)
    ((key, own),) = afina.preview(**study).items()
    assert key == ("llama", "data")
    assert isinstance(own, Learned)
    trained = [[text.strip() for text, learned in row if learned] for row in own.examples]
    assert trained == [["late </s>"], ["refund the order </s>"], ["great </s>"]]
    assert own.sentences()[1] == f"the end '</s>' is trained in {own.rows} of {own.rows} rows looked at"
    coloured = Console(width=100, force_terminal=True, color_system="standard", record=True)
    show_learned(coloured, own, "data", Words())
    text = coloured.export_text(styles=True)
    assert "\x1b[1;32mlate </s>" in text or "\x1b[1;32m late </s>" in text
    assert "tokens are trained" in text
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    out = run_afina("plan", str(tmp_path / "study.yaml"))
    assert out.returncode == 0, out.stderr
    assert "[late </s>]" in out.stdout or "[ late </s>]" in out.stdout
    assert f"{own.trained:,} of {own.tokens:,} tokens are trained" in out.stdout


def test_what_cannot_be_learned_is_refused(speaker: Speaker, tmp_path: Path) -> None:
    study = chat_study(speaker, tmp_path)
    for change, message in (
        ({"max_length": 4}, "No row has a token to train on within 4 tokens; raise max_length"),
        ({"template": None}, "tokenizer has no chat template"),
        ({"template": "chatlm"}, "did you mean 'chatml'"),
        ({"model": str(speaker("t5"))}, "An encoder-decoder reads one text and writes another: set task: seq2seq"),
        ({"task": "seq2seq", "dataset": write(tmp_path / "p.jsonl", [{"source": "a", "target": "b"}] * 9)},
         "task: seq2seq is for encoder-decoders"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            Study(tmp_path / f"out-{len(list(tmp_path.iterdir()))}", **study | change).run()


def test_what_is_cut_is_told(speaker: Speaker, tmp_path: Path) -> None:
    study = chat_study(speaker, tmp_path, methods=["ia3"], epochs=1, max_length=10)
    events: list[dict[str, Any]] = []
    Study(tmp_path / "out", **study).run(lambda event: events.append(dict(event)))
    (prepared,) = [event for event in events if event["kind"] == "prepared"]
    assert any("train texts were longer than 10 tokens and were cut" in note for note in prepared["notes"])
    assert any(f"of {4 * len(TALKS)} answers lose their end" in said for said in prepared["learned"].sentences())


def test_what_writing_costs_is_planned(speaker: Speaker, tmp_path: Path) -> None:
    study = StudyConfig.parse(chat_study(speaker, tmp_path, methods=["ia3"]), "test")
    (estimate,), failed = estimate_study(study)
    assert not failed
    assert estimate.train_seconds > 0
    assert estimate.trainable_parameters == 2 * (12 + 12 + 37)


# -- a pretrained model ----------------------------------------------------------------------------------------------


def test_a_pretrained_model_learns_real_answers(shared: Path, tmp_path: Path) -> None:
    """Its perplexity on stories is that of transformers, and a few steps on instructions lower that of answers."""
    import pyarrow.parquet as parquet
    from transformers import AutoModelForCausalLM

    model = str(shared / "data/stories260k")
    story = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
    rows = [{"text": story}] * 6
    study = {"model": model, "dataset": write(tmp_path / "stories.jsonl", rows), "task": "language", "precision": "fp32",
             "methods": [{"ia3": {"learning_rate": 1e-12}}], "epochs": 1}  # fmt: skip
    (result,) = Study(tmp_path / "stories", **study).run()
    loaded = afina.load(tmp_path / "stories" / result["adapter"])
    ids = torch.tensor([[*loaded.backbone.tokenizer(story)["input_ids"], 2]])
    with torch.no_grad():
        loss = AutoModelForCausalLM.from_pretrained(model)(ids, labels=ids).loss
    assert result["test_metric"] == pytest.approx(float(loss.exp()), rel=1e-4)
    table = parquet.read_table(shared / "data/alpaca/train.parquet").slice(0, 24)
    parquet.write_table(table, tmp_path / "alpaca.parquet")
    study = {"model": model, "dataset": str(tmp_path / "alpaca.parquet"), "task": "chat", "template": "alpaca",
             "methods": [{"lora": {"learning_rate": 5e-3}}], "epochs": 2, "max_length": 400, "precision": "fp32"}  # fmt: skip
    (result,) = Study(tmp_path / "alpaca", **study).run()
    perplexities = [entry["test_perplexity"] for entry in result["history"]]
    assert perplexities[-1] < perplexities[0] < 512
