"""Two models' opinions of the same tokens: how far apart they are, in logits and as distributions."""

import contextlib
import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from afina.export.gguf.file import rounded, tensor_types
from afina.export.gguf.settings import GgufForm

__all__ = ["divergence", "far", "logits", "reread", "round_like", "samples"]

ROWS, LENGTH = 8, 64
"""Rows that are compared at every token, and how many tokens of each."""


def samples(tokens: Any) -> list[list[int]]:
    """Return the beginnings of some rows, the longest first among those that come first."""
    offsets = tokens.offsets
    # Beginnings, as a fault of positions or masks shows early, and each token is another pass in llama.cpp.
    rows = [tokens.ids[start:end].tolist()[:LENGTH] for start, end in pairwise(offsets)]
    return sorted((row for row in rows[: 4 * ROWS] if row), key=len, reverse=True)[:ROWS]


def logits(model: Any, ids: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return a transformers model's logits (T, V) of each row."""
    with torch.inference_mode():
        return [model(input_ids=torch.tensor([list(row)])).logits[0].float() for row in ids]


def far(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> tuple[float, float]:
    """Return the largest difference, and how large the numbers are."""
    pairs = zip(ours, theirs, strict=True)
    return max(float((own - other).abs().max()) for own, other in pairs), max(float(own.abs().max()) for own in ours)


def divergence(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """Return the mean Kullback-Leibler divergence of theirs from ours, in nats a token."""
    total, count = 0.0, 0
    for one, other in zip(ours, theirs, strict=True):
        # In float64: the divergence of nearly equal distributions is a difference of nearly equal numbers.
        first, second = one.double().log_softmax(-1), other.double().log_softmax(-1)
        total += float((first.exp() * (first - second)).sum())
        count += len(one)
    # Rounding may leave a sum a hair below zero.
    return max(total / max(count, 1), 0.0)


def round_like(
    model: Any, form: GgufForm, kind: str, shapes: Mapping[str, tuple[int, ...]], names: Mapping[str, str]
) -> None:
    """Change a model's weights in place to what comes back from a file of this type.

    Rows keep their order here, whatever the file does with it: only what is rounded together counts.
    """
    kinds = tensor_types(form, shapes, kind)
    for name, value in _own(model, shapes):
        # Blocks are rounded along rows as the file has them, so a weight is turned first where the file turns it.
        turned = names[name].split(".")[-2] in form.row.transposed and value.ndim > 1
        given = value.T if turned else value
        back = rounded(given, kinds[names[name]])
        with torch.no_grad():
            value.copy_(back.T if turned else back)


def _own(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, Tensor]]:
    values = model.state_dict()
    yield from ((name, values[name]) for name in shapes)


def reread(path: Any) -> Any:
    """Return the model of a file as transformers' own reader of GGUF has it, its settings as ours reads them."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from afina.backbone.gguf_file import read_gguf
    from afina.backbone.gguf_rows import gguf_row, model_settings

    file = read_gguf(path)
    marks = {f"{name}_token_id": file.settings.get(f"tokenizer.ggml.{key}_token_id")
             for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))}  # fmt: skip
    config = AutoConfig.for_model(gguf_row(file).model_type, **marks, **model_settings(file))
    with _no_bar():
        model = AutoModelForCausalLM.from_pretrained(
            str(path.parent), gguf_file=path.name, config=config, dtype=torch.float32, local_files_only=True
        )
    return model.eval()


@contextlib.contextmanager
def _no_bar() -> Iterator[None]:
    """Keep transformers' bar of this one function off the terminal, and nothing else that is written there."""
    held = io.StringIO()
    try:
        with contextlib.redirect_stderr(held):
            yield
    finally:
        other = [
            # What others wrote to it meanwhile goes where it was meant for.
            line
            for line in re.split(r"[\r\n]+", held.getvalue())
            if line.strip() and "de-quantizing GGUF" not in line
        ]
        sys.stderr.write("".join(f"{line}\n" for line in other))
