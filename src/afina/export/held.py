"""Hold what a runtime gives beside the adapter: same tokens, same outputs, at several sizes of batch, padded.

What was asked and answered is kept in the folder (`probe.npz`), so that it can be asked again at any later time, without the
adapter.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.backbone.attachment import Attachment
from afina.backbone.branch import PromptBranch
from afina.backbone.given import moves_of
from afina.backbone.head import mean_pool
from afina.backbone.inputs import random_inputs
from afina.backbone.model_files import model_path
from afina.data.images import image_tokens
from afina.data.rows import Rows
from afina.data.tokens.as_text import AS_TEXT
from afina.data.tokens.batching import collate
from afina.data.tokens.tokens import IGNORED, LabelledTokens, Tokens
from afina.errors import AfinaError
from afina.export.graph import AttachedParts, headless
from afina.export.opened import OpenedExport, arrays
from afina.export.parity import Parity, parity_of
from afina.predictor.predictor import Predictor

__all__ = ["TEXTS", "check_tokens", "example_inputs", "hold", "longest", "probe_again"]

_ROWS, _LENGTHS = (1, 3, 8), (4, 9, 21)
_TOGETHER = 16
"""Rows of one length that are asked at once."""
TEXTS = (
    "Where is my parcel?", "Meu pedido não chegou: já faz três dias, e ninguém me responde à noite.", "3.14159 2,718 1e-9 №7",
    "great 🎉👩‍👩‍👧 naïve café", "<s> [CLS] </s> [SEP] <pad> <|endoftext|>", "one line\r\nanother\ttab\r\n",
    "", " ", "a " * 600,
)  # fmt: skip
"""Texts on which tokenizers part: of two languages, digits, emoji, marks, other line ends, nothing, too much."""
Batch = Mapping[str, Tensor]


def hold(tested: Predictor, exact: Predictor, opened: OpenedExport, rows: Rows | None) -> tuple[Parity, float | None]:
    """Compare an opened export with its adapter on these rows, one by one, and on batches of several sizes.

    Returns how near they are, and how much the adapter's branches change the outputs of those batches (None: it has
    none). What was asked is written into the folder. Raises `AfinaError` where a text has other tokens.
    """
    tokens: Tokens | None = None
    if rows is not None and rows.pixels is not None:
        tokens = image_tokens(rows, tested.backbone.config, model_path(tested.record.model))
    elif rows is not None:
        tokens = tested.tokens(rows)
        check_tokens(tested, opened)
    batches = list(_batches(tested))
    expected = [_inside(exact, batch) for batch in batches]
    given = [torch.from_numpy(opened.session.outputs(arrays(batch, opened.asked))) for batch in batches]
    _keep(opened.folder / opened.probe, batches, expected, given)
    apart = _furthest(exact, batches, expected, given)
    if tokens is None:
        flat = [torch.cat([value.flatten(0, -2) for value in values]) for values in (expected, given)]
        parity = parity_of(exact.task, None, flat[1], {"tested": flat[0], "exact": flat[0]})
    else:
        ours = {"tested": _unpadded(tested, tokens, opened.pad)}
        ours["exact"] = ours["tested"] if exact is tested else _unpadded(exact, tokens, opened.pad)
        parity = parity_of(exact.task, tokens, torch.from_numpy(opened.logits(tokens, batch_size=8)), ours)
    effect = None
    if exact.adapter.placed():
        bare = [_inside(exact, batch, bare=True) for batch in batches]
        effect = _furthest(exact, batches, expected, bare)
    return replace(parity, exact_difference=max(parity.exact_difference, apart)), effect


def _unpadded(loaded: Predictor, tokens: Tokens, pad: int) -> Tensor:
    """Return what the adapter gives for each row without padding: what the export has to give in any batch.

    Rows of one length go together; rows of several choices, which are of several lengths, go alone.
    """
    length = np.arange(len(tokens)) if tokens.choices > 1 else tokens.lengths
    outputs: list[Tensor | None] = [None] * len(tokens)
    for same in (np.flatnonzero(length == size) for size in np.unique(length)):
        for rows in np.split(same, range(_TOGETHER, len(same), _TOGETHER)):
            batch = collate([(tokens, rows)], pad, most=1)
            for row, output, label in zip(rows, _inside(loaded, batch.inputs), batch.labels[0], strict=True):
                outputs[row] = output[label != IGNORED] if tokens.by_word else output[None]
    return torch.cat(outputs)  # type: ignore[arg-type]  # each row has been asked


def _furthest(loaded: Predictor, batches: Sequence[Batch], first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    pairs = zip(batches, first, second, strict=True)
    return max(float(_apart(batch, one, other, loaded.task.tags)) for batch, one, other in pairs)


def _apart(batch: Batch, first: Tensor, second: Tensor, tags: bool) -> Tensor:
    """Return the largest difference of two outputs of a batch; a tag is looked at where there is a token."""
    difference = (first - second).abs()
    mask = batch.get("attention_mask")
    return (difference[mask.bool()] if tags and mask is not None else difference).max()


def _inside(loaded: Predictor, inputs: Batch, *, bare: bool = False) -> Tensor:
    """Return what the adapter gives for a batch in its task's unit, as a graph does; `bare`, its head on the base."""
    attachable: Any = AttachedParts(loaded.adapter.head) if bare else loaded.adapter
    embeds = loaded.task.embeds
    with (
        Attachment(loaded.backbone, [headless(loaded, attachable) if embeds else attachable]) as attached,
        torch.inference_mode(),
    ):
        if embeds:
            return mean_pool(attached.hidden(inputs)).float()
        return loaded.task.compared(attached(inputs)[0]).float()


