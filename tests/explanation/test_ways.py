"""Words' values are what their formulas say, on every architecture that reads text, for labels, tags and next words."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import afina
from afina.explanation.asker import Asker
from afina.explanation.faithful import check
from afina.explanation.kinds.base import WantedAnswer, kind_of
from afina.explanation.nested import CROWDED, EVEN, nested_points, nested_weights
from afina.explanation.ways import integrated_gradients
from afina.explanation.ways.base import WAYS, Attributed
from explained import TEXTS, saved_for
from families import BOTH, DECODERS, TEXT

Loader = Callable[..., Path]


def cases() -> list[tuple[str, str, str]]:
    """Every architecture with labels, and a covering set with the rest and with methods that bend what is read."""
    cases = [(family, "labels", "lora") for family in TEXT]
    cases += [(family, "next", "lora") for family in (*DECODERS, *BOTH)]
    cases += [(family, "tags", "lora") for family in ("bert", "roberta", "deberta-v2", "gpt2", "modernbert")]
    cases += [("bert", "number", "lora"), ("opt", "labels", "full")]
    return cases + [(family, "labels", name) for family in ("bert", "gpt2", "t5") for name in ("prompt", "prefix")]


@pytest.mark.parametrize(("family", "task", "method"), cases())
def test_vectors_on_their_way(family: str, task: str, method: str, family_folder: Loader, tmp_path: Path) -> None:
    """At the way's beginning a text is the one without words, at its end the text, and between them the slope is the sum of
    the words' gradients: on an encoder and a decoder that read one text, too."""
    base = family_folder(family, speaks=task == "next", tags=task == "tags" and family != "bart")
    predictor = afina.load(saved_for(base, tmp_path / "adapter", task, method))
    kind = kind_of(
        predictor, WantedAnswer(label="B-a" if task == "tags" else None, word="late" if task == "tags" else None)
    )
    questions = kind.questions(TEXTS, None)
    assert [word.text for word in questions[0].words][:3] == ["the", "parcel", "is"]
    with Asker(predictor, kind, questions) as asker:
        numbers = range(len(questions))
        words = [len(question.words) for question in questions]
        whole = asker.scores([(n, np.ones(words[n], dtype=bool)) for n in numbers])
        none = asker.scores([(n, np.zeros(words[n], dtype=bool)) for n in numbers])
        at = {share: asker.gradients([(n, share) for n in numbers], of="way") for share in (0.0, 0.6, 1.0)}
        near = [asker.gradients([(n, 0.6 + step) for n in numbers], of="way")[0] for step in (0.002, -0.002)]
    assert np.allclose(at[1.0][0], whole, atol=1e-4)
    assert np.allclose(at[0.0][0], none, atol=1e-4)
    assert not np.allclose(whole, none, atol=1e-3)
    slope = (near[0] - near[1]) / 0.004
    sums = np.array([dots.sum() for dots in at[0.6][1]])
    assert np.allclose(slope, sums, rtol=0.03, atol=0.03 * max(0.1, float(np.abs(sums).max())))


