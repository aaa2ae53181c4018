"""What texts are compared by: each as its formula says, the same again by the same seed, alike in every store."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from afina.errors import UsageError
from afina.registry import listing
from afina.retrieval.build import build_index
from afina.retrieval.index import Index
from afina.retrieval.representations.base import NOTHING, top
from afina.retrieval.representations.dense import unit
from afina.retrieval.representations.hybrid import fused
from afina.retrieval.settings import IndexSettings
from afina.retrieval.stores.base import store_for
from afina.retrieval.stores.exact import Exact, compared
from afina.retrieval.terms import Terms, language_among
from afina.words.notes import said_note

TEXTS = [
    "O filtro da bomba é limpo com água morna uma vez por mês.",
    "A garantia da bomba é de dois anos e não cobre o filtro, nem a mangueira.",
    "As educações e a educação de adultos são pagas pela empresa.",
    "A avó plantou ações e árvores no jardim atrás da fábrica.",
    "Horário da loja: das oito às dezoito horas, menos aos domingos.",
    "A bomba, a bomba e outra bomba.",
]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    return folder


def rows(index: Index, question: str, most: int = 6) -> list[int]:
    return [hit.row for hit in index.search(question, most)]


def test_bm25_is_its_formula(documents: Path, tmp_path: Path) -> None:
    build_index([documents], tmp_path / "i", representation="bm25")
    index = Index(tmp_path / "i")
    terms = Terms("pt")
    terms.learn(TEXTS)
    texts = [terms.of(text) for text in TEXTS]
    mean = sum(map(len, texts)) / len(texts)
    question = "a bomba e o filtro da garantia"
    for hit in index.search(question, 6):
        text, counts, score = texts[hit.row], Counter(texts[hit.row]), 0.0
        for term in terms.of(question):
            holding = sum(term in other for other in texts)
            idf = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
            score += idf * counts[term] / (counts[term] + 1.5 * (1 - 0.75 + 0.75 * len(text) / mean))
        assert hit.score == pytest.approx(score, rel=1e-5)
    assert set(rows(index, question)) == {0, 1, 5}


def test_bert_is_the_mean_of_the_encoders_states_as_transformers_computes_it(documents: Path, tmp_path: Path) -> None:
    """By transformers alone, text by text: vectors, their cosines with a question, and the ranks."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from afina.backbone.model_files import model_path

    build_index([documents], tmp_path / "i", representation="bert", precision="fp32")
    index = Index(tmp_path / "i")
    place = str(model_path("minilm"))
    tokenizer, model = AutoTokenizer.from_pretrained(place), AutoModel.from_pretrained(place).eval()

    def vector(text: str) -> np.ndarray:
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        mean = states.mean(dim=0).numpy()
        return mean / np.linalg.norm(mean)

    wanted = np.stack([vector(text) for text in TEXTS])
    stored = np.load(index.edition.folder / "bert" / "vectors.npy")
    np.testing.assert_allclose(stored, wanted, atol=2e-6)
    for question in ("Quanto dura a garantia?", "When does the shop open?"):
        scores = wanted @ vector(question)
        hits = index.search(question, 6)
        assert [hit.row for hit in hits] == np.argsort(-scores).tolist()
        assert [hit.score for hit in hits] == pytest.approx(sorted(scores.tolist(), reverse=True), abs=1e-5)


def test_words_are_found_with_and_without_accents_and_endings(documents: Path, tmp_path: Path) -> None:
    report = build_index([documents], tmp_path / "i", representation="bm25")
    assert report.facts["language"] == "pt" and any("stemmed as pt" in note for note in report.notes)
    index = Index(tmp_path / "i")
    for question, row in {
        "educacao": 2,
        "EDUCAÇÕES": 2,
        "educacoes": 2,
        "avo": 3,
        "acoes": 3,
        "arvore": 3,
        "filtros": 0,
    }.items():
        assert rows(index, question)[0] == row, question
    assert not rows(index, "de para com os")  # stop words alone


def test_the_language_is_told_from_the_text_or_said_not_to_be() -> None:
    assert language_among(TEXTS, len(TEXTS))[0] == "pt"
    code, note = language_among(["12 34", "xyzzy qwrt"], 2)
    assert code == "none" and "could not be told" in note


def test_what_the_built_in_encoder_was_not_trained_on_is_searched_by_words_unless_asked(
    documents: Path, tmp_path: Path
) -> None:
    report = build_index([documents], tmp_path / "i")
    (why,) = (note for note in report.notes if "was trained on en, and these documents are in pt" in note)
    assert "a busca é só por palavras (bm25)" in said_note(why, "pt")
    assert report.settings.representation == "bm25" == Index(tmp_path / "i").settings.representation
    assert not build_index([documents], tmp_path / "i", representation="auto").changed
    with pytest.raises(UsageError, match="was made with representation bm25, not hybrid"):
        build_index([documents], tmp_path / "i", representation="hybrid")

    auto = IndexSettings()
    assert [auto.settled(code)[0].representation for code in ("pt", "de", "en", "none")] == ["bm25"] * 2 + [
        "hybrid"
    ] * 2
    for chosen in (
        {"model": "other"},
        {"adapter": "own"},
        {"parts": ("bm25", "word2vec")},
        {"representation": "hybrid"},
    ):
        settled, note = auto.changed(**chosen).settled("pt")
        assert settled.representation == "hybrid" and note is None


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
def test_tfidf_ranks_by_words_that_are_shared(documents: Path, tmp_path: Path, similarity: str) -> None:
    build_index([documents], tmp_path / "i", representation="tfidf", similarity=similarity)
    index = Index(tmp_path / "i")
    assert rows(index, "a garantia e a mangueira")[0] == 1
    scores = [hit.score for hit in index.search("bomba garantia", 6)]
    assert scores == sorted(scores, reverse=True) and len(scores) == 3
    assert not rows(index, "zebra")


