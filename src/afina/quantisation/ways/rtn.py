"""Round each weight to the nearest code, and keep the codes in GPTQ's files.

Of a layer (D_in, D_out) these hold `qweight`, int32 (D_in * bits / 32, D_out); `qzeros`, int32 (groups, D_out * bits / 32);
`scales`, float16 (groups, D_out); `g_idx`, int32 (D_in). Symmetric codes are written as version 1, `gptq`, in which zeros are
stored minus one; others as `gptq_v2`, in which they stand as they are, since GPTQModel reads no other kind of those.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from afina.quantisation.way import Quantised, QuantiseSettings, QuantisingWay, way

if TYPE_CHECKING:
    from torch import Tensor

    from afina.ops.rounding import RoundedWeight

__all__ = ["NearestWay", "group_of", "kept_of"]


@way("rtn")
class NearestWay(QuantisingWay):
    """Rounds to the nearest."""

    bits = (2, 3, 4, 8)
    precision = "gptq"
    groups = True

    @classmethod
    def quantise(cls, weight: "Tensor", hessian: "Tensor | None", settings: QuantiseSettings) -> Quantised:
        from afina.ops.rounding import round_nearest

        group = group_of(settings, weight.shape[1])
        return kept_of(round_nearest(weight, settings.bits, group, symmetric=settings.symmetric), settings)

    @classmethod
    def read(cls, tensors: "Mapping[str, Tensor]", settings: QuantiseSettings, width_in: int, width: int) -> "Tensor":
        from afina.ops.bits import unpack

        codes, scales = unpack(tensors["qweight"], settings.bits), tensors["scales"].float()
        zeros = unpack(tensors["qzeros"].T.contiguous(), settings.bits).T + _lacks(settings)
        group = tensors["g_idx"].long()
        return ((codes - zeros.float()[group]) * scales[group]).T

    @classmethod
    def fits(cls, width_in: int, width: int, settings: QuantiseSettings) -> str | None:
        in_words = 32 if settings.bits == 3 else 32 // settings.bits
        for count, what in ((width_in, "inputs"), (width, "outputs")):
            if count % in_words:
                return f"{count} {what} of {settings.bits} bits fill no whole words"
        group = group_of(settings, width_in)
        return f"its {width_in} inputs are no whole groups of {group}" if width_in % group else None

    @classmethod
    def configuration(cls, settings: QuantiseSettings, plain: Sequence[str]) -> dict[str, Any]:
        import re

        from afina import __version__

        form = "gptq" if settings.symmetric else "gptq_v2"
        dynamic: dict[str, dict[str, Any]] = {f"-:^{re.escape(path)}$": {} for path in plain}
        return {
            "quant_method": "gptq", "bits": settings.bits, "group_size": settings.group, "desc_act": settings.act_order,
            "sym": settings.symmetric, "lm_head": False, "checkpoint_format": form, "format": form, "pack_dtype": "int32",
            "damp_percent": settings.damp, "true_sequential": False, "static_groups": False,
            "meta": {"quantizer": [f"afina:{__version__}"], "way": cls.name},
            **({"dynamic": dynamic} if dynamic else {}),
        }  # fmt: skip


def kept_of(rounded: "RoundedWeight", settings: QuantiseSettings) -> Quantised:
    """Return what GPTQ's files keep of a rounded weight."""
    from afina.ops.bits import pack

    stored = (rounded.zeros.int() - _lacks(settings)) & ((1 << settings.bits) - 1)
    tensors = {
        "qweight": pack(rounded.codes.T, settings.bits), "qzeros": pack(stored, settings.bits).T.contiguous(),
        "scales": rounded.scales.T.contiguous(), "g_idx": rounded.index,
    }  # fmt: skip
    return Quantised(tensors, rounded.dense())


def _lacks(settings: QuantiseSettings) -> int:
    """Return the number that a stored zero lacks of the zero that is meant."""
    return 1 if settings.symmetric else 0


def group_of(settings: QuantiseSettings, width_in: int) -> int:
    assert settings.group is not None, "a group is chosen before anything is quantised"
    return width_in if settings.group == -1 else settings.group
