"""A cell of answers gives the same answers to whoever reads it, and none where it is empty in any form."""

from typing import Any

import pytest

from afina.retrieval.answers_given import answers_in


@pytest.mark.parametrize(
    "value",
    [
        None,
        float("nan"),
        "",
        "  ",
        "[]",
        "{}",
        "['', '']",
        '{"text": [], "answer_start": []}',
        [None],
        {"text": []},
        {},
    ],
)
def test_an_empty_cell_holds_no_answer(value: Any) -> None:
    assert answers_in(value) == ()


@pytest.mark.parametrize(
    ("value", "answers"),
    [
        (" ten reais ", ("ten reais",)), ("['a', 'b', 'a']", ("a", "b")), (["a", " a", None], ("a",)), (3, ("3",)),
        (0, ("0",)), ([{"text": ["x"]}, ["y"]], ("x", "y")), ({"text": "['x', 'y']"}, ("x", "y")),
        ({"text": ["x"], "answer_start": [4]}, ("x",)), ("[sic] he said", ("[sic] he said",)), ("nan", ("nan",)),
    ],
)  # fmt: skip
def test_a_cell_holds_each_of_its_answers_once(value: Any, answers: tuple[str, ...]) -> None:
    assert answers_in(value) == answers
