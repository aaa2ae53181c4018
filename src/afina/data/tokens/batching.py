"""Texts become tokens once, and tokens become batches of similar length."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from afina.data.tokens.packing import pack
from afina.errors import UsageError
from afina.whole_file import whole_file

if TYPE_CHECKING:
    import torch

    from afina.data.rows import Rows

__all__ = [
    "IGNORED",
    "WIDTH_STEP",
    "Batch",
    "Tokens",
    "collate",
    "epoch_batches",
    "evaluation_batches",
    "load_tokens",
    "padded_width",
    "save_tokens",
    "tokenize",
    "tokenize_answers",
    "write_arrays",
]

IGNORED = -100
"""In targets: nothing is learned here."""

_COUNTS = ("cut", "turns", "endless")

_BUCKETS = 50
"""Batches whose rows are sorted by length together: enough to leave little padding, few enough to stay shuffled."""

WIDTH_STEP = 8
"""Batches are this many tokens wide, or a multiple: each width that a CPU's matrix library meets costs it several
milliseconds and megabytes of prepared code, and with every width a text can have, it forgets them as fast as it makes
them (benchmarks/lora_speed.py: a quarter more examples a second, half a gigabyte less)."""


@dataclass(frozen=True)
class Tokens:
    """Tokenised rows of one split, end to end: row i is `ids[offsets[i]:offsets[i + 1]]`.

    Of images (N, C, H, W) and sound (N, bins, frames) row i is `ids[i]`, and the offsets count patches or frames. A
    question with `choices` answers is that many such sequences, one after another.
    """

    ids: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    segments: np.ndarray | None = None
    """Which of two sentences a token belongs to, for models that ask."""
    cut: int = 0
    """Texts that were longer than the limit."""
    choices: int = 1
    answers: np.ndarray | None = None
    """Of each sequence, how many of its last tokens are the answer; 0 where a question has fewer than `choices`."""
    targets: np.ndarray | None = None
    """As long as `ids`: what the model's output at each token is to be, `IGNORED` where nothing is trained."""
    turns: int = 0
    """Texts or answers that there are to write, in all rows."""
    endless: int = 0
    """Those of them whose end was cut off."""

    @property
    def by_word(self) -> bool:
        """Return whether every word has a label, not every row: `labels` is then (N, W), `IGNORED` behind a row's words.

        Of rows that have several labels they are (N, K) too, and there are no targets.
        """
        return self.labels.ndim == 2 and self.targets is not None

    def output_labels(self) -> np.ndarray:
        """Return the labels of all outputs, (M,): of the words in order where words have them, or of the rows."""
        return self.targets[self.targets != IGNORED] if self.by_word and self.targets is not None else self.labels

    def __len__(self) -> int:
        return (len(self.offsets) - 1) // self.choices

    @property
    def lengths(self) -> np.ndarray:
        """Return the tokens of each row, (N,); of its longest sequence where there are several."""
        lengths: np.ndarray = np.diff(self.offsets).reshape(-1, self.choices).max(axis=1)
        return lengths

    def lengths_of(self, sequences: np.ndarray) -> np.ndarray:
        """Return the tokens of these sequences; `lengths` looks at all of them, which a step has no time for."""
        lengths: np.ndarray = self.offsets[sequences + 1] - self.offsets[sequences]
        return lengths

    @cached_property
    def trained(self) -> np.ndarray:
        """Return the terms of each row's loss, (N,): its targets, or one where the row has one label."""
        if self.targets is None:
            return np.ones(len(self), dtype=np.int64)
        before = np.concatenate([[0], np.cumsum(self.targets != IGNORED)])
        counts: np.ndarray = np.diff(before[self.offsets]).reshape(-1, self.choices).sum(axis=1)
        return counts

    def sequences(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers of the sequences of these rows."""
        return (rows[:, None] * self.choices + np.arange(self.choices)).reshape(-1)

    @property
    def inputs(self) -> str:
        """Return the inputs by the names that models call them."""
        return {1: "input_ids", 3: "input_features", 4: "pixel_values"}[self.ids.ndim]

    def take(self, rows: np.ndarray) -> "Tokens":
        """Return only these rows, in this order."""
        if self.ids.ndim > 1:
            return Tokens(self.ids[rows], np.concatenate([[0], np.cumsum(self.lengths[rows])]), self.labels[rows])
        own = self.sequences(rows)
        pieces = [slice(self.offsets[index], self.offsets[index + 1]) for index in own]
        segments = None if self.segments is None else np.concatenate([self.segments[piece] for piece in pieces])
        targets = None if self.targets is None else np.concatenate([self.targets[piece] for piece in pieces])
        offsets = np.concatenate([[0], np.cumsum(np.diff(self.offsets)[own])])
        answers = None if self.answers is None else self.answers[own]
        ids = np.concatenate([self.ids[piece] for piece in pieces])
        return Tokens(ids, offsets, self.labels[rows], segments, choices=self.choices, answers=answers, targets=targets)


@dataclass(frozen=True)
class Batch:
    """Model inputs (B, T) of one or several pieces, with what is each piece's own."""

    inputs: "Mapping[str, torch.Tensor]"
    labels: "list[torch.Tensor]"
    """Of rows (B,), or where words have labels of tokens (B, T), `IGNORED` at the others."""
    tokens: list[int]
    """Real ones, counted on the host."""
    slices: list[slice]
    """Where in B a piece's sequences are."""


def tokenize(tokenizer: Any, rows: "Rows", max_length: int) -> Tokens:
    """Tokenise all rows; texts longer than `max_length` tokens are cut (of a pair the longer first) and counted."""
    uses_segments = "token_type_ids" in tokenizer.model_input_names
    ids: list[np.ndarray] = []
    segments: list[np.ndarray] = []
    cut = 0
    for start in range(0, len(rows), 5000):
        part = slice(start, start + 5000)
        pairs = (rows.text_pair[part],) if rows.text_pair is not None else ()
        encoded = tokenizer(rows.text[part], *pairs, truncation=True, max_length=max_length, padding=False)
        for encoding in encoded.encodings:
            # A tokenizer that adds no marks makes nothing of a blank text; one token stands for it.
            own = encoding.ids or [tokenizer.pad_token_id]
            ids.append(np.array(own, dtype=np.int32))
            segments.append(np.array(encoding.type_ids or [0], dtype=np.int8))
            cut += bool(encoding.overflowing)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])])
    return Tokens(np.concatenate(ids), offsets, rows.label, np.concatenate(segments) if uses_segments else None, cut)


