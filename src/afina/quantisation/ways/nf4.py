"""Round weights to NormalFloat4 in blocks of 64, in bitsandbytes' files.  Dettmers et al., 2023, arXiv:2305.14314.

A layer's `weight` holds two codes a byte; beside it stand the blocks' scales, quantised again, and the values of the codes.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from afina.quantisation.way import Quantised, QuantiseSettings, QuantisingWay, way

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NormalFloat4Way"]

_BLOCK = 64


@way("nf4")
class NormalFloat4Way(QuantisingWay):
    """Rounds to the nearest of sixteen values that a normal distribution has as often as each other."""

    bits = (4,)
    precision = "nf4"
    names_plain = True

    @classmethod
    def quantise(cls, weight: "Tensor", hessian: "Tensor | None", settings: QuantiseSettings) -> Quantised:
        functional = _bitsandbytes()
        codes, state = functional.quantize_4bit(
            weight.float().contiguous(), blocksize=_BLOCK, compress_statistics=True, quant_type="nf4"
        )
        # One of bfloat16: what computes with it says its own type when it is read.
        dense = functional.dequantize_4bit(codes, state).float()
        tensors = {"weight": codes} | {f"weight.{name}": value for name, value in state.as_dict(packed=True).items()}
        return Quantised(tensors, dense)

    @classmethod
    def read(cls, tensors: "Mapping[str, Tensor]", settings: QuantiseSettings, width_in: int, width: int) -> "Tensor":
        functional = _bitsandbytes()
        codes = tensors["weight"]
        named = {name.removeprefix("weight."): value for name, value in tensors.items() if name.startswith("weight.")}
        state = functional.QuantState.from_dict(named, device=codes.device)
        dense: Tensor = functional.dequantize_4bit(codes, state).float()
        return dense

    @classmethod
    def fits(cls, width_in: int, width: int, settings: QuantiseSettings) -> str | None:
        return f"its {width_in} inputs are no whole blocks of {_BLOCK}" if width_in % _BLOCK else None

    @classmethod
    def configuration(cls, settings: QuantiseSettings, plain: Sequence[str]) -> dict[str, Any]:
        _bitsandbytes()
        return {
            "quant_method": "bitsandbytes", "_load_in_4bit": True, "_load_in_8bit": False, "load_in_4bit": True,
            "load_in_8bit": False, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": "bfloat16", "bnb_4bit_quant_storage": "uint8",
            "llm_int8_skip_modules": list(plain),
        }  # fmt: skip


def _bitsandbytes() -> Any:
    from afina.backbone.storage.bitsandbytes import bitsandbytes_settings

    bitsandbytes_settings("nf4")
    from bitsandbytes import functional

    return functional
