"""Adapters of ours in retrieval: on the encoder of an index, and as a second look at what was found."""

from pathlib import Path

import numpy as np
import pytest

from afina.adapters.adapter import build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.load import load_backbone
from afina.errors import UsageError
from afina.methods.base import make_method
from afina.predictor.load import load
from afina.retrieval.build import build_index
from afina.retrieval.index import Index
from afina.retrieval.representations.dense import unit
from afina.retrieval.reranking import Reranker
from commands import afina as run_command
from pairs import stir

TEXTS = ["The pump is cleaned with water.", "The warranty lasts two years.", "The shop opens at eight."]


def saved(folder: Path, labels: list[str], seed: int) -> Path:
    backbone = load_backbone("minilm")
    method = make_method("lora", {}, {"rank": 2})
    adapter = build_adapter(method, backbone, outputs=len(labels), seed=seed)
    stir(adapter)
    task = {"name": "classification", "label_names": labels}
    record = AdapterRecord(
        model="minilm", method="lora", settings=method.settings(), task=task, max_length=60, precision="fp32", seed=seed
    )
    save_adapter(folder, adapter, backbone, record)
    return folder


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("adapter") / "a", ["other", "relevant"], 0)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.txt").write_text(text)
    return folder


def test_an_index_has_the_vectors_of_the_adapter_on_its_encoder(adapter: Path, documents: Path, tmp_path: Path) -> None:
    build_index([documents], tmp_path / "i", representation="bert", adapter=str(adapter), precision="fp32")
    index = Index(tmp_path / "i")
    vectors = np.load(index.edition.folder / "bert" / "vectors.npy")
    loaded = load(adapter)
    np.testing.assert_allclose(vectors, unit(loaded.embed(TEXTS)), atol=1e-5)
    question = "How long is the warranty?"
    best = index.search(question, 3)
    scores = vectors @ unit(loaded.embed([question]))[0]
    assert [hit.row for hit in best] == np.argsort(-scores).tolist()
    assert [hit.score for hit in best] == pytest.approx(sorted(scores.tolist(), reverse=True), abs=1e-5)


def test_an_adapter_that_was_trained_anew_is_noticed(documents: Path, tmp_path: Path) -> None:
    adapter = saved(tmp_path / "a", ["no", "yes"], 1)
    build_index([documents], tmp_path / "i", representation="bert", adapter=str(adapter), precision="fp32")
    saved(tmp_path / "b", ["no", "yes"], 2)
    for path in (tmp_path / "b").iterdir():
        (adapter / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match="was made with other weights than"):
        Index(tmp_path / "i")


def test_a_second_look_ranks_by_what_the_adapter_says_of_the_pairs(
    adapter: Path, documents: Path, tmp_path: Path
) -> None:
    build_index([documents], tmp_path / "i", representation="tfidf", text_language="none")
    question = "the warranty of the pump"
    logits = load(adapter).logits([question] * 3, TEXTS)
    wanted = np.argsort(logits[:, 0] - logits[:, 1]).tolist()
    reranker = Reranker(adapter)
    hits = reranker.ranked(question, Index(tmp_path / "i").search(question, 3), 3)
    assert [hit.row for hit in hits] == wanted and [hit.rank for hit in hits] == [1, 2, 3]
    shown = run_command("rag", "search", tmp_path / "i", question, "-k", "1", "--rerank", adapter)
    assert shown.returncode == 0 and f"{wanted[0]}.txt" in shown.stdout and "rerank rank 1" in shown.stdout


def test_adapters_that_cannot_rank_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two labels, or with a number"):
        Reranker(saved(tmp_path / "three", ["a", "b", "c"], 0))
    with pytest.raises(UsageError, match="the labels sport, world"):
        Reranker(saved(tmp_path / "two", ["sport", "world"], 0))