@pytest.fixture(scope="module")
def predictor(family_folder: Loader, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return afina.load(saved_for(family_folder("bert"), tmp_path_factory.mktemp("ways") / "adapter", "labels"))


@pytest.fixture
def asker(predictor: Any) -> Iterator[Asker]:
    kind = kind_of(predictor, WantedAnswer())
    with Asker(predictor, kind, kind.questions([TEXTS[1], "late order"], None)) as asker:
        yield asker


def test_integrated_gradients_add_up_to_the_score(asker: Asker) -> None:
    rough, fine = (WAYS["integrated-gradients"](steps=steps).attribute(asker) for steps in (2, 64))
    assert all(abs(own.missing) < 1e-3 for own in fine)
    assert all(abs(a.missing) >= abs(b.missing) for a, b in zip(rough, fine, strict=True))


def test_nested_points_are_rules_within_rules() -> None:
    # As published for Kronrod's and Patterson's rules: the largest node of the second and its weight on (-1, 1).
    published = {
        EVEN: (0.991455371120812639, 0.022935322010529225),
        CROWDED: (0.984085360094842464, 0.042582036751081833),
    }
    exact = {7: 13, 15: 23, 31: 47, 5: 9, 11: 16, 23: 35, 47: 71}
    for rules, (node, weight) in published.items():
        counts, points = rules.counts, nested_points(rules.counts)
        assert sorted(points[: counts[0]]) == pytest.approx((np.polynomial.legendre.leggauss(counts[0])[0] + 1) / 2)
        second = points[: counts[1]]
        assert 2 * second.max() - 1 == pytest.approx(node)
        assert 2 * nested_weights(counts, counts[1])[second.argmax()] == pytest.approx(weight)
        for count in counts:
            weights = nested_weights(counts, count)
            moments = [float(weights @ points[:count] ** power) for power in range(exact[count] + 1)]
            assert moments == pytest.approx([1 / (power + 1) for power in range(exact[count] + 1)], abs=1e-10)
    assert EVEN.points() == pytest.approx(nested_points(EVEN.counts))
    assert EVEN.weights(15) == pytest.approx(nested_weights(EVEN.counts, 15))


def test_points_lie_where_much_changes() -> None:
    """Of a function that changes on the first half of the way, as scores do, fewer points say as much."""

    def slope(share: np.ndarray) -> np.ndarray:
        return 1 / np.cosh((share - 0.2) / 0.08) ** 2

    exact = 0.08 * (np.tanh(0.8 / 0.08) + np.tanh(0.2 / 0.08))
    points = CROWDED.points()
    assert points.min() > 0
    assert points.max() < 1
    eleven, more = (abs(CROWDED.weights(count) @ slope(points[:count]) / exact - 1) for count in (11, 23))
    even, weights = np.polynomial.legendre.leggauss(15)
    assert eleven < 0.2 * abs(weights / 2 @ slope((even + 1) / 2) / exact - 1)
    assert more < 1e-6


def test_as_many_points_as_a_text_needs(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = WAYS["integrated-gradients"](steps=128).attribute(asker)
    found = WAYS["integrated-gradients"]().attribute(asker)
    assert [own.points for own in found] == [11, 11]
    monkeypatch.setattr(integrated_gradients, "_ALIKE", 0.0)
    all_asked = WAYS["integrated-gradients"]().attribute(asker)
    assert [own.points for own in all_asked] == [47, 47]
    for few, many, exact in zip(found, all_asked, fine, strict=True):
        # What is told of a rule is more than its error.
        assert np.abs(few.values - exact.values).max() <= few.moved
        assert np.allclose(many.values, exact.values, atol=1e-5)


def test_next_words_are_asked_at_points_that_lie_evenly(family_folder: Loader, tmp_path: Path) -> None:
    """Their probability changes on all of the way: points that crowd on its first half were off by ten times as much."""
    predictor = afina.load(saved_for(family_folder("gpt2", speaks=True), tmp_path / "adapter", "next"))
    kind = kind_of(predictor, WantedAnswer())
    with Asker(predictor, kind, kind.questions(TEXTS[:1], None)) as asker:
        (found,) = WAYS["integrated-gradients"]().attribute(asker)
        (even,) = WAYS["integrated-gradients"](steps=64).attribute(asker)
    assert found.points in EVEN.counts[1:]
    assert np.abs(found.values - even.values).max() < 0.05 * np.abs(even.values).max()


def test_occlusion_is_the_score_of_the_text_without_the_word(predictor: Any) -> None:
    """Against the predictor itself, which is given the unknown word in the word's place."""
    kind = kind_of(predictor, WantedAnswer())
    with Asker(predictor, kind, kind.questions([TEXTS[1]], None)) as asker:
        (own,) = WAYS["occlusion"]().attribute(asker)
    answer = asker.questions[0].answer

    def odds(text: str) -> float:
        (logits,) = predictor.logits([text])
        others = [math.exp(value) for place, value in enumerate(logits) if place != answer]
        return float(logits[answer]) - math.log(sum(others))

    words = TEXTS[1].split()
    for place, value in enumerate(own.values):
        without = " ".join("zebra" if number == place else word for number, word in enumerate(words))
        assert value == pytest.approx(odds(TEXTS[1]) - odds(without), abs=1e-4)


def test_shapley_values_are_those_of_all_orders(asker: Asker) -> None:
    exact = np.zeros(3)
    for order in itertools.permutations(range(3)):
        kept = np.zeros(3, dtype=bool)
        for word in order:
            before = asker.scores([(0, kept.copy())])[0]
            kept[word] = True
            exact[word] += (asker.scores([(0, kept.copy())])[0] - before) / 6
    drawn, _ = WAYS["shapley"](samples=400, seed=1).attribute(asker)
    assert drawn.error is not None
    assert np.allclose(drawn.values, exact, atol=max(1e-4, 4 * drawn.error))
    assert drawn.values.sum() == pytest.approx(exact.sum(), abs=1e-4)


def test_gradient_times_input_is_the_slope_along_the_vectors(predictor: Any) -> None:
    """Against transformers' own embeddings: a word's vectors a little longer, and how the score moves."""
    kind = kind_of(predictor, WantedAnswer())
    questions = kind.questions(["good lamp works"], None)
    with Asker(predictor, kind, questions) as asker:
        (own,) = WAYS["gradient-input"]().attribute(asker)
        table = predictor.backbone.model.embeddings.word_embeddings.weight
        for word in range(3):
            token = int(questions[0].ids[questions[0].word_of == word][0])
            before, scores = table[token].clone(), []
            for factor in (1.005, 0.995):
                table.data[token] = before * factor
                scores.append(asker.scores([(0, np.ones(3, dtype=bool))])[0])
            table.data[token] = before
            assert own.values[word] == pytest.approx((scores[0] - scores[1]) / 0.01, rel=0.02, abs=2e-3)


def test_deleting_what_decides_does_more_than_deleting_others(predictor: Any) -> None:
    """And the values turned around do less: the check tells reasons from their opposite."""
    kind = kind_of(predictor, WantedAnswer())
    words = ["good", "late", "broken", "lamp", "order", "the", "cat", "news", "phone", "mat"]
    texts = [" ".join(np.random.default_rng(seed).permutation(words)[:8]) for seed in range(12)]
    with Asker(predictor, kind, kind.questions(texts, None)) as asker:
        values = WAYS["shapley"](samples=40).attribute(asker)
        own = check(asker, values, 0)
        turned = check(asker, [replace(each, values=-each.values) for each in values], 0)
    assert own is not None and turned is not None
    assert own.holds is True
    assert turned.holds is False
    assert own.comprehensiveness > own.random_comprehensiveness
    assert own.sufficiency < own.random_sufficiency


class FirstWordDecides:
    """Stands for a model that scores a text by its first word alone."""

    def __init__(self, texts: int) -> None:
        self.questions = [SimpleNamespace(words=[0] * 10) for _ in range(texts)]
        self.asked = 0

    def scores(self, asked: list[tuple[int, np.ndarray]]) -> np.ndarray:
        self.asked += len(asked)
        return np.array([float(staying[0]) for _, staying in asked])


def test_an_interval_of_few_texts_is_over_the_draws_and_many_texts_have_fewer_draws_each() -> None:
    """Two texts redrawn lie between each other whatever a third would say, and were told as a 95% interval over texts."""
    widths = []
    for count, draws in ((2, 10), (12, 9), (100, 2)):
        asker: Any = FirstWordDecides(count)
        made = check(asker, [Attributed(np.arange(10, 0, -1.0)) for _ in range(count)], 0)
        assert asker.asked == count * (1 + 6 * (1 + draws))  # with all words; three shares, without them and alone
        assert made is not None and made.holds
        low, high = made.comprehensiveness_gain.low, made.comprehensiveness_gain.high
        assert low is not None and high is not None
        widths.append(high - low)
    # A draw of the two takes both first words or none; the two texts themselves are alike.
    assert widths[0] > 0.4 > widths[1]
