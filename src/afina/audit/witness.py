"""Ask a model about rows: how likely it finds them, and how it continues them from their beginning."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from afina.backbone.before_text import places_taken
from afina.data.rows import Rows
from afina.data.tokens.tokens import IGNORED, WrittenTokens
from afina.predictor.language_model import LanguageModel
from afina.predictor.predictor import Predictor
from afina.tasks.writing import WritingTask

__all__ = ["Sequences", "Start", "goes_on", "longest_read", "losses", "sequences", "starts"]


@dataclass(frozen=True)
class Sequences:
    """Holds rows as token sequences, the way training reads them; a row may give several sequences, or none."""

    tokens: WrittenTokens
    owner: np.ndarray
    """(sequences,) the number of the row that each sequence comes from."""
    rows: int


@dataclass(frozen=True)
class Start:
    """Holds the beginning of a row that the model is given, and the true continuation."""

    prompt: list[int]
    truth: list[int]


def longest_read(loaded: Predictor) -> int:
    """Return the longest sequence, in tokens, that both the adapter's training and the model's positions allow."""
    return min(loaded.record.max_length, loaded.backbone.context - places_taken(loaded.adapter))


def sequences(loaded: Predictor, rows: Rows, limit: int) -> Sequences:
    """Tokenize rows the way the adapter's task reads its training data."""
    tokenizer, task = loaded.tokenizer, loaded.task
    assert isinstance(task, WritingTask), "only what learned to write is asked"
    # Row by row: a row may give several sequences, and the count of each says whose they are.
    each = [task.tokens(tokenizer, rows.take(np.array([row])), limit) for row in range(len(rows))]
    lengths = np.concatenate([np.zeros(0, dtype=np.int64), *(np.diff(own.offsets) for own in each)])
    joined = WrittenTokens(
        np.concatenate([own.ids for own in each]), np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([own.labels for own in each]),
        targets=np.concatenate([own.targets for own in each]),
    )  # fmt: skip
    return Sequences(joined, np.repeat(np.arange(len(rows)), [len(own) for own in each]), len(rows))


def starts(loaded: Predictor, read: Sequences, prefix: int, most: int) -> dict[int, Start]:
    """Cut each row's longest learned text into a beginning and its continuation of at most `most` tokens, by row number.

    The beginning is all that stands before that text, and `prefix` tokens of the text itself (half of a short one). An
    encoder-decoder is given its source alone. Rows too short to be continued are left out.
    """
    apart, end = bool(loaded.backbone.anatomy.row.further), loaded.tokenizer.eos_token_id
    cut: dict[int, Start] = {}
    longest: dict[int, int] = {}
    tokens = read.tokens
    for place, row in enumerate(read.owner.tolist()):
        part = slice(tokens.offsets[place], tokens.offsets[place + 1])
        ids, targets = tokens.ids[part], tokens.targets[part]

        # (runs, 2): begin and end of each run of positions that have a target.
        edges = np.flatnonzero(np.diff(np.concatenate([[0], targets != IGNORED, [0]]))).reshape(-1, 2)
        # The longest run: a conversation has several turns that are learned, and short ones recite themselves.
        begin, stop = edges[np.diff(edges, axis=1)[:, 0].argmax()]
        text = targets[begin:stop].tolist()
        if text[-1] == end:  # the end token is no part of what could be recited
            text.pop()

        # An encoder-decoder's source alone asks for the target, of which nothing needs to be given.
        given = 0 if apart else min(prefix, len(text) // 2)
        if len(text) > max(longest.get(row, 0), given):
            longest[row] = len(text)
            cut[row] = Start([*ids[: begin + 1].tolist(), *text[:given]], text[given:][:most])
    return cut


def losses(model: LanguageModel, read: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's loss in nats, summed over its tokens (rows,), and its number of tokens (rows,)."""
    scores = model.score(read.tokens)
    totals, counts = np.zeros(read.rows), np.zeros(read.rows)
    for sums, column in zip((totals, counts), scores.T.astype(np.float64), strict=False):
        # `+=` would count once what several sequences of one row add.
        np.add.at(sums, read.owner, column)
    return totals, counts


def goes_on(model: LanguageModel, each: Sequence[Start]) -> list[list[int]]:
    """Write on greedily from each beginning, for at most as many tokens as truly follow."""
    written = model.go_on([own.prompt for own in each], [len(own.truth) for own in each])
    # Rows of like length were written together, some for longer than their own truth is.
    return [one.tokens[: len(own.truth)] for one, own in zip(written, each, strict=True)]
