"""Tokens become batches of similar length: in which order, and how each is put together."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from afina.data.tokens.packing import pack
from afina.data.tokens.tokens import IGNORED, AnswerTokens, TextTokens, Tokens

if TYPE_CHECKING:
    import torch

__all__ = [
    "WIDTH_STEP",
    "Batch",
    "balanced_batches",
    "collate",
    "epoch_batches",
    "evaluation_batches",
    "padded_width",
    "steps_per_epoch",
]

_BUCKETS = 50
"""Batches whose rows are sorted by length together: enough to leave little padding, few enough to stay shuffled."""

WIDTH_STEP = 8
"""Batches are this many tokens wide, or a multiple: each width that a CPU's matrix library meets costs it several
milliseconds and megabytes of prepared code, and with every width a text can have, it forgets them as fast as it makes
them (benchmarks/lora_speed.py: a quarter more examples a second, half a gigabyte less)."""


@dataclass(frozen=True)
class Batch:
    """Holds what a model reads (B, T) of one or several pieces, with what is each piece's own."""

    inputs: "Mapping[str, torch.Tensor]"
    """Keyword arguments of the model's call."""
    labels: "list[torch.Tensor]"
    """Labels of each piece: (B,) of rows, or (B, T) of tokens with `IGNORED` where a token has none."""
    tokens: list[int]
    """Real ones, counted on the host."""
    slices: list[slice]
    """The rows of B that hold each piece's sequences."""
    targets: "torch.Tensor | None" = None
    """(B, T): what a language head is to say at each token, `IGNORED` where nothing; None for other heads."""
    known: "torch.Tensor | None" = None
    """States of the lowest layers that need not be computed again (backbone/trunk.py)."""
    order: list[np.ndarray] = field(default_factory=list)
    """Numbers of each piece's sequences in the order in which they stand, row by row."""


def epoch_batches(lengths: np.ndarray, batch_size: int, *, seed: int, epoch: int) -> list[np.ndarray]:
    """Return the row indices of each batch of one epoch: shuffled, rows of a batch of similar length, longest first.

    The order depends on nothing but these arguments, so that every method sees the same batches and a resumed run goes
    on where it stopped. Seeds differ in their rows, but come to long and short ones at the same steps: so runs of several
    seeds make one batch with little padding. No row is left out; the last batch may be smaller.
    """
    # Rows by seed and epoch, the order of batches by the epoch alone: at the same step all seeds' batches are about as
    # wide.
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    chunk = batch_size * _BUCKETS
    batches: list[np.ndarray] = []
    for start in range(0, len(order), chunk):
        rows = order[start : start + chunk]

        # Sorted within a chunk only: batches have little padding, and rows still meet others in every epoch.
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    batches.sort(key=lambda rows: int(lengths[rows].max()))
    shuffled = [batches[i] for i in np.random.default_rng(epoch).permutation(len(batches))]

    # The longest first: if memory does not suffice, that shows at once, and what it takes is asked for only once.
    longest = max(range(len(shuffled)), key=lambda i: lengths[shuffled[i]].max(), default=0)
    return [shuffled.pop(longest), *shuffled] if shuffled else []


def balanced_batches(
    lengths: np.ndarray, cells: np.ndarray, batch_size: int, *, seed: int, epoch: int
) -> list[np.ndarray]:
    """Return batches as `epoch_batches` does, as many, in which rows of all cells (N,) from 0 on come equally often.

    Rows of no cell (-1) come once each. Rows of a cell are taken in an order that goes on from epoch to epoch, so that none
    of a large one is left out for good.
    """
    random = np.random.default_rng([seed, epoch])
    inside = [np.flatnonzero(cells == cell) for cell in np.unique(cells[cells >= 0])]
    places = int((cells >= 0).sum())
    # What is left over goes to other cells in each epoch.
    extra = np.roll(np.arange(len(inside)), epoch) < places % max(1, len(inside))
    drawn = [np.flatnonzero(cells < 0)]
    for rows, more in zip(inside, extra, strict=True):
        count = places // len(inside) + int(more)
        order = np.random.default_rng(seed).permutation(rows)
        start = epoch * (places // len(inside))
        drawn.append(order[(start + np.arange(count)) % len(order)])
    whole = _dealt([random.permutation(rows) for rows in drawn])
    batches: list[np.ndarray] = []
    for start in range(0, len(whole), chunk := batch_size * _BUCKETS):
        rows = whole[start : start + chunk]
        parts = [rows[cells[rows] == cell] for cell in np.unique(cells[rows])]

        # Of each cell by length, and all cells in step: a batch has rows of all of them, and of like length.
        rows = _dealt([part[np.argsort(lengths[part], kind="stable")] for part in parts])
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]


