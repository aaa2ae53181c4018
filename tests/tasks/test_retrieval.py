"""Questions with passages: the loss, a study of methods, its vectors, and what other programs make of its adapters."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import afina
from afina.data.tokens.tokens import PassageTokens
from afina.errors import UsageError
from afina.measure.metrics.base import metric_named
from afina.results.predictions import read_predictions
from afina.study.prepare import prepare
from afina.tasks.retrieval import Retrieval
from cohorts import without_dropout
from families import WORDS, save_family

METHODS = ["features", "lora", "prefix", "ia3", "full"]


def distinct_rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors of six rows with a hard negative each, no passage of which stands twice, and their labels."""
    rows = torch.arange(6)
    return torch.randn(18, 5, dtype=torch.float64, requires_grad=True), torch.stack([rows, 6 + rows, rows], dim=1)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_the_loss_is_multiple_negatives_ranking(temperature: float) -> None:
    """As Henderson et al. (2017) have it, hard negatives behind the passages of the batch, computed by its definition."""
    vectors, labels = distinct_rows()
    each = (vectors / vectors.norm(dim=1, keepdim=True)).view(6, 3, 5)
    scores = each[:, 0] @ torch.cat([each[:, 1], each[:, 2]]).T / temperature  # (6, 12)
    expected = (torch.logsumexp(scores, dim=1) - scores.diagonal()).sum()
    torch.testing.assert_close(Retrieval(temperature=temperature).loss(vectors, labels), expected)


def test_the_loss_is_that_of_sentence_transformers() -> None:
    losses = pytest.importorskip(
        "sentence_transformers.sentence_transformer.losses", reason="its package is not installed"
    )
    from sentence_transformers.util import cos_sim

    class Given(torch.nn.Module):
        def forward(self, features: Mapping[str, Any]) -> Mapping[str, Any]:
            return features

    vectors, labels = distinct_rows()
    found = Retrieval().loss(vectors, labels)
    judge = losses.MultipleNegativesRankingLoss(Given(), scale=20, similarity_fct=cos_sim)
    each = vectors.view(6, 3, 5)
    expected = judge([{"sentence_embedding": each[:, place]} for place in range(3)], torch.zeros(6))
    torch.testing.assert_close(found, 6 * expected)
    (gradient,) = torch.autograd.grad(found, vectors, retain_graph=True)
    torch.testing.assert_close(gradient, 6 * torch.autograd.grad(expected, vectors)[0])


def test_a_passage_that_answers_is_no_negative_and_none_counts_twice() -> None:
    vectors = torch.randn(9, 4, dtype=torch.float64)
    labels = torch.tensor([[0, 5, 0, 7], [7, 5, 7, -1], [0, 0, 0, -1]])  # own, negative; all that answer
    questions = torch.nn.functional.normalize(vectors[::3], dim=1)
    passages = torch.nn.functional.normalize(vectors, dim=1)
    place = {0: 1, 5: 2, 7: 4}  # where in the batch each passage's first vector stands
    own_place = [1, 4, 7]
    total = torch.zeros((), dtype=torch.float64)
    for row, wrong in enumerate([[5], [0, 5], [5, 7]]):
        there = torch.stack([passages[own_place[row]], *(passages[place[number]] for number in wrong)])
        scores = there @ questions[row]
        total -= torch.log_softmax(scores / 0.3, dim=0)[0]
    torch.testing.assert_close(Retrieval(temperature=0.3).loss(vectors, labels), total)


def test_a_learned_temperature_is_bounded() -> None:
    vectors, labels = torch.randn(4, 3), torch.tensor([[0, 0], [1, 1]])
    task = Retrieval(temperature=0.05, learned=True)
    start = task.trained_beside()
    torch.testing.assert_close(task.loss(vectors, labels, start), Retrieval(temperature=0.05).loss(vectors, labels))
    low = {name: torch.tensor(-20.0) for name in start}
    torch.testing.assert_close(task.loss(vectors, labels, low), Retrieval(temperature=0.01).loss(vectors, labels))
    settled = task.with_trained({name: float(np.log(0.2)) for name in start})
    assert settled.temperature == pytest.approx(0.2) and settled.state()["learned"] is True


