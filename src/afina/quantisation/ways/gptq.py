"""Round weights so that the layer's outputs on real inputs change least.  Frantar et al., 2022, arXiv:2210.17323.

The formulas are in `ops/rounding.py`; files are those of `rtn`, in which the order of rounding shows as `g_idx`.
"""

from typing import TYPE_CHECKING

from afina.quantisation.way import Quantised, QuantiseSettings, way
from afina.quantisation.ways.rtn import NearestWay, group_of, kept_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GptqWay"]


@way("gptq")
class GptqWay(NearestWay):
    """Makes good what each rounded input loses in those that come after it."""

    usual = True
    orders = True
    needs_inputs = True

    @classmethod
    def quantise(cls, weight: "Tensor", hessian: "Tensor | None", settings: QuantiseSettings) -> Quantised:
        from afina.ops.rounding import round_by_inputs

        assert hessian is not None, "it needs inputs, and says so"
        rounded = round_by_inputs(
            weight, hessian, settings.bits, group_of(settings, weight.shape[1]), symmetric=settings.symmetric,
            by_activity=settings.act_order, damp=settings.damp,
        )  # fmt: skip
        return kept_of(rounded, settings)