def _dealt(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the rows of all parts, each part's in its order, so that any stretch has of each in proportion."""
    place = np.concatenate([(np.arange(len(part)) + 0.5) / max(1, len(part)) for part in parts])
    dealt: np.ndarray = np.concatenate(parts)[np.argsort(place, kind="stable")]
    return dealt


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return the number of batches that `epoch_batches` makes."""
    chunk = batch_size * _BUCKETS
    return sum(math.ceil(min(chunk, rows - start) / batch_size) for start in range(0, rows, chunk))


def evaluation_batches(lengths: np.ndarray, batch_size: int, *, tokens: int = 4096) -> Iterator[np.ndarray]:
    """Yield row indices sorted by length, at most `batch_size` rows and about `tokens` tokens a batch."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = min(start + batch_size, len(order))
        # Rows are sorted, so the last is the longest and decides the padding of all.
        while stop - start > 1 and lengths[order[stop - 1]] * (stop - start) > tokens:
            stop = start + (stop - start) // 2
        yield order[start:stop]
        start = stop


def collate(
    pieces: Sequence[tuple[Tokens, np.ndarray]],
    pad: int,
    device: "torch.device | str" = "cpu",
    *,
    most: int = 1 << 30,
    packing: bool = False,
) -> Batch:
    """Make one batch of rows of one or several data sets, padded on the right to little over the longest of all.

    It is never wider than `most` tokens. Rows without padding need no mask. With `packing` short sequences stand side by
    side in a row where that makes fewer rows, each with positions from 0; there is no mask then, and what pads a row is
    one more text to the model. Data sets in one batch are all of one kind, and are read by the same tokenizer.
    """
    import torch  # here, as data are read and checked before it is there

    texts = [(tokens, tokens.sequences(rows)) for tokens, rows in pieces if isinstance(tokens, TextTokens)]
    labels = [torch.from_numpy(tokens.labels[rows]).to(device) for tokens, rows in pieces]

    # Images are all of one size: nothing to pad.
    if not texts:
        counts = [len(rows) for _, rows in pieces]
        lengths = [int(tokens.lengths_of(rows).sum()) for tokens, rows in pieces]
        # Concatenated, as rows of several adapters go through the model together.
        pixels = np.concatenate([tokens.ids[rows] for tokens, rows in pieces])
        each = [rows for _, rows in pieces]
        return Batch(
            {"pixel_values": torch.from_numpy(pixels).to(device)}, labels, lengths, _slices(counts), order=each
        )
    placed = _placed(texts, most, packing=packing)
    columns = _filled(texts, placed, pad)
    inputs = {"input_ids": torch.from_numpy(columns["ids"]).to(device)}
    if "segments" in columns:
        inputs["token_type_ids"] = torch.from_numpy(columns["segments"]).to(device)
    if placed.packed:
        inputs["position_ids"] = torch.from_numpy(_positions(placed)).to(device)
    # Without padding there is no mask, which lets attention take its fast way.
    elif (placed.lengths != placed.width).any():
        mask = np.arange(placed.width) < placed.lengths[:, None]
        inputs["attention_mask"] = torch.from_numpy(mask.astype(np.int64)).to(device)
    targets = _said(texts, columns["ids"], placed) if isinstance(texts[0][0], AnswerTokens) else columns.get("targets")
    batch = Batch(inputs, labels, placed.tokens, placed.slices, order=_order(texts, placed))
    if targets is None:
        return batch
    there = torch.from_numpy(targets).to(device)
    if texts[0][0].by_word:
        # A word's label stands at its token, and is nothing that a language head would say.
        return replace(batch, labels=[there[own] for own in placed.slices])
    return replace(batch, targets=there)


@dataclass(frozen=True)
class _Placed:
    """Says where each sequence of a batch stands: in row `at`, from `start` on."""

    lengths: np.ndarray
    at: np.ndarray
    start: np.ndarray
    width: int
    packed: bool
    tokens: list[int]
    """Real ones of each piece."""
    slices: list[slice]
    """The rows of each piece."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.slices[-1].stop, self.width


def _order(texts: Sequence[tuple[TextTokens, np.ndarray]], placed: _Placed) -> list[np.ndarray]:
    """Return each piece's sequences as they stand: those that share a row are packed in another order than they came in."""
    parts = _slices([len(sequences) for _, sequences in texts])
    return [
        sequences[np.lexsort((placed.start[part], placed.at[part]))] if placed.packed else sequences
        for (_, sequences), part in zip(texts, parts, strict=True)
    ]


def _placed(texts: Sequence[tuple[TextTokens, np.ndarray]], most: int, *, packing: bool) -> _Placed:
    """Give each sequence a row, or with `packing` a place in one where that makes fewer rows."""
    lengths = np.concatenate([tokens.lengths_of(sequences) for tokens, sequences in texts])
    counts = [len(sequences) for _, sequences in texts]
    real = [int(lengths[part].sum()) for part in _slices(counts)]
    width = padded_width(int(lengths.max()), most)
    if packing:
        at, start, rows = _packed(lengths, counts, width)
        # Only where it saves rows: a packed batch has no mask, and costs attention what a full one does.
        if sum(rows) < len(lengths):
            return _Placed(lengths, at, start, width, True, real, _slices(rows))
    at, start = np.arange(len(lengths)), np.zeros(len(lengths), dtype=np.int64)
    return _Placed(lengths, at, start, width, False, real, _slices(counts))


def _filled(texts: Sequence[tuple[TextTokens, np.ndarray]], placed: _Placed, pad: int) -> dict[str, np.ndarray]:
    """Return what there is of each token, (B, T) by column; where no token stands, its padding."""
    padding = {"ids": pad, "segments": 0, "targets": IGNORED}
    # Filled first: what no token overwrites is padding.
    made = {name: np.full(placed.shape, padding[name], dtype=np.int64) for name in texts[0][0].columns()}
    place = 0
    for tokens, sequences in texts:
        given = [(made[name], values) for name, values in tokens.columns().items() if name in made]
        for index in sequences:
            piece = slice(tokens.offsets[index], tokens.offsets[index + 1])
            start = placed.start[place]
            here = placed.at[place], slice(start, start + placed.lengths[place])
            for into, values in given:
                into[here] = values[piece]
            place += 1
    return made


def _said(texts: Sequence[tuple[TextTokens, np.ndarray]], ids: np.ndarray, placed: _Placed) -> np.ndarray:
    """Return what the token before each token of an answer is to say: the answer's own, one place earlier."""
    counts = [tokens.answers[sequences] for tokens, sequences in texts if isinstance(tokens, AnswerTokens)]
    places = np.arange(placed.width) - (placed.lengths - 1)[:, None]
    # The answer's own tokens alone, and not the end of what stands before it.
    trained = (places < 0) & (places >= -np.concatenate(counts)[:, None])
    return np.where(trained, np.roll(ids, -1, axis=1), IGNORED)


def _packed(lengths: np.ndarray, counts: Sequence[int], width: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return each sequence's row and place in a batch whose pieces have rows of their own, and the rows of each piece."""
    rows, places, needed = np.zeros_like(lengths), np.zeros_like(lengths), [0]
    for part in _slices(counts):
        starts, places[part] = pack(lengths[part], width)
        # Rows of a piece begin behind those of the pieces before: each adapter has its own.
        rows[part] = starts + sum(needed)
        needed.append(int(starts.max(initial=-1)) + 1)
    return rows, places, needed[1:]


def _positions(placed: _Placed) -> np.ndarray:
    """Return (B, T): from 0 in each sequence, and again in what pads a row."""
    begins = np.zeros(placed.shape, dtype=np.int64)
    begins[placed.at, placed.start] = placed.start
    ends = placed.start + placed.lengths
    padded = ends < placed.width
    # A new count where padding begins, as it is one more text to the model.
    begins[placed.at[padded], ends[padded]] = ends[padded]
    return np.arange(placed.width) - np.maximum.accumulate(begins, axis=1)


def padded_width(longest: int, most: int) -> int:
    """Return how wide a batch is whose longest text has `longest` tokens, for a model that takes `most`."""
    # Not beyond what the model takes, unless a text itself is as long.
    return max(longest, min(most, -(-longest // WIDTH_STEP) * WIDTH_STEP))


def _slices(counts: Sequence[int]) -> list[slice]:
    stops = np.cumsum(counts).tolist()
    return [slice(stop - count, stop) for stop, count in zip(stops, counts, strict=True)]