def tokenize_answers(
    tokenizer: Any, rows: "Rows", answers: Sequence[Sequence[str]], max_length: int, *, choices: int, apart: bool
) -> Tokens:
    """Tokenise each row's text with each of its at most `choices` answers behind it; of what is too long, the text's
    start is cut.

    With `apart` (an encoder-decoder's) text and answer are tokenised as texts of their own; else the answer follows a space
    and is what the two together have more tokens than the text alone. Raises `UsageError` for an answer of no token.
    """
    ids: list[np.ndarray] = []
    counts: list[int] = []
    cut = 0
    end = [tokenizer.eos_token_id] if apart and tokenizer.eos_token_id is not None else []

    def encode(text: str, **settings: Any) -> list[int]:
        found: list[int] = tokenizer(text, **settings)["input_ids"]
        # What writes on must not have read an end.
        return found[:-1] if not apart and found and found[-1] == tokenizer.eos_token_id else found

    start = 0 if apart else len(encode(""))  # marks that stay where a text's start is cut
    for number, (text, own) in enumerate(zip(rows.text, answers, strict=True), start=1):
        question = encode(text)
        for answer in own:
            plain = encode(answer, add_special_tokens=False) if apart else encode(f"{text} {answer}")[len(question) :]
            said, context = plain + end, question or [tokenizer.pad_token_id]
            if not plain or len(said) >= max_length:
                problem = f"fills all {max_length} tokens" if plain else "is no token of the model"
                raise UsageError(f"The answer {answer!r} to row {number} {problem}; change it, or max_length.")
            room = max_length - len(said)
            cut += len(context) > room
            if len(context) > room:
                context = context[:start] + context[len(context) - room + start :]
            ids.append(np.array(context + said, dtype=np.int32))
            counts.append(len(said))
        missing = choices - len(own)
        ids += [np.array([tokenizer.pad_token_id], dtype=np.int32)] * missing
        counts += [0] * missing
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])])
    return Tokens(np.concatenate(ids), offsets, rows.label, None, cut, choices, np.array(counts, dtype=np.int32))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write one .npz file, whole or not at all."""
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def save_tokens(path: Path, splits: Mapping[str, Tokens]) -> None:
    """Write tokenised splits to one .npz file, atomically."""
    arrays: dict[str, np.ndarray] = {}
    for name, tokens in splits.items():
        arrays |= {f"{name}.ids": tokens.ids, f"{name}.offsets": tokens.offsets, f"{name}.labels": tokens.labels}
        if tokens.segments is not None:
            arrays[f"{name}.segments"] = tokens.segments
        if tokens.answers is not None:
            arrays[f"{name}.answers"] = tokens.answers
        if tokens.targets is not None:
            arrays[f"{name}.targets"] = tokens.targets
    counts = {name: {key: getattr(own, key) for key in _COUNTS} for name, own in splits.items()}
    arrays["counts"] = np.frombuffer(json.dumps(counts).encode(), dtype=np.uint8)
    write_arrays(path, arrays)


def load_tokens(path: Path) -> dict[str, Tokens]:
    """Read what `save_tokens` wrote."""
    # numpy leaves a file open that it opened itself and cannot read.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        counts = json.loads(file["counts"].tobytes())
        return {
            name: Tokens(
                file[f"{name}.ids"], file[f"{name}.offsets"], labels := file[f"{name}.labels"],
                file.get(f"{name}.segments"), choices=(len(file[f"{name}.offsets"]) - 1) // len(labels),
                answers=file.get(f"{name}.answers"), targets=file.get(f"{name}.targets"), **counts[name],
            )
            for name in counts
        }  # fmt: skip


def epoch_batches(lengths: np.ndarray, batch_size: int, *, seed: int, epoch: int) -> list[np.ndarray]:
    """Return the row indices of each batch of one epoch: shuffled, rows of a batch of similar length, longest first.

    The order depends on nothing but these arguments, so that every method sees the same batches and a resumed run goes
    on where it stopped. Seeds differ in their rows, but come to long and short ones at the same steps: so runs of several
    seeds make one batch with little padding. No row is left out; the last batch may be smaller.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    chunk = batch_size * _BUCKETS
    batches: list[np.ndarray] = []
    for start in range(0, len(order), chunk):
        rows = order[start : start + chunk]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    batches.sort(key=lambda rows: int(lengths[rows].max()))
    shuffled = [batches[i] for i in np.random.default_rng(epoch).permutation(len(batches))]
    # The longest first: if memory does not suffice, that shows at once, and what it takes is asked for only once.
    longest = max(range(len(shuffled)), key=lambda i: lengths[shuffled[i]].max(), default=0)
    return [shuffled.pop(longest), *shuffled] if shuffled else []


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
    one more text to the model. Data sets in one batch are all texts or all of the same shape, and are read by the same
    tokenizer.
    """
    import torch  # here, as data are read and checked before it is there

    first = pieces[0][0]
    labels = [torch.from_numpy(tokens.labels[rows]).to(device) for tokens, rows in pieces]
    counts = [len(rows) * tokens.choices for tokens, rows in pieces]
    own = [tokens.sequences(rows) for tokens, rows in pieces]
    lengths = np.concatenate([tokens.lengths_of(rows) for (tokens, _), rows in zip(pieces, own, strict=True)])
    real = [int(lengths[part].sum()) for part in _slices(counts)]
    if first.ids.ndim > 1:
        values = np.concatenate([tokens.ids[rows] for tokens, rows in pieces])
        return Batch({first.inputs: torch.from_numpy(values).to(device)}, labels, real, _slices(counts))
    width = padded_width(int(lengths.max()), most)
    at, start = np.arange(len(lengths)), np.zeros(len(lengths), dtype=np.int64)
    closer = _packed(lengths, counts, width) if packing else (at, start, counts)
    if packed := sum(closer[2]) < len(lengths):
        at, start, counts = closer
    shape = (sum(counts), width)
    ids = np.full(shape, pad, dtype=np.int64)
    segments = None if first.segments is None else np.zeros(shape, dtype=np.int64)
    targets = None if first.targets is None else np.full(shape, IGNORED, dtype=np.int64)
    place = 0
    for (tokens, _), rows in zip(pieces, own, strict=True):
        for index in rows:
            piece = slice(tokens.offsets[index], tokens.offsets[index + 1])
            here = at[place], slice(start[place], start[place] + lengths[place])
            ids[here] = tokens.ids[piece]
            if segments is not None and tokens.segments is not None:
                segments[here] = tokens.segments[piece]
            if targets is not None and tokens.targets is not None:
                targets[here] = tokens.targets[piece]
            place += 1
    inputs = {"input_ids": torch.from_numpy(ids).to(device)}
    if segments is not None:
        inputs["token_type_ids"] = torch.from_numpy(segments).to(device)
    if packed:
        inputs["position_ids"] = torch.from_numpy(_positions(at, start, lengths, shape)).to(device)
    elif (lengths != width).any():
        mask = np.arange(width) < lengths[:, None]
        inputs["attention_mask"] = torch.from_numpy(mask.astype(np.int64)).to(device)
    if first.answers is not None:
        # What the token before each token of the answer is to say: the answer's own, one place earlier.
        answers = np.concatenate([
            np.zeros(len(rows), dtype=np.int32) if tokens.answers is None else tokens.answers[rows]
            for (tokens, _), rows in zip(pieces, own, strict=True)
        ])  # fmt: skip
        places = np.arange(width) - (lengths - 1)[:, None]
        said = (places < 0) & (places >= -answers[:, None])
        targets = np.where(said, np.roll(ids, -1, axis=1), IGNORED)
    if targets is not None:
        inputs["targets"] = torch.from_numpy(targets).to(device)
    slices = _slices(counts)
    if first.by_word:
        # A word's label stands at its token.
        labels = [inputs["targets"][own] for own in slices]
    return Batch(inputs, labels, real, slices)


def _packed(lengths: np.ndarray, counts: Sequence[int], width: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return each sequence's row and place in a batch whose pieces have rows of their own, and the rows of each piece."""
    rows, places, needed = np.zeros_like(lengths), np.zeros_like(lengths), [0]
    for part in _slices(counts):
        own, places[part] = pack(lengths[part], width)
        rows[part] = own + sum(needed)
        needed.append(int(own.max(initial=-1)) + 1)
    return rows, places, needed[1:]


def _positions(at: np.ndarray, start: np.ndarray, lengths: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return (rows, width): from 0 in each sequence, and again in what pads a row."""
    begins = np.zeros(shape, dtype=np.int64)
    begins[at, start] = start
    ends = start + lengths
    padded = ends < shape[1]
    begins[at[padded], ends[padded]] = ends[padded]
    return np.arange(shape[1]) - np.maximum.accumulate(begins, axis=1)


def padded_width(longest: int, most: int) -> int:
    """Return how wide a batch is whose longest text has `longest` tokens, for a model that takes `most`."""
    return max(longest, min(most, -(-longest // WIDTH_STEP) * WIDTH_STEP))


def _slices(counts: Sequence[int]) -> list[slice]:
    stops = np.cumsum(counts).tolist()
    return [slice(stop - count, stop) for stop, count in zip(stops, counts, strict=True)]
