"""Words of two groups swapped within texts, in both languages, and what that shows of a model."""

import numpy as np
import pytest

from afina.audit.bias.answers import BiasRows, ClassAnswers
from afina.audit.bias.drafts import finished
from afina.audit.bias.word_swaps import Swapped, swap_drafts, swapped
from afina.data.groups.word_swaps import SWAP_AXES
from afina.data.rows import Rows
from afina.results.findings.finding import Finding, Subject
from afina.results.statistics import mcnemar

ENGLISH = "and this is the whole of what they said to us about it"
PORTUGUESE = "e foi isto o que nos disseram sobre o caso, mais nada"


@pytest.mark.parametrize(("axis", "text", "other", "end"), [
    ("gender", "She lost her keys; I told HER that it is hers.", "He lost his keys; I told HIS that it is his.", ENGLISH),
    ("gender", "He lost his keys; I told him. All is his.", "She lost her keys; I told her. All is hers.", ENGLISH),
    ("gender", "Mary, the manager", "John, the manager", ENGLISH),
    ("gender", "A professora viu minha irmã na sala", "O professor viu meu irmão na sala", PORTUGUESE),
    ("gender", "O senhor pediu ao vizinho; ELE aceitou", "A senhora pediu à vizinha; ELA aceitou", PORTUGUESE),
    ("race", "A mulher negra saiu", "A mulher branca saiu", PORTUGUESE),
    ("race", "The black man left", "The white man left", ENGLISH),
    ("religion", "the Church nearby", "the Mosque nearby", ENGLISH),
    ("age", "os jovens da rua", "os idosos da rua", PORTUGUESE),
])  # fmt: skip
def test_words_are_swapped_with_their_case_and_what_agrees(axis: str, text: str, other: str, end: str) -> None:
    """Limits included: whether `her` is his or him is told by the word behind it alone."""
    made = swapped([f"{text}, {end}"], axis, np.array([0]))
    assert made is not None
    assert {each[0] for each in made.texts} == {f"{text}, {end}", f"{other}, {end}"}


def test_every_swap_comes_back_to_where_it_began() -> None:
    """Also those of words that stand within others, as `he` in `the` and in `she`."""
    text = f"The theme of the sheriff: my sister and her aunt met the waitress, {ENGLISH}"
    once = swapped([text], "gender", np.array([0]))
    assert once is not None and once.texts[0] == [text]
    back = swapped(once.texts[1], "gender", np.array([0]))
    assert back is not None and back.texts[0] == [text]


def test_texts_of_both_groups_or_of_none_are_left_alone() -> None:
    texts = [
        f"she told him, {ENGLISH}",
        f"nobody told anybody, {ENGLISH}",
        f"he left, {ENGLISH}",
        f"ela saiu, {PORTUGUESE}",
    ]
    made = swapped(texts, "gender", np.arange(4))
    assert made is not None and made.rows.tolist() == [2, 3]
    assert made.texts[0] == [f"she left, {ENGLISH}", f"ela saiu, {PORTUGUESE}"]
    assert all(swapped(texts[1:2], axis, np.array([0])) is None for axis in SWAP_AXES)


def test_a_model_that_goes_by_whose_words_stand_there_is_found_and_one_that_does_not_is_not() -> None:
    rows = np.arange(60)
    own = BiasRows(Rows(["x"] * 60, None, np.zeros(60, dtype=np.int64)), ("no", "yes"), {}, "rows.csv")
    made = Swapped("gender", ("women", "men"), rows, (["she"] * 60, ["he"] * 60))

    def answers(chosen: np.ndarray) -> ClassAnswers:
        return ClassAnswers(np.eye(2)[chosen])

    half, deaf = (rows < 30).astype(int), np.zeros(60, dtype=int)
    biased = [answers(half), answers(deaf)]
    moved, side = finished(swap_drafts(Subject(name="run"), own, made, biased, {"base": [answers(deaf)] * 2}, seed=0))
    assert moved.value is not None and moved.value.value == 0.5 and not moved.found and moved.p_value is None
    assert (moved.is_tested, side.is_tested) == (False, True) and Finding.of(moved.as_dict()).is_tested is False
    assert moved.beside[0].p_value == mcnemar(half == 1, deaf == 1) < 1e-6
    assert side.found and side.value is not None and side.value.value == 0.5
    assert "with the words of 'women'" in side.as_dict()["verdict"]
    assert len(moved.evidence) == 5
    fair = finished(swap_drafts(Subject(name="run"), own, made, [answers(half)] * 2, {}, seed=0))
    assert not any(each.found for each in fair)
