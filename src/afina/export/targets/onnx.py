"""Write a folder with an ONNX graph of the adapted model and all that predicting by it takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from afina.errors import UsageError
from afina.export.runtime_target import RuntimeTarget
from afina.export.target import export_target
from afina.precision import EXACT

if TYPE_CHECKING:
    from afina.predictor.predictor import Predictor

__all__ = ["OnnxTarget"]


@export_target("onnx")
@dataclass(frozen=True, kw_only=True)
class OnnxTarget(RuntimeTarget):
    """Writes `model.onnx`, merged where the method has an equal layer, else with its branches in the graph."""

    needs: ClassVar = {"onnx": "'afina[onnx]'", "onnxscript": "'afina[onnx]'", "onnxruntime": "'afina[onnx]'"}
    runtime: ClassVar = "onnxruntime"
    library = "onnx"
    has_base = True
    ways: ClassVar = {
        "onnxruntime": "pip install onnxruntime tokenizers numpy\npython predict.py $asked",
        "Afina": "pip install 'afina[onnx]'\nafina predict . $asked",
    }
    made_with: ClassVar = ("torch", "transformers", "onnx", "onnxscript")

    def check(self, tested: "Predictor") -> None:
        super().check(tested)
        kind = tested.backbone.anatomy.row.inputs
        if kind == "sound":
            raise UsageError(f"--to onnx is for texts and images; {tested.record.model} takes {kind}.")
        if tested.task.speaks:
            raise UsageError(
                f"--to onnx is for labels, numbers and vectors; {tested.folder} was trained for {tested.task.name}, by the "
                "model's language head: export it --to merged."
            )

    def files(self, adapter: "Predictor", folder: Path) -> Mapping[str, Any]:
        from afina.export.beside import write_beside
        from afina.export.graph import traced
        from afina.export.held import example_inputs
        from afina.export.onnx_file import write_onnx

        with traced(adapter, example_inputs(adapter)) as graph:
            write_onnx(graph, folder / "model.onnx")
        reading = write_beside(adapter, folder, runtime="onnx", merged=graph.merged)
        return {"inputs": list(graph.inputs), "reading": dict(reading), "precision": EXACT}