def _batches(loaded: Predictor) -> Iterator[Batch]:
    """Yield batches of 1, 3 and 8 rows, of texts at four lengths, the rows of a batch of unlike length.

    None is made of a person's rows: what was asked is kept in the folder, which others are given.
    """
    if loaded.backbone.anatomy.row.inputs != "text":
        for rows in _ROWS:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(rows)
                yield random_inputs(loaded.backbone.config, rows, 16)
        return
    tokens, most = _own_tokens(loaded), longest(loaded)
    lengths = sorted({*(min(own, most) for own in _LENGTHS), min(most, 120)})
    for rows in _ROWS:
        for length in lengths:
            yield _padded(loaded, tokens, rows, length)


def longest(loaded: Predictor) -> int:
    """Return the most tokens of a text that the model has room for beside what an adapter puts before it."""
    branches = [branch for _, branch in loaded.adapter.placed()]
    before = max((own.length for own in branches if isinstance(own, PromptBranch)), default=0) + moves_of(branches)
    return min(loaded.longest, loaded.backbone.context - before)


def _own_tokens(loaded: Predictor) -> LabelledTokens:
    """Return the texts that have tokens in every tokenizer, every other one beside its neighbour as a pair."""
    texts = TEXTS[:6]
    read = [
        loaded.tokenizer(text, texts[index - 1] if index % 2 else None, return_token_type_ids=True)
        for index, text in enumerate(texts)
    ]
    ids = [np.array(own["input_ids"]) for own in read]
    typed = "token_type_ids" in loaded.tokenizer.model_input_names
    segments = np.concatenate([np.array(own["token_type_ids"], np.int8) for own in read]) if typed else None
    offsets = np.cumsum([0, *(len(own) for own in ids)])
    return LabelledTokens(np.concatenate(ids), offsets, np.zeros(len(ids), np.int64), segments=segments)


def _padded(loaded: Predictor, tokens: LabelledTokens, rows: int, length: int) -> Batch:
    """Return the first rows (B, T), each cut or repeated to a length of its own, with padding behind."""
    ids = np.full((rows, length), loaded.tokenizer.pad_token_id, dtype=np.int64)
    mask, segments = np.zeros_like(ids), np.zeros_like(ids)
    for row in range(rows):
        # Rows of a batch differ in length, so that padding and mask are tried.
        size = max(1, length - (row * length) // 9)
        piece = slice(*tokens.offsets[row % len(tokens) : row % len(tokens) + 2])
        ids[row, :size], mask[row, :size] = np.resize(tokens.ids[piece], size), 1
        if tokens.segments is not None:
            segments[row, :size] = np.resize(tokens.segments[piece], size)
    inputs = {"input_ids": ids, "attention_mask": mask}
    inputs |= {} if tokens.segments is None else {"token_type_ids": segments}
    return {name: torch.from_numpy(value) for name, value in inputs.items()}


def example_inputs(loaded: Predictor) -> Batch:
    """Return what a graph is traced on: several rows of several tokens, some of them padding."""
    if loaded.backbone.anatomy.row.inputs != "text":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return random_inputs(loaded.backbone.config, 3, 16)
    tokens = _own_tokens(loaded)
    return _padded(loaded, tokens, 3, min(11, longest(loaded)))


def check_tokens(tested: Predictor, opened: OpenedExport) -> None:
    """Hold the folder's tokenizer, alone and in transformers, beside the adapter's; raises `AfinaError` where they part."""
    from tokenizers import Tokenizer

    longest = opened.manifest.max_length
    alone = Tokenizer.from_file(str(opened.folder / "tokenizer.json"))
    alone.enable_truncation(longest, direction=opened.manifest.reading.get("truncation_side", "right"))
    alone.no_padding()
    for text, how in itertools.product(TEXTS, ({}, AS_TEXT)):
        ours, theirs = (
            own(text, truncation=True, max_length=longest, **how)["input_ids"]
            for own in (tested.tokenizer, opened.tokenizer)
        )
        alone.encode_special_tokens = bool(how)
        if not ours == theirs == alone.encode(text).ids:
            raise AfinaError(
                f"The tokenizer that was written has other tokens for {text[:40]!r} than the adapter's; nothing was written. "
                "Please report this."
            )


def _keep(path: Path, batches: Sequence[Batch], expected: Sequence[Tensor], given: Sequence[Tensor]) -> None:
    values: dict[str, np.ndarray] = {}
    for index, (batch, ours, theirs) in enumerate(zip(batches, expected, given, strict=True)):
        values |= {f"{index}.{name}": value.numpy() for name, value in batch.items()}
        values |= {f"{index}/adapter": ours.numpy(), f"{index}/export": theirs.numpy()}
    with path.open("wb") as file:
        np.savez_compressed(file, **values)  # type: ignore[arg-type]


def probe_again(opened: OpenedExport) -> tuple[float, float, int]:
    """Ask an export what it was asked when it was written.

    Returns the largest difference from what it gave then and from what the adapter gave, and how many batches there were.
    """
    with (opened.folder / opened.probe).open("rb") as file, np.load(file, allow_pickle=False) as stored:
        values = {name: stored[name] for name in stored}
    count = sum(name.endswith("/export") for name in values)
    apart = {"export": 0.0, "adapter": 0.0}
    for index in range(count):
        inputs = {
            name.partition(".")[2]: torch.from_numpy(value)
            for name, value in values.items() if name.startswith(f"{index}.")
        }  # fmt: skip
        outputs = torch.from_numpy(opened.session.outputs(arrays(inputs, opened.asked)))
        for kind in apart:
            before = torch.from_numpy(values[f"{index}/{kind}"])
            apart[kind] = max(apart[kind], float(_apart(inputs, before, outputs, opened.task.tags)))
    return apart["export"], apart["adapter"], count