def test_word2vec_is_the_same_with_the_same_seed_and_another_with_another(documents: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        build_index([documents], tmp_path / name, representation="word2vec", seed=seed)
    first, again, other = (
        np.load(next((tmp_path / name).glob("edition-*")) / "word2vec" / "vectors.npy") for name in "abc"
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape == (6, 100) and not np.allclose(first, other)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-5)
    assert len(rows(Index(tmp_path / "a"), "bomba")) == 6


def test_on_unit_vectors_all_similarities_rank_alike() -> None:
    draw = np.random.default_rng(0)
    vectors, questions = unit(draw.normal(size=(257, 33))), unit(draw.normal(size=(5, 33)))
    orders = [
        np.argsort(-compared(questions, vectors, name), axis=1)[:, :50] for name in ("cosine", "dot", "euclidean")
    ]
    np.testing.assert_array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[0], orders[2])
    distances = -compared(questions, vectors, "euclidean")
    np.testing.assert_allclose(distances[2, 7], np.linalg.norm(questions[2] - vectors[7]), rtol=1e-5)


def test_the_best_of_equals_is_the_first() -> None:
    scores, found = top(np.array([1, 3, 3, 2, 3], np.float32), 2)
    assert found.tolist() == [1, 2] and scores.tolist() == [3, 3]
    scores, found = top(np.array([0, 1, 0], np.float32), 3, above=0.0)
    assert found.tolist() == [1, NOTHING, NOTHING]


def test_reciprocal_ranks_are_added() -> None:
    scores, found = fused([np.array([4, 2, NOTHING]), np.array([7, 4, 2])], 3)
    assert found.tolist() == [4, 2, 7]
    np.testing.assert_allclose(scores, [1 / 61 + 1 / 62, 1 / 62 + 1 / 63, 1 / 61], rtol=1e-5)


class Told:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def tell(self, what: str, done: int, total: int | None) -> None: ...


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
def test_usearch_finds_what_exact_search_finds_and_tells_its_recall(tmp_path: Path, similarity: str) -> None:
    draw = np.random.default_rng(1)
    vectors = draw.normal(size=(3_000, 24)).astype(np.float32)
    questions = draw.normal(size=(40, 24)).astype(np.float32)
    if similarity == "cosine":
        vectors, questions = unit(vectors), unit(questions)
    exact, graph, corpus = Exact("exact"), store_for("usearch", len(vectors)), Told()
    exact.open(vectors, tmp_path, similarity)
    facts = graph.build(vectors, tmp_path, corpus, similarity)
    assert 0.9 < facts["recall"] <= 1 and "% of the 10 nearest that exact search finds" in corpus.notes[0]
    scores, found = graph.search(questions, 10)
    wanted_scores, wanted = exact.search(questions, 10)
    recall = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, wanted, strict=True)])
    assert recall > 0.9
    both = found == wanted
    np.testing.assert_allclose(scores[both], wanted_scores[both], rtol=1e-5)


def test_exact_search_is_exact_beyond_a_block(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    vectors = draw.normal(size=((1 << 16) + 77, 3)).astype(np.float32)
    exact = Exact("exact")
    exact.open(vectors, tmp_path, "dot")
    question = np.array([[0.3, -1, 2]], np.float32)
    np.testing.assert_array_equal(
        exact.search(question, 5)[1][0], np.argsort(-(vectors @ question[0]), kind="stable")[:5]
    )


def test_a_store_is_chosen_by_how_many_rows_there_are() -> None:
    assert store_for("auto", 100_000).name == "exact" and store_for("auto", 100_001).name == "usearch"
    with pytest.raises(UsageError, match="no store 'usearhc'; did you mean 'usearch'"):
        store_for("usearhc", 5)


def test_a_hybrid_is_of_different_parts(documents: Path, tmp_path: Path) -> None:
    for parts in (("bm25",), ("bm25", "bm25"), ("bm25", "hybrid")):
        with pytest.raises(UsageError, match="two or more different representations"):
            build_index([documents], tmp_path / "i", parts=parts)
    build_index([documents], tmp_path / "i", parts=("bm25", "tfidf"))
    index = Index(tmp_path / "i")
    (hit, *_) = index.search("garantia", 3)
    assert set(hit.parts) == {"bm25", "tfidf"} and hit.score == pytest.approx(2 / 61)


def test_every_representation_is_there() -> None:
    names = set(listing("afina.retrieval.representations", "representation"))
    assert names == {"bert", "bm25", "hybrid", "tfidf", "word2vec"}


def test_a_precision_that_there_is_not_is_refused_though_nothing_computes_in_it() -> None:
    with pytest.raises(UsageError, match="no precision 'bf61'; did you mean 'bf16'"):
        IndexSettings(representation="bm25", precision="bf61")
