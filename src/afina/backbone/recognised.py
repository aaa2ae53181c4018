"""Recognise a base model by its weights: by some numbers of each, whatever its files are called and however they are kept.

A study keeps digests of a model's files, as it has to notice any change in them. An adapter outlives them: its base is
renamed, saved in other parts or in half precision, and is the same base. So a few numbers of every weight are looked at in
the loaded model, which costs milliseconds however large it is. Bit for bit the same is the same; what is rounded otherwise
has to agree as far as its rounding lets it; of weights that are kept in codes (nf4, GPTQ) those that are not are looked at.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from afina.backbone.load import Backbone
from afina.backbone.model_files import BUILT_IN
from afina.ops.whole_tensor import whole

__all__ = ["is_other", "weight_print"]

_EACH, _KEPT_EACH, _KEPT = 16, 4, 48
"""Numbers of each weight that go into the digest; those that are kept themselves, of at most so many weights."""
_GOLDEN = 0.6180339887498949
_CODED = 0.25
"""Distance, relative to the numbers, up to which weights may be others where a file's codes rounded them (GGUF)."""
_SMALLEST = 1e-7
"""Step between the smallest numbers of half precision."""


def weight_print(backbone: Backbone) -> dict[str, Any]:
    """Return what a backbone's weights are told by, JSON-able: two digests, and some of the numbers."""
    numbers = _numbers(backbone)
    names = list(numbers)
    chosen = sorted({names[place] for place in np.linspace(0, len(names) - 1, min(_KEPT, len(names))).astype(int)})
    some = {name: [list(numbers[name][0]), _packed(numbers[name][1][:_KEPT_EACH])] for name in chosen}
    return {
        "weights": _numbers_digest(numbers),
        "tensors": _names_digest(numbers),
        "coded": _coded(backbone),
        "numbers": some,
    }


def is_other(known: Mapping[str, Any], backbone: Backbone) -> bool | None:
    """Return whether a backbone has other weights than those that were `known`; None where they have nothing in common.

    Raises `ValueError`, `TypeError` or `KeyError` for what is no print of weights.
    """
    now = _numbers(backbone)
    pairs = [
        (_unpacked(packed), now[name][1])
        for name, (shape, packed) in dict(known["numbers"]).items()
        if name in now and list(now[name][0]) == list(shape)
    ]
    if not pairs:
        return None
    before = np.concatenate([values for values, _ in pairs])
    here = np.concatenate([values[: len(own)] for own, values in pairs])
    if np.array_equal(before, here):
        # The rest is looked at where the same weights are there to be: in codes some of them are not.
        same_tensors = known["tensors"] == _names_digest(now)
        return bool(same_tensors and known["weights"] != _numbers_digest(now))
    if known["coded"] or _coded(backbone):
        return bool(np.linalg.norm(before - here) > _CODED * np.linalg.norm(before))
    steps = _rounding(before), _rounding(here)
    if steps[0] == steps[1]:
        return True
    allowed = 2 * max(steps) * np.maximum(np.abs(before), np.abs(here)) + _SMALLEST
    return bool((np.abs(before - here) > allowed).any())


def _numbers(backbone: Backbone) -> dict[str, tuple[tuple[int, ...], np.ndarray]]:
    """Return by name the shape and some numbers of each weight that is kept as numbers and comes from the model's files."""
    made_here = f"{backbone.pooler}." if backbone.pooler else None
    weights = {
        name: value
        for name, value in backbone.model.named_parameters()
        if value.is_floating_point() and value.dtype.itemsize >= 2 and value.numel()
        and not (made_here and name.startswith(made_here))
    }  # fmt: skip
    return {name: (tuple(weights[name].shape), _some(weights[name])) for name in sorted(weights)}


def _some(weight: Tensor) -> np.ndarray:
    """Return a few numbers of a weight, (`_EACH`,) or all where it has fewer, from all over it."""
    weight = whole(weight).detach()
    count, shares = weight.numel(), np.arange(1, _EACH + 1) * _GOLDEN % 1.0
    places = np.arange(count) if count <= _EACH else (shares * count).astype(np.int64)
    index = np.unravel_index(places, tuple(weight.shape) or (1,))
    # By index: to flatten a weight that is laid out otherwise would copy all of it.
    values = weight.reshape(1) if not weight.shape else weight[tuple(map(list, index))]
    return values.float().cpu().numpy()


def _rounding(values: np.ndarray) -> float:
    """Return the step, relative to a number, of the narrowest kind of number that holds all of these exactly."""
    bits = values.astype("<f4").view(np.uint32)
    if not (bits & 0xFFFF).any():
        return 2.0**-8  # bfloat16
    with np.errstate(over="ignore"):
        half = np.array_equal(values.astype(np.float16).astype(np.float32), values)
    return 2.0**-11 if half else 2.0**-24


def _coded(backbone: Backbone) -> bool:
    """Return whether the weights come from a file of codes, of which they are what those stand for."""
    name = backbone.name
    return (name in BUILT_IN and BUILT_IN[name].is_gguf) or name.lower().endswith(".gguf")


def _names_digest(numbers: Mapping[str, tuple[tuple[int, ...], np.ndarray]]) -> str:
    shapes = [[name, shape] for name, (shape, _) in numbers.items()]
    return hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:16]


def _numbers_digest(numbers: Mapping[str, tuple[tuple[int, ...], np.ndarray]]) -> str:
    digest = hashlib.sha256()
    for name, (shape, values) in numbers.items():
        digest.update(json.dumps([name, shape]).encode() + values.astype("<f4").tobytes())
    return digest.hexdigest()


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _unpacked(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4")
