"""Tokenised rows are told apart by their type: each kind is kept, taken from and put into batches as what it is."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from afina.data.tokens.batching import collate
from afina.data.tokens.token_files import load_tokens, save_tokens
from afina.data.tokens.tokens import (
    IGNORED,
    KINDS,
    AnswerTokens,
    LabelledTokens,
    PassageTokens,
    Pixels,
    TaggedTokens,
    Tokens,
    WrittenTokens,
)

IDS = np.arange(5, 14, dtype=np.int32)
OFFSETS = np.array([0, 2, 6, 9])
SEGMENTS = np.array([0, 1, 0, 0, 1, 1, 0, 0, 1], dtype=np.int8)
TARGETS = np.array([6, IGNORED, 8, 9, IGNORED, IGNORED, IGNORED, 13, IGNORED], dtype=np.int32)
CLASSES = np.array([2, 0, 1])
ASKED = np.array([[2, 0, 1, 2], [0, 2, 0, -1], [1, 0, 1, 2]])
"""Of three rows, two passages that each brings and those that answer, of the three behind two questions."""
ROWS: dict[str, Tokens] = {
    "labelled": LabelledTokens(IDS, OFFSETS, CLASSES, 1, SEGMENTS),
    "tagged": TaggedTokens(IDS, OFFSETS, np.array([[1, IGNORED], [0, 2], [3, IGNORED]]), 1, SEGMENTS, targets=TARGETS),
    "answers": AnswerTokens(IDS, np.array([0, 2, 6, 9, 9]), CLASSES[:2], 1, answers=np.array([1, 3, 2, 0]), most=2),
    "written": WrittenTokens(IDS, OFFSETS, np.array([1.0, 2.0, 1.0]), 1, targets=TARGETS, turns=4, endless=1),
    "passages": PassageTokens(
        IDS, np.array([0, 1, 3, 4, 6, 9]), ASKED, 1, SEGMENTS, questions=np.array([0, 1, 0]), asked=2, most=2
    ),
    "pixels": Pixels(np.arange(48, dtype=np.float32).reshape(3, 1, 4, 4), np.array([0, 5, 10, 15]), CLASSES),
}


def same(first: Tokens, second: Tokens) -> None:
    assert type(first) is type(second)
    for field in fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        assert isinstance(one, np.ndarray) == isinstance(other, np.ndarray), field.name
        np.testing.assert_array_equal(one, other)


def test_there_are_rows_of_every_kind() -> None:
    assert {name: type(tokens) for name, tokens in ROWS.items()} == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_kept_as_what_it_is(kind: str, tmp_path: Path) -> None:
    save_tokens(tmp_path / "tokens.npz", {"train": ROWS[kind], "test": ROWS[kind].take(np.array([0]))})
    found = load_tokens(tmp_path / "tokens.npz")
    same(found["train"], ROWS[kind])
    assert len(found["test"]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_taken_are_those_rows(kind: str) -> None:
    tokens = ROWS[kind]
    order = np.arange(len(tokens))[::-1]
    back = tokens.take(order).take(order)
    for name, values in tokens.parts()[0].items():
        np.testing.assert_array_equal(getattr(back, name), values)
    assert back.cut == 0, "what was counted of all rows is not known of some"
    np.testing.assert_array_equal(tokens.take(order).trained, tokens.trained[order])
    whole, taken = (
        collate([(own, rows)], 1) for own, rows in ((tokens, order), (tokens.take(order), np.arange(len(tokens))))
    )
    assert whole.inputs.keys() == taken.inputs.keys()
    assert all(torch.equal(whole.inputs[name], taken.inputs[name]) for name in whole.inputs)
    assert (whole.targets is None and taken.targets is None) or torch.equal(whole.targets, taken.targets)
    assert all(torch.equal(one, other) for one, other in zip(whole.labels, taken.labels, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_learned_is_no_input_of_the_model(kind: str) -> None:
    """Targets stand beside what is read, where a language head says them; a word's tag is a label."""
    tokens = ROWS[kind]
    batch = collate([(tokens, np.arange(len(tokens)))], 1, most=4)
    assert batch.inputs.keys() <= {"input_ids", "token_type_ids", "attention_mask", "pixel_values"}
    assert (batch.targets is not None) == (kind in ("answers", "written"))
    if batch.targets is not None:
        said = batch.targets[batch.targets != IGNORED].tolist()
        assert said == ([6, 8, 9, 10, 12, 13] if kind == "answers" else [6, 8, 9, 13])
    if kind == "tagged":
        assert batch.labels[0].tolist() == [
            [6, IGNORED, IGNORED, IGNORED],
            [8, 9, IGNORED, IGNORED],
            [IGNORED, 13, IGNORED, IGNORED],
        ]
