"""Answers scored by a model's language head: transformers' own likelihoods, T-Few's losses, and a study of them."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import afina
from afina.adapters.adapter import build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.attachment import Attachment
from afina.backbone.load import Backbone, load_backbone
from afina.config import StudyConfig
from afina.data.rows import Rows
from afina.errors import AfinaError, UsageError
from afina.export.merge import merge
from afina.export.parity import check_parity, load_merged, load_peft
from afina.export.peft import write_peft
from afina.methods.base import make_method
from afina.study.prepare import prepare
from afina.study.study import Study
from afina.tasks.choices import Choices
from commands import afina as run_afina
from families import BOTH, DECODERS, language_model, load_family
from pairs import FROZEN, stir

Speaker = Callable[[str], Path]
TEXTS = ["where is my parcel", "the lamp is broken please help", "a film"]
ANSWERS = [["late", "not my order"], ["charged twice", "good", "where is the kettle"], ["bad", "great"]]
ROWS = Rows(TEXTS, None, np.array([1, 2, 0]), choices=ANSWERS)


def scores(backbone: Backbone, adapter: Any, task: Choices, rows: Rows = ROWS) -> torch.Tensor:
    tokens = task.tokenize(backbone.tokenizer, rows, 60, apart=bool(backbone.anatomy.row.further))
    with Attachment(backbone, [adapter]) as attached, torch.no_grad():
        result: torch.Tensor = attached.outputs(attached.batch([(tokens, np.arange(len(rows)))]))[0]
    return result


@pytest.mark.parametrize("family", [*DECODERS, *BOTH])
def test_scores_are_the_likelihoods_of_transformers(family: str, speaker: Speaker) -> None:
    backbone = load_family(speaker(family), speaks=True)
    adapter = build_adapter(make_method("bitfit", {}), backbone, outputs=3, seed=0)
    ours = scores(backbone, adapter, Choices(3))
    assert ours.shape == (3, 3, 4)
    theirs = language_model(family).from_pretrained(speaker(family)).eval()
    encode = backbone.tokenizer
    for row, (text, answers) in enumerate(zip(TEXTS, ANSWERS, strict=True)):
        for place, answer in enumerate(answers):
            said = torch.tensor([encode(answer, add_special_tokens=False)["input_ids"]])
            question = torch.tensor([encode(text)["input_ids"]])
            with torch.no_grad():
                if family in BOTH:
                    said = torch.cat([said, torch.tensor([[4]])], dim=1)
                    # mBART's decoder starts with the language mark, which is the question's last token.
                    first = (
                        question[:, -1:]
                        if family == "mbart"
                        else torch.tensor([[theirs.config.decoder_start_token_id]])
                    )
                    start = torch.cat([first, said[:, :-1]], dim=1)
                    logits = theirs(input_ids=question, decoder_input_ids=start).logits[0]
                else:
                    whole = torch.cat([question, said], dim=1)
                    logits = theirs(whole).logits[0, question.shape[1] - 1 : -1]
            of_token = logits.log_softmax(-1).gather(1, said[0][:, None])[:, 0]
            wanted = [of_token.mean(), of_token.sum(), torch.log1p(-of_token.exp()).sum(), float(said.shape[1])]
            torch.testing.assert_close(ours[row, place], torch.tensor(wanted), rtol=1e-4, atol=1e-5)
    assert torch.isinf(ours[0, 2, 0])
    assert ours[0, 2, 3] == 0


def test_the_losses_are_those_of_t_few() -> None:
    """Equations 1, 2 and 4 of Liu et al., 2022, written out for two questions, one of which has an answer less."""
    p = [[[0.5, 0.25], [0.125], [0.5, 0.5]], [[0.1], [0.7, 0.2]]]
    labels = torch.tensor([0, 1])
    stand = torch.zeros(2, 3, 4)
    for row, answers in enumerate(p):
        for place in range(3):
            tokens = torch.tensor(answers[place]) if place < len(answers) else torch.zeros(0)
            none = not len(tokens)
            stand[row, place] = torch.tensor([
                -torch.inf if none else tokens.log().mean(), -torch.inf if none else tokens.log().sum(),
                (1 - tokens).log().sum(), len(tokens),
            ])  # fmt: skip
    beta = [[np.mean(np.log(answer)) for answer in answers] for answers in p]
    likelihood = -(beta[0][0] + beta[1][1])
    unlikelihood = -(np.log(1 - 0.125) + 2 * np.log(0.5)) / 3 - np.log(0.9)
    normalised = sum(-np.log(np.exp(b[k]) / np.exp(b).sum()) for b, k in zip(beta, (0, 1), strict=True))
    task = Choices(3)
    cases = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 2.0)]
    for by_length, against in cases:
        value = task.loss(stand, labels, {"length_normalisation": by_length, "unlikelihood": against})
        assert float(value) == pytest.approx(likelihood + by_length * normalised + against * unlikelihood, rel=1e-5)
    assert task.decode(stand.numpy()).predictions.tolist() == [2, 1]
    assert task.decode(stand.numpy()).scores[1, 2] == 0


def test_ia3_brings_its_losses_and_others_may_have_them() -> None:
    assert make_method("ia3", {}).loss_weights() == {"length_normalisation": 1.0, "unlikelihood": 1.0}
    assert make_method("lora", {}).loss_weights() == {"length_normalisation": 0.0, "unlikelihood": 0.0}
    assert make_method("lora", {"unlikelihood": 0.5}).loss_weights()["unlikelihood"] == 0.5
    with pytest.raises(UsageError, match="unlikelihood should be at least 0"):
        make_method("ia3", {"unlikelihood": -1})


@pytest.mark.pairs([name for name in FROZEN if name != "head"], ["llama", "gpt2", "t5", "bart"], fully=("llama",))
def test_every_method_learns_to_choose(name: str, family: str, speaker: Speaker) -> None:
    backbone = load_family(speaker(family), speaks=True)
    before = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    adapter = build_adapter(make_method(name, {}, {"rank": 3}), backbone, outputs=3, seed=0)
    task, labels = Choices(3), torch.from_numpy(ROWS.label)
    tokens = task.tokenize(backbone.tokenizer, ROWS, 40, apart=family in BOTH)
    optimiser = torch.optim.Adam(adapter.parameters(), lr=0.01)
    losses = []
    with Attachment(backbone, [adapter]) as attached:
        batch = attached.batch([(tokens, np.arange(3))])
        for _ in range(6):
            loss = task.loss(attached.outputs(batch)[0], labels, {"length_normalisation": 1.0, "unlikelihood": 1.0})
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    for key, value in backbone.model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(value.grad is None for value in backbone.model.parameters())


def trained_folder(name: str, family: str, speaker: Speaker, folder: Path) -> Path:
    backbone = load_family(speaker(family), speaks=True)
    method = make_method(name, {}, {"rank": 3})
    adapter = build_adapter(method, backbone, outputs=3, seed=0)
    stir(adapter)
    record = AdapterRecord(
        model=str(speaker(family)), method=name, settings=method.settings(), task=Choices(3).state(), max_length=60,
        precision="fp32", seed=0, total_steps=100,
    )  # fmt: skip
    save_adapter(folder / "adapter", adapter, backbone, record)
    return folder / "adapter"


@pytest.mark.covered(
    ("name", "family"), [("lora", "gpt2"), ("ia3", "llama"), ("ia3", "t5")],
    product(["lora", "ia3"], ["llama", "gpt2", "t5", "bart"]),
)  # fmt: skip
def test_what_chooses_is_exported(name: str, family: str, speaker: Speaker, tmp_path: Path) -> None:
    loaded = afina.load(trained_folder(name, family, speaker, tmp_path))
    merge(loaded, tmp_path / "merged")
    (tmp_path / "peft").mkdir()
    write_peft(loaded, tmp_path / "peft")
    outside = [load_merged(loaded, tmp_path / "merged"), load_peft(loaded, tmp_path / "peft")]
    for model, tokenizer in outside:
        parity = check_parity(loaded, loaded, model, tokenizer, ROWS)
        assert parity.equal, parity
        assert parity.agreeing == 3
        assert list(parity.metrics) == ["accuracy"]


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_gated_prompts_leave_for_peft(family: str, speaker: Speaker, tmp_path: Path) -> None:
    """PEFT has LLaMA-Adapter for language models of these families only."""
    loaded = afina.load(trained_folder("llama-adapter", family, speaker, tmp_path))
    (tmp_path / "peft").mkdir()
    write_peft(loaded, tmp_path / "peft")
    parity = check_parity(loaded, loaded, *load_peft(loaded, tmp_path / "peft"), ROWS)
    assert parity.equal, parity
    other = afina.load(trained_folder("llama-adapter", "qwen2", speaker, tmp_path / "qwen2"))
    with pytest.raises(UsageError, match="PEFT has no llama-adapter"):
        write_peft(other, tmp_path)


def test_a_study_of_labels_as_answers(speaker: Speaker, tmp_path: Path) -> None:
    methods = [{"lora": {"learning_rate": 0.02}}, {"ia3": {"learning_rate": 0.05}}, "head", "features"]
    lines = [{"text": text, "label": label} for text, label in [("my lamp broken", 0), ("good film", 1)] * 12]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = {"path": str(tmp_path / "data.jsonl"), "answers": ["help", "great news"], "prompt": "{text} is"}
    study = {"model": str(speaker("gpt2")), "dataset": data, "task": "choices", "methods": methods, "epochs": 12}
    results = {r["method"]: r for r in Study(tmp_path / "out", **study).run()}
    assert results["lora"]["test_metric"] == 1.0
    assert results["ia3"]["status"] == "ok"
    assert "nothing to train" in results["head"]["error"]
    assert "says nothing" in results["features"]["error"]
    adapter = str(tmp_path / "out" / results["lora"]["adapter"])
    predicted = afina.load(adapter).predict(["my lamp broken", "good film"])
    assert [one.label for one in predicted] == ["help", "great news"]
    assert sum((predicted[0].probabilities or {}).values()) == pytest.approx(1)
    with pytest.raises(UsageError, match="wants no choices"):
        afina.load(adapter).predict(["my lamp broken"], choices=[["a", "b"]])
    out = run_afina("export", adapter, "--to", "merged", "--out", str(tmp_path / "merged"))
    assert out.returncode == 0, out.stderr
    assert "accuracy" in out.stdout


def test_a_study_of_questions_with_answers_of_their_own(speaker: Speaker, tmp_path: Path) -> None:
    lines = [
        {"question": "where is my parcel", "choices": ["late", "good film", "cat"], "answer": "A"},
        {"question": "the lamp is", "choices": ["science", "broken"], "answer": "B"},
    ] * 10
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, lines[:2])))
    study = {"model": str(speaker("t5")), "dataset": str(tmp_path), "task": "choices", "epochs": 4,
             "methods": [{"lora": {"learning_rate": 0.02, "length_normalisation": 1}}], "batch_size": 4}  # fmt: skip
    (result,) = Study(tmp_path / "out", **study).run()
    assert (result["status"], result["test_metric"]) == ("ok", 1.0)
    adapter = str(tmp_path / "out" / result["adapter"])
    questions = tmp_path / "test.jsonl"
    out = run_afina("predict", adapter, "--file", str(questions), "--format", "jsonl")
    assert [json.loads(line)["label"] for line in out.stdout.splitlines()] == ["late", "broken"], out.stderr
    out = run_afina("predict", adapter, "the lamp is", "--choice", "science", "--choice", "broken", "--format", "jsonl")
    assert list(json.loads(out.stdout)["probabilities"]) == ["science", "broken"], out.stderr
    out = run_afina("predict", adapter, "the lamp is")
    assert out.returncode == 2
    assert "each text's answers; give them as choices" in out.stderr


@pytest.mark.parametrize(
    ("rows", "settings", "said"),
    [
        ([{"text": "a cat", "choices": ["good"], "label": 0}] * 6, {}, "row 1: it has 1 answers"),
        ([{"text": "a cat", "choices": ["good", " "], "label": 0}] * 6, {}, "at least two are needed, none empty"),
        ([{"text": "a cat", "choices": ["good", "bad"], "label": 2}] * 6, {}, "the label 2 is none of its 2 answers"),
        (
            [{"text": "a cat", "label": n % 2} for n in range(8)],
            {"answers": ["x"]},
            "answers: there are 1 for 2 labels",
        ),
        ([{"text": "a cat", "label": n % 2} for n in range(8)], {"prompt": "{texts}"}, "should hold {text}"),
        (
            [{"text": "a cat", "label": n % 2} for n in range(8)],
            {"choices": "option"},
            "no column 'option' for choices",
        ),
        ([{"text": "a cat", "label": n % 2} for n in range(8)], {"choices": "text"}, "not lists of texts"),
        ([{"text": "a cat", "label": n % 2} for n in range(8)], {"answers": ["a " * 70, "b"]}, "fills all 60 tokens"),
    ],
)
def test_bad_choices_are_one_sentence(
    rows: list[dict[str, Any]], settings: dict[str, Any], said: str, speaker: Speaker, tmp_path: Path
) -> None:
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = {"path": str(tmp_path / "data.jsonl"), **settings}
    study = {"model": str(speaker("gpt2")), "dataset": data, "task": "choices", "methods": ["lora"], "max_length": 60}
    with pytest.raises(UsageError, match=said):
        Study(tmp_path / "out", **study).run()


def test_a_model_that_cannot_speak_is_one_sentence(family_folder: Speaker) -> None:
    with pytest.raises(UsageError, match="A bert model writes no text"):
        load_backbone(str(family_folder("bert")), speaks=True)
    with pytest.raises(UsageError, match="hold no language head"):
        load_backbone(str(family_folder("llama")), speaks=True)


def test_a_question_that_is_too_long_loses_its_start(speaker: Speaker) -> None:
    backbone = load_family(speaker("llama"), speaks=True)
    rows = Rows(["the cat sat on my mat"], None, np.array([0]), choices=[["good film", "bad"]])
    tokens = Choices(2).tokenize(backbone.tokenizer, rows, 4)
    assert backbone.tokenizer.decode(tokens.ids[:4]).split() == ["my", "mat", "good", "film"]
    assert (tokens.cut, tokens.answers.tolist()) == (2, [2, 1])


def test_what_is_cut_is_counted_by_answers(tmp_path: Path) -> None:
    """Each answer is a sequence of its own, and a row may have fewer than others."""
    rows = [{"text": "w " * 60, "choices": ["a", "b", "c"][:count], "label": 0} for count in (2, 3, 3, 2)]
    (tmp_path / "data.jsonl").write_text("\n".join(json.dumps(row) for row in rows * 5))
    study = {"model": "afina-small", "dataset": str(tmp_path / "data.jsonl"), "task": "choices", "methods": ["lora"]}
    config = StudyConfig.parse({**study, "max_length": 20}, "test")
    prepared = prepare(config, config.dataset[0], "afina-small", tmp_path)
    assert prepared.cut == {"train": 40, "test": 10}
    assert "40 of 40 train texts, one for each answer, were longer than 20 tokens and were cut" in prepared.notes


def test_what_choosing_costs_is_planned(speaker: Speaker, tmp_path: Path) -> None:
    from afina.study.estimate import estimate_study

    lines = [{"text": "my lamp broken", "choices": ["help", "good", "bad"], "label": n % 3} for n in range(20)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    study = {"model": str(speaker("llama")), "dataset": str(tmp_path / "data.jsonl"), "task": "choices"}
    (estimate,), failed = estimate_study(StudyConfig.parse({**study, "methods": ["ia3"]}, "test"))
    assert not failed
    assert estimate.trainable_parameters == 2 * (12 + 12 + 37)
    assert estimate.train_seconds > 0


def test_an_adapter_for_choices_is_damaged_in_one_sentence(speaker: Speaker, tmp_path: Path) -> None:
    folder = trained_folder("lora", "llama", speaker, tmp_path)
    (folder / "adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(AfinaError, match="is damaged"):
        afina.load(folder)
