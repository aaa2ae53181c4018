"""Metrics of ranks, judged by trec_eval's own code (pytrec-eval-terrier through ir-measures)."""

import numpy as np
import pytest
from ir_measures import RR, R, ScoredDoc, nDCG
from ir_measures import Qrel as Judged
from ir_measures import iter_calc as judge

from afina.data.tokens.tokens import LabelledTokens
from afina.measure.metrics.base import Answers, metric_named
from afina.tasks.retrieval import Retrieval

JUDGES = {"ndcg@10": nDCG @ 10, "mrr@10": RR @ 10, "recall@1": R @ 1, "recall@10": R @ 10, "recall@100": R @ 100}


def found(right: np.ndarray, vectors: np.ndarray) -> Answers:
    """Return what the task says of questions, whose right passages are given, and the passages behind them."""
    labels = np.full((len(vectors), right.shape[1]), -1)
    labels[: len(right)] = right
    tokens = LabelledTokens(np.zeros(len(vectors), np.int32), np.arange(len(vectors) + 1), labels)
    decoded = Retrieval().decode_rows(tokens, vectors)
    return Answers(Retrieval().shown(labels), decoded.predictions, decoded.scores)


@pytest.mark.parametrize("seed", range(4))
def test_metrics_are_trec_evals(seed: int) -> None:
    random = np.random.default_rng(seed)
    questions, passages, width = 23, 140, 5
    counts = random.integers(1, 14, questions)
    right = np.full((questions, 13), -1)
    for row, count in enumerate(counts):
        right[row, :count] = random.permutation(passages)[:count]
    vectors = random.normal(size=(questions + passages, width))
    answers = found(right, vectors)
    assert answers.label.tolist() == counts.tolist()

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = unit[:questions] @ unit[questions:].T
    judged = [Judged(str(q), str(p), 1) for q, own in enumerate(right) for p in own if p >= 0]
    run = [ScoredDoc(str(q), str(p), float(scores[q, p])) for q in range(questions) for p in range(passages)]
    for name, measure in JUDGES.items():
        each = {value.query_id: value.value for value in judge([measure], judged, run)}
        expected = [each.get(str(q), 0.0) for q in range(questions)]
        metric = metric_named(name)
        assert [metric.over(answers)(np.array([q])) for q in range(questions)] == pytest.approx(expected), name
        some = np.array([0, 0, 5, 7])
        assert metric.over(answers)(some) == pytest.approx(np.mean([expected[q] for q in some])), name


def test_what_is_as_near_stands_before_what_answers() -> None:
    """A model that gives every text the same vector finds nothing, wherever the right passage happens to stand."""
    for place in (0, 49, 99):
        answers = found(np.array([[place]]), np.ones((101, 4)))
        assert answers.prediction.tolist() == [100]
        assert metric_named("ndcg@10").value(answers) == 0
    two = found(np.array([[3, 8]]), np.ones((101, 4)))
    assert sorted(two.scores[0]) == [99, 100], "passages that answer stand behind one another"


def test_vectors_that_are_no_numbers_find_nothing() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 4))
    vectors[0] = np.nan
    assert found(np.array([[7]]), vectors).prediction[0] >= 29
