"""Write a folder with an ONNX graph of the adapted model and all that predicting by it takes."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from afina.errors import AfinaError, UsageError
from afina.export.graph_target import GraphTarget
from afina.export.target import export_target

if TYPE_CHECKING:
    from afina.data.rows import Rows
    from afina.export.graph import Traced
    from afina.export.parity import Parity
    from afina.predictor.predictor import Predictor

__all__ = ["OnnxTarget"]


@export_target("onnx")
@dataclass(frozen=True, kw_only=True)
class OnnxTarget(GraphTarget):
    """Writes `model.onnx`, merged where the method has an equal layer, else with its branches in the graph."""

    needs: ClassVar = {"onnx": "'afina[onnx]'", "onnxscript": "'afina[onnx]'", "onnxruntime": "'afina[onnx]'"}
    runtime: ClassVar = "onnxruntime"
    library = "onnx"
    ways: ClassVar = {
        "onnxruntime": "pip install onnxruntime tokenizers numpy\npython predict.py $asked",
        "Afina": "pip install 'afina[onnx]'\nafina predict . $asked",
    }
    made_with: ClassVar = ("torch", "transformers", "onnx", "onnxscript")

    int8: bool = field(
        default=False, metadata={"help": "round weights to eight bits, and say what that gains and loses on the rows."}
    )
    at_most: float = field(
        default=0.01, metadata={"help": "with --int8, the most by which the metric may surely be worse."}
    )

    def __post_init__(self) -> None:
        if not 0 <= self.at_most <= 1:
            raise UsageError(f"--at-most should be from 0 to 1, not {self.at_most:g}.")
        object.__setattr__(self, "lossy", self.int8)  # what is rounded is judged by its metric, in `compare`

    def check(self, tested: "Predictor") -> None:
        super().check(tested)
        if self.int8 and tested.task.writes:
            raise UsageError(
                "--int8 is judged by labels, numbers or vectors, which what writes does not give: leave it out, or export it "
                "--to gguf --type q8_0."
            )

    def graph(self, traced: "Traced", path: Path) -> None:
        from afina.export.onnx_file import write_onnx

        write_onnx(traced, path)

    def compare(
        self, tested: "Predictor", exact: "Predictor", folder: Path, rows: "Rows | None"
    ) -> "tuple[Parity, float | None]":
        parity, effect = super().compare(tested, exact, folder, rows)
        if not self.int8:
            return parity, effect
        if not parity.equal:
            raise AfinaError(
                "What was exported, before it was rounded, is not what was tested: logits part by up to "
                f"{parity.exact_difference:.2g} (they reach {parity.scale:.2g}); nothing was written. Please report this."
            )
        from afina.export.int8 import narrow
        from afina.export.manifest import read_manifest, write_manifest
        from afina.export.opened import open_export

        narrowed = narrow(tested, open_export(folder), rows, self.at_most)
        manifest = read_manifest(folder, files=False)
        write_manifest(folder, replace(manifest, precision="int8 weights, rounded products"))
        parity, effect = super().compare(tested, exact, folder, rows)
        return replace(parity, narrowed=narrowed), effect

    def remark(self, tested: "Predictor", exact: "Predictor", parity: "Parity") -> str | None:
        if (found := parity.narrowed) is None:
            return super().remark(tested, exact, parity)
        before, after, loss = found.before, found.after, found.loss
        return (
            f"{found.rounded.layers} layers are rounded to eight bits; in float stay {', '.join(found.rounded.left)}. "
            f"{before.size / 1e6:,.1f} MB became {after.size / 1e6:,.1f}; a row takes {1e3 * after.one:.2f} ms, before "
            f"{1e3 * before.one:.2f}; 32 rows {1e3 * after.many:.1f} ms, before {1e3 * before.many:.1f}; the process "
            f"{after.memory / 1e6:,.0f} MB, before {before.memory / 1e6:,.0f}. On {found.rows:,} rows {found.metric} is "
            f"{found.values[1]:.4f}, before {found.values[0]:.4f}: worse by {loss.value:.4f} "
            f"(95%: {loss.low:.4f} to {loss.high:.4f})."
        )
