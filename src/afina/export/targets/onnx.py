"""Write a folder with an ONNX graph of the adapted model and all that predicting by it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from afina.export.int8_target import Int8Target
from afina.export.target import export_target

if TYPE_CHECKING:
    import numpy as np

    from afina.export.graph import Traced
    from afina.export.int8 import Rounded

__all__ = ["OnnxTarget"]


@export_target("onnx")
@dataclass(frozen=True, kw_only=True)
class OnnxTarget(Int8Target):
    """Writes `model.onnx`, merged where the method has an equal layer, else with its branches in the graph."""

    needs: ClassVar = {"onnx": "'afina[onnx]'", "onnxscript": "'afina[onnx]'", "onnxruntime": "'afina[onnx]'"}
    runtime: ClassVar = "onnxruntime"
    library = "onnx"
    ways: ClassVar = {
        "onnxruntime": "pip install onnxruntime tokenizers numpy\npython predict.py $asked",
        "Afina": "pip install 'afina[onnx]'\nafina predict . $asked",
    }
    made_with: ClassVar = ("torch", "transformers", "onnx", "onnxscript")
    int8_ways: ClassVar = ("dynamic", "static")
    int8_writers: ClassVar = ("dynamic",)

    def graph(self, traced: "Traced", path: Path) -> None:
        from afina.export.onnx_file import write_onnx

        write_onnx(traced, path)

    def narrowed(
        self, graph: Path, calibration: "Sequence[Mapping[str, np.ndarray]]", *, head: bool = True
    ) -> "Rounded":
        from afina.export.onnx_int8 import round_onnx

        return round_onnx(graph, calibration, head=head)
