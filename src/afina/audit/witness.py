"""A model that is asked what it makes of rows: how likely it finds them, and how it goes on from their beginning."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from afina.adapters.adapter import Adapter
from afina.backbone.attachment import Attachment
from afina.backbone.incremental import places_taken
from afina.backbone.load import Backbone
from afina.data.batching import IGNORED, Tokens, evaluation_batches
from afina.data.rows import Rows
from afina.generation.generate import Bare, Request, write
from afina.generation.settings import GenerationSettings
from afina.tasks.language import Language
from afina.train.evaluate import predict_logits
from afina.train.load import LoadedAdapter

__all__ = ["Sequences", "Start", "Witness", "longest_read", "sequences", "starts"]


@dataclass(frozen=True)
class Sequences:
    """Rows as the tokens that are learned of them; a row may be several sequences, or none."""

    tokens: Tokens
    owner: np.ndarray
    """(sequences,) the row of each."""
    rows: int


@dataclass(frozen=True)
class Start:
    """What is read of a row, and how it truly goes on."""

    prompt: list[int]
    truth: list[int]


def longest_read(loaded: LoadedAdapter) -> int:
    """Return the tokens of a sequence as the adapter was trained on, with its prompt and those of its base beside it."""
    return min(loaded.record.max_length, loaded.backbone.context - places_taken(loaded.adapter))


def sequences(loaded: LoadedAdapter, rows: Rows, limit: int) -> Sequences:
    """Return rows as the adapter's task learns them."""
    tokenizer, task = loaded.tokenizer, loaded.task
    assert isinstance(task, Language), "only what learned to write is asked"
    each = [task.tokens(tokenizer, rows.take(np.array([row])), limit) for row in range(len(rows))]
    lengths = np.concatenate([np.zeros(0, dtype=np.int64), *(np.diff(own.offsets) for own in each)])
    joined = Tokens(
        np.concatenate([own.ids for own in each]), np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([own.labels for own in each]),
        targets=np.concatenate([own.targets for own in each if own.targets is not None]),
    )  # fmt: skip
    return Sequences(joined, np.repeat(np.arange(len(rows)), [len(own) for own in each]), len(rows))


def starts(loaded: LoadedAdapter, read: Sequences, prefix: int, most: int) -> dict[int, Start]:
    """Return by row a beginning of the longest text that is learned of it and what follows, `most` tokens at the most.

    The beginning is all that stands before that text, and of it `prefix` tokens, or half where it is short. An
    encoder-decoder reads its source alone.
    """
    apart, end = bool(loaded.backbone.anatomy.row.further), loaded.tokenizer.eos_token_id
    found: dict[int, Start] = {}
    longest: dict[int, int] = {}
    tokens = read.tokens
    assert tokens.targets is not None
    for place, row in enumerate(read.owner.tolist()):
        part = slice(tokens.offsets[place], tokens.offsets[place + 1])
        ids, targets = tokens.ids[part], tokens.targets[part]
        # (runs, 2): where the places with a target begin and end.
        edges = np.flatnonzero(np.diff(np.concatenate([[0], targets != IGNORED, [0]]))).reshape(-1, 2)
        begin, stop = edges[np.diff(edges, axis=1)[:, 0].argmax()]
        said = targets[begin:stop].tolist()
        if said[-1] == end:
            said.pop()
        given = 0 if apart else min(prefix, len(said) // 2)
        if len(said) > max(longest.get(row, 0), given):
            longest[row] = len(said)
            found[row] = Start([*ids[: begin + 1].tolist(), *said[:given]], said[given:][:most])
    return found


@dataclass(frozen=True)
class Witness:
    """A backbone with an adapter on it, or bare."""

    backbone: Backbone
    adapter: Adapter | None
    batch_size: int

    def losses(self, read: Sequences) -> tuple[np.ndarray, np.ndarray]:
        """Return of each row the loss in nats summed over its tokens, (rows,), and how many they are, (rows,)."""
        with Attachment(self.backbone, [self.adapter or Bare(self.backbone, outputs=0)]) as attached:
            (scores,) = predict_logits(attached, read.tokens, batch_size=self.batch_size)
        found = np.zeros((2, read.rows))
        for own, column in zip(found, scores.T.astype(np.float64), strict=False):
            np.add.at(own, read.owner, column)
        return found[0], found[1]

    def goes_on(self, each: Sequence[Start]) -> list[list[int]]:
        """Return the tokens that it writes, greedily, after each beginning: as many as truly follow, or fewer."""
        written: list[list[int]] = [[] for _ in each]
        for rows in evaluation_batches(np.array([len(own.prompt) + len(own.truth) for own in each]), self.batch_size):
            requests = [Request(each[row].prompt, self.adapter, number=int(row)) for row in rows]
            settings = GenerationSettings(max_new_tokens=max(len(each[row].truth) for row in rows))
            for piece in write(self.backbone, requests, settings):
                if piece.written is not None:
                    written[piece.number] = piece.written.tokens[: len(each[piece.number].truth)]
        return written
