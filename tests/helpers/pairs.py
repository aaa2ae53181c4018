"""Pairs of a method and an architecture: which are tested, and what their tests build, put in and compare.

A test marked `@pytest.mark.pairs(METHODS, ARCHITECTURES)` gets `name` and `family` of a covering set: every method on the
architectures of `COVERING_FAMILIES` (or those that it names as `fully`), every architecture with the methods of
`COVERING_METHODS`. `make conformance` takes the whole product. What the set still catches is shown by `tests/mutations.py`.
"""

from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from afina.adapters.adapter import Adapter
from afina.backbone.attachment import Attachment
from afina.backbone.load import Backbone
from afina.methods.base import make_method, registry
from families import load_family

COVERING_FAMILIES = ("bert", "deberta-v2", "gpt2", "gemma2", "t5", "vit")
"""One of each kind: absolute and relative positions, a fused projection kept transposed, fewer key heads than query heads
with windows and capped scores, an encoder with a decoder, and pixels."""
COVERING_TEXT = ("bert", "albert", "modernbert", "deberta-v2", "gpt2", "gemma2", "t5", "bart")
"""Architectures of texts for what is done layer by layer: layers that are one, windows and two halves are among them."""
COVERING_LAYOUTS = (*COVERING_TEXT, "phi3", "vit", "whisper")
"""And for what goes by the names and forms of weights: another fused projection, pixels and sound."""
COVERING_METHODS = ("houlsby", "lora", "prefix")
"""One for each kind of site: hidden states, linear layers, attention."""

TRAINED = [name for name, cls in sorted(registry().items()) if not cls.gradient_free]
FROZEN = [name for name in TRAINED if not registry()[name].owns_backbone]
Loader = Callable[[str], Path]


def covering(
    methods: Iterable[str], families: Iterable[str], *, fully: Iterable[str] = COVERING_FAMILIES,
    unless: Callable[[str, str], bool] = lambda name, family: False, whole: bool = False,
) -> list[tuple[str, str]]:  # fmt: skip
    """Return the pairs to test of the product of `methods` and `families`, or the whole product.

    Every method comes with the families of `fully`; `unless` says which pairs cannot be.
    """
    return [
        (name, family)
        for family, name in product(families, methods)
        if (whole or name in COVERING_METHODS or family in fully) and not unless(name, family)
    ]


def make(name: str, **settings: Any) -> Any:
    # A larger scale at every linear layer of a model this small makes rounding large.
    return make_method(name, settings, {"rank": 3, "alpha": 4.0})


def load(family_folder: Loader, family: str) -> Backbone:
    return load_family(family_folder(family))


def batch(family: str = "", pad: int = 0, side: str = "right") -> dict[str, Tensor]:
    """Three rows: texts of 9, 6 and 4 tokens that end in an end mark, padded on one side; or images, or sound."""
    torch.manual_seed(1)
    if family == "vit":
        return {"pixel_values": torch.randn(3, 1, 8, 8)}
    if family == "whisper":
        return {"input_features": torch.randn(3, 8, 20)}
    ids, mask = torch.full((3, 9), pad), torch.zeros(3, 9, dtype=torch.long)
    for row, length in enumerate(LENGTHS):
        place = slice(0, length) if side == "right" else slice(9 - length, 9)
        ids[row, place], mask[row, place] = torch.cat([torch.randint(5, 60, (length - 1,)), torch.tensor([4])]), 1
    return {"input_ids": ids, "attention_mask": mask}


LENGTHS = (9, 6, 4)


def stir(adapter: Adapter) -> None:
    """Move every parameter away from its start, so that the adapter really does something."""
    torch.manual_seed(2)
    with torch.no_grad():
        for value in adapter.parameters():
            value.add_(torch.randn_like(value) * 0.3)


def logits(backbone: Backbone, adapter: Adapter, inputs: dict[str, Tensor]) -> Tensor:
    with Attachment(backbone, [adapter]) as attached, torch.no_grad():
        return attached(inputs)[0]
