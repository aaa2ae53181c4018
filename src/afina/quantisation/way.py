"""Define what a way of quantising is, and keep the registry of them.

One more is one file in `ways/`: a class under `@way("name")` that says which bits it knows and what a file holds of a weight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from afina.errors import UsageError, nearest
from afina.registry import Registry, listing

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DEFAULT_GROUP", "USUAL_WAY", "WAYS", "QuantiseSettings", "Quantised", "QuantisingWay", "way"]

DEFAULT_GROUP = 128
"""Inputs that share a scale where they divide all layers', as in most published checkpoints."""
_WAYS = listing("afina.quantisation.ways", "way")
USUAL_WAY = next(name for name, entry in _WAYS.items() if entry.constants.get("usual"))
"""The way that is taken unless another is named."""


@dataclass(frozen=True)
class Quantised:
    """Holds what a file keeps of one weight, and what that stands for."""

    tensors: "Mapping[str, Tensor]"
    """Tensors by what follows the layer's path: `qweight`, `scales` and so on."""
    dense: "Tensor"
    """The weight (D_out, D_in) in float32 that is computed with."""


class QuantisingWay:
    """A way of quantising; everything is asked of the class, of which nothing is made."""

    name: ClassVar[str] = ""
    bits: ClassVar[tuple[int, ...]] = ()
    precision: ClassVar[str] = ""
    """The storage that such a checkpoint is read as."""
    usual: ClassVar[bool] = False
    """True for the one way that is taken unless another is named."""
    names_plain: ClassVar[bool] = False
    """True if a checkpoint has to name linear layers outside the model's layers, and heads, as plain."""
    groups: ClassVar[bool] = False
    """True if a person says how many inputs share a scale, and whether codes are symmetric."""
    orders: ClassVar[bool] = False
    """True if inputs can be rounded in another order than that of the weight."""
    needs_inputs: ClassVar[bool] = False
    """True if it cannot be done without texts to calibrate on."""

    @classmethod
    def quantise(cls, weight: "Tensor", hessian: "Tensor | None", settings: "QuantiseSettings") -> Quantised:
        """Quantise a weight (D_out, D_in); raises `ValueError` for what it cannot take."""
        raise NotImplementedError

    @classmethod
    def read(cls, tensors: "Mapping[str, Tensor]", settings: "QuantiseSettings", width_in: int, width: int) -> "Tensor":
        """Return the weight (D_out, D_in) in float32 that `quantise` gave these tensors of."""
        raise NotImplementedError

    @classmethod
    def fits(cls, width_in: int, width: int, settings: "QuantiseSettings") -> str | None:
        """Return why a weight of this size cannot be kept so, None where it can."""
        raise NotImplementedError

    @classmethod
    def configuration(cls, settings: "QuantiseSettings", plain: Sequence[str]) -> dict[str, Any]:
        """Return the checkpoint's `quantization_config`; `plain` are the paths of linear layers that are not quantised."""
        raise NotImplementedError


WAYS: Registry[type[QuantisingWay]] = Registry("way", "afina.quantisation.ways")
"""All ways of quantising by name."""
way = WAYS.register


@dataclass(frozen=True, kw_only=True)
class QuantiseSettings:
    """Says how weights are rounded, and on what."""

    bits: int = 4
    """Bits of a number: 2, 3, 4 or 8."""
    method: str = USUAL_WAY
    """Way of rounding: so that outputs change least (gptq), to the nearest (rtn), or to bitsandbytes' nf4."""
    group: int | None = None
    """Inputs that share a scale, -1 for all of a row; unless given 128, or what of 64, 32 and 16 divides all layers'."""
    act_order: bool = False
    """Round inputs in the order of how much they carry, the largest first (gptq alone)."""
    symmetric: bool = True
    """Have the middle code stand for 0; without, each group has a zero of its own, which other programs read as gptq_v2."""
    samples: int = 128
    """Pieces of text to calibrate on."""
    length: int = 512
    """Tokens of such a piece."""
    damp: float = 0.01
    """Share of the mean of the diagonal of X^T X that is added to it (the paper's 1%)."""
    seed: int = 0
    """Decides which pieces are taken."""

    def __post_init__(self) -> None:
        """Raise `UsageError` for a setting that cannot be."""
        if self.method not in WAYS:
            raise UsageError(
                f"--method: there is no way of quantising called '{self.method}'{nearest(self.method, WAYS)}"
            )
        way = WAYS[self.method]
        if self.bits not in way.bits:
            *others, last = map(str, way.bits)
            possible = f"{', '.join(others)} or {last}" if others else last
            raise UsageError(f"--bits: {self.method} takes {possible}, not {self.bits}.")
        if self.act_order and not way.orders:
            raise UsageError(f"--act-order is for gptq; {self.method} rounds each number by itself.")
        if self.group is not None and not way.groups:
            raise UsageError(f"--group is for gptq and rtn; {self.method} has blocks of its own.")
        if not self.symmetric and not way.groups:
            raise UsageError(f"--asymmetric is for gptq and rtn; {self.method} has values of its own.")
        if self.group is not None and self.group != -1 and not 8 <= self.group <= 1 << 16:
            raise UsageError(f"--group should be a number of inputs from 8 to 65536, or -1 for all, not {self.group}.")
        for name, value in (("--samples", self.samples), ("--length", self.length)):
            if not 1 <= value <= 1 << 20:
                raise UsageError(f"{name} should be from 1 to 1048576, not {value}.")
        if not 0 < self.damp < 1:
            raise UsageError(f"--damp should be between 0 and 1, not {self.damp:g}.")

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)
