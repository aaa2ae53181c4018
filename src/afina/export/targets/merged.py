"""Write a plain transformers folder, the adapter merged into its weights: it loads with no Afina installed.

Or, `onto` codes, a folder in the base's own codes with the adapter in their zeros.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from afina.errors import UsageError, nearest
from afina.export.target import ExportTarget, export_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from afina.export.costs import Cost
    from afina.export.parity import Parity
    from afina.predictor.predictor import Predictor

__all__ = ["MergedTarget"]

_ONTO = ("dequantised", "original", "codes")


@export_target("merged")
@dataclass(frozen=True, kw_only=True)
class MergedTarget(ExportTarget):
    """Writes a merged model, in float32."""

    library = "transformers"
    has_base = True
    ways: ClassVar = {
        "transformers": """from transformers import $auto, $reader
model, $reading = $auto.from_pretrained($at), $reader.from_pretrained($reads)
print($run)"""
    }

    onto: str = field(
        default="dequantised",
        metadata={"help": "of a quantised base its dequantised weights, the original, or its codes."},
    )

    def __post_init__(self) -> None:
        if self.onto not in _ONTO:
            *others, last = _ONTO
            names = f"{', '.join(others)} or {last}"
            raise UsageError(f"--onto is {names}, not '{self.onto}'{nearest(self.onto, _ONTO)}")

    def rounded_to(self, precision: str) -> str | None:
        from afina.backbone.quantise import packed

        return precision if packed(precision) is not None and self.onto != "original" else None

    def ways_of(self, adapter: "Predictor") -> "Mapping[str, str]":
        # transformers loads HQQ's files with that package alone, and its releases differ in whether they do.
        return {} if self.onto == "codes" else self.ways

    def check(self, tested: "Predictor") -> None:
        from afina.export.in_codes import check_fits_codes

        if self.onto == "codes":
            check_fits_codes(tested)

    def write(self, adapter: "Predictor", folder: Path) -> None:
        from afina.export.in_codes import merge_in_codes
        from afina.export.merge import merge

        (merge_in_codes if self.onto == "codes" else merge)(adapter, folder)

    def outside(self, tested: "Predictor", folder: Path) -> tuple[Any, Any]:
        from afina.export.in_codes import load_in_codes
        from afina.export.parity import load_merged

        return (load_in_codes if self.onto == "codes" else load_merged)(tested, folder)

    def cost(self, tested: "Predictor", folder: Path, batch: "Mapping[str, np.ndarray]") -> "Cost | None":
        from afina.export.costs import cost_in, weights_in

        if self.onto == "codes":
            return None
        row, task = tested.backbone.anatomy.row, tested.task
        kind = task.auto_class(row.inputs, reads_apart=bool(row.further))
        return cost_in("transformers", (str(folder), kind), batch, weights_in(folder))

    def remark(self, tested: "Predictor", exact: "Predictor", parity: "Parity") -> str | None:
        from afina.backbone.coded import coded
        from afina.backbone.quantise import packed, weight_bytes

        if packed(tested.record.precision) is None:
            return None
        kind, rounding = tested.record.precision, exact.backbone.rounding
        if self.onto == "codes":
            return (
                f"The merged model has the codes and scales of its base ({kind}), and what the adapter learned is in the "
                "codes' zeros. They are no whole numbers now, which GPTQ's and AWQ's files cannot hold, so that it is "
                "written in HQQ's; give the folder as model: to Afina."
            )
        before, after = (weight_bytes(own.backbone.model) / 1e6 for own in (tested, exact))
        if coded(kind) is not None:
            onto = f"the weights that its codes ({kind}) stand for, which the adapter was trained beside"
        elif rounding is None:
            onto = f"the original weights, not those that {kind} had made of them, which the adapter was trained beside"
        else:
            onto = (
                f"the weights that {kind} stands for, which the adapter was trained beside "
                f"(they differ from the original ones by {100 * rounding:.2g}% of their norm)"
            )
        same = (
            ""
            if parity.agreeing is None
            else f", and {parity.agreeing} of {parity.outputs} {parity.unit} keep their label"
        )
        return (
            f"The base was quantised, and the merged model is not: it holds {onto}, in float32, {after:,.1f} MB where "
            f"there were {before:,.1f}. From the adapter on {kind} its logits differ by up to {parity.difference:.2g}{same}. "
            f"Quantised to {kind} again, it would round what was merged, too."
        )