def rows_of(count: int, seed: int) -> list[dict[str, Any]]:
    """Questions with a telling word among others, of one of twenty passages, which shares no word with them."""
    draw = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        topic = int(draw.integers(0, 20))
        words = [WORDS[topic], *draw.choice(WORDS[40:], 2).tolist()]
        rows.append({"question": " ".join(words), "passage": f"{WORDS[20 + topic]} {WORDS[20 + topic]} works"})
    return rows


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model without dropout, whose draws would differ between a run alone and in a cohort."""
    return str(without_dropout(save_family("bert", tmp_path_factory.mktemp("quiet") / "bert")))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    for split, count, seed in (("train", 90, 0), ("test", 40, 1)):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of(count, seed)))
    return folder


def settings(model: str, data: Path, **more: Any) -> dict[str, Any]:
    return {
        "model": model, "dataset": str(data), "task": "retrieval", "epochs": 10, "batch_size": 15, "targets": "all",
        "precision": "fp32", "max_length": 16, "seeds": 1, "hard_negatives": 0, "learning_rate": 3e-2, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def study(model: str, data: Path, tmp_path_factory: pytest.TempPathFactory) -> afina.Study:
    rates = {"lora": 3e-2, "ia3": 3e-2, "prefix": 3e-2, "full": 3e-3}
    made = afina.Study(
        tmp_path_factory.mktemp("retrieval") / "out",
        **settings(model, data, methods=METHODS, learning_rate=rates, temperature="learned", cohort=3),
    )
    made.run()
    return made


def folder_of(study: afina.Study, method: str) -> Path:
    return study.directory / str(next(r["adapter"] for r in study.results if r["method"] == method))


def test_a_study_learns_to_find_passages(study: afina.Study) -> None:
    results = {result["method"]: result for result in study.results}
    assert [str(own["error"]) for own in results.values()] == ["None"] * len(METHODS)
    assert {name: own["status"] for name, own in results.items()} == dict.fromkeys(METHODS, "ok")
    frozen, lora = results["features"], results["lora"]
    assert (lora["metric"], lora["task"]) == ("ndcg@10", "retrieval")
    assert list(lora["test_metrics"]) == ["mrr@10", "ndcg@10", "recall@1", "recall@10", "recall@100"]
    assert lora["test_metric"] > frozen["test_metric"] + 0.1
    assert frozen["trainable_parameters"] == 0 and lora["cohort_size"] == 3
    kept = read_predictions(study.directory, lora)
    assert len(kept.item) == lora["test_rows"] and (kept.prediction == kept.scores[:, 0]).all()
    assert metric_named("ndcg@10").value(kept) == lora["test_metric"]
    assert afina.load(folder_of(study, "lora")).task.state()["temperature"] != pytest.approx(0.05)


def test_the_frozen_baseline_is_what_the_base_finds(study: afina.Study, data: Path) -> None:
    """Its ranks are those of plain vectors of the base: nothing was fitted."""
    loaded = afina.load(folder_of(study, "features"))
    rows = [
        json.loads(line) for name in ("train", "test") for line in (data / f"{name}.jsonl").read_text().splitlines()
    ]
    passages = list(dict.fromkeys(row["passage"] for row in rows))
    asked = list(dict.fromkeys(row["question"] for row in rows[90:]))
    vectors = [
        own / np.linalg.norm(own, axis=1, keepdims=True) for own in (loaded.embed(asked), loaded.embed(passages))
    ]
    scores = vectors[0] @ vectors[1].T
    kept = read_predictions(study.directory, next(r for r in study.results if r["method"] == "features"))
    right: dict[str, set[int]] = {}
    for row in rows:
        right.setdefault(row["question"], set()).add(passages.index(row["passage"]))
    for place, question in enumerate(asked):
        first = max(scores[place, number] for number in right[question])
        wrong = [score for number, score in enumerate(scores[place]) if number not in right[question]]
        assert kept.prediction[place] == 1 + sum(score >= first for score in wrong)


def test_a_cohort_is_only_faster(study: afina.Study, model: str, data: Path, tmp_path: Path) -> None:
    alone = afina.Study(
        tmp_path / "alone", **settings(model, data, methods=["ia3"], temperature="learned", cohort="off")
    )
    alone.run()
    together = next(result for result in study.results if result["method"] == "ia3")
    (result,) = alone.results
    assert [epoch["train_loss"] for epoch in result["history"]] == pytest.approx(
        [epoch["train_loss"] for epoch in together["history"]], rel=2e-3
    )


def test_its_adapter_gives_vectors(study: afina.Study, tmp_path: Path) -> None:
    loaded = afina.load(folder_of(study, "lora"))
    texts = ["the a", "my parcel order"]
    found = np.array([one.as_dict()["embedding"] for one in loaded.predict(texts)])
    np.testing.assert_allclose(found, loaded.embed(texts), rtol=1e-6)
    assert not np.allclose(found, afina.load(folder_of(study, "features")).embed(texts), rtol=1e-3)
    with pytest.raises(UsageError, match="embed gives its vectors"):
        loaded.logits(texts)


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_peft_loads_its_adapters(study: afina.Study, tmp_path: Path, method: str) -> None:
    from peft import PeftModel
    from transformers import AutoModel, AutoTokenizer

    folder = folder_of(study, method)
    loaded = afina.load(folder)
    made = afina.export_adapter(folder, "peft", out=tmp_path / "peft")
    assert made.parity.equal
    tokenizer = AutoTokenizer.from_pretrained(loaded.record.model)
    base = AutoModel.from_pretrained(loaded.record.model)
    model = PeftModel.from_pretrained(base, tmp_path / "peft").eval()
    texts = tokenizer(["my parcel order", "the lamp"], return_tensors="pt", padding=True)
    with torch.no_grad():
        states = model(**texts).last_hidden_state
    mask = texts["attention_mask"][:, -states.shape[1] :, None]
    vectors = (states * mask).sum(dim=1) / mask.sum(dim=1)
    np.testing.assert_allclose(vectors.numpy(), loaded.embed(["my parcel order", "the lamp"]), rtol=1e-4, atol=1e-5)


@pytest.mark.always
@pytest.mark.covered(
    ("method", "to"),
    [("lora", "merged"), ("prefix", "onnx")],
    [("lora", "merged"), ("full", "merged"), ("prefix", "onnx")],
)
def test_its_exports_give_the_same_vectors(study: afina.Study, tmp_path: Path, method: str, to: str) -> None:
    assert afina.export_adapter(folder_of(study, method), to, out=tmp_path / "out").parity.equal


def test_its_costs_are_foretold(model: str, data: Path) -> None:
    from afina.config import StudyConfig
    from afina.study.estimate import estimate_study

    config = StudyConfig.parse(settings(model, data, methods=["features", "lora", "head"], hard_negatives=1), "study")
    estimates, failed = estimate_study(config)
    assert [estimate.run.method.name for estimate in estimates] == ["features", "lora"]
    assert [(run.method.name, reason) for run, reason in failed] == [
        ("head", "head has nothing to train: a text's vector has no head.")
    ]
    assert estimates[0].trainable_parameters == 0 and all(own.evaluate_seconds > 0 for own in estimates)


def test_methods_without_anything_to_train_say_so(model: str, data: Path, tmp_path: Path) -> None:
    study = afina.Study(tmp_path / "out", **settings(model, data, methods=["head"], epochs=1))
    study.run()
    assert study.results[0]["status"] == "failed" and "a text's vector has no head" in study.results[0]["error"]


def test_rows_bring_their_negatives_and_what_is_missing_is_said(model: str, data: Path, tmp_path: Path) -> None:
    from afina.config import StudyConfig
    from afina.data.tokens.token_files import load_tokens

    config = StudyConfig.parse(settings(model, data, methods=["lora"], hard_negatives=2), "study")
    ready = prepare(config, config.dataset[0], config.model[0], tmp_path)
    tokens = load_tokens(ready.tokens)["train"]
    assert isinstance(tokens, PassageTokens) and tokens.choices == 4 and len(tokens) == ready.train_rows
    assert any("there are fewer than 2 hard negatives" in note for note in ready.notes), "no word is shared"
    sequences = tokens.sequences(np.arange(len(tokens))).reshape(-1, 4)
    assert (sequences[:, 1] == sequences[:, 2]).any(), "the row's own stands in the place of one that is missing"
    seen = tokens.evaluated()
    assert len(seen) == tokens.asked + 20 and (seen.labels[tokens.asked :] == -1).all()
