"""Write a folder with the adapted model in OpenVINO's form and all that predicting by it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from afina.errors import AfinaError
from afina.export.int8_target import Int8Target
from afina.export.target import export_target

if TYPE_CHECKING:
    import numpy as np

    from afina.export.graph import Traced
    from afina.export.int8 import Rounded

__all__ = ["OpenvinoTarget"]


@export_target("openvino")
@dataclass(frozen=True, kw_only=True)
class OpenvinoTarget(Int8Target):
    """Writes `model.xml` and `model.bin`, in float32 or rounded to eight bits."""

    needs: ClassVar = {"openvino": "'afina[openvino]'"}
    runtime: ClassVar = "openvino"
    library = "openvino"
    ways: ClassVar = {
        "OpenVINO": "pip install openvino tokenizers numpy\npython predict.py $asked",
        "Afina": "pip install 'afina[openvino]'\nafina predict . $asked",
    }
    made_with: ClassVar = ("torch", "transformers", "openvino")
    int8_ways: ClassVar = ("static", "weights")
    int8_writers: ClassVar = ("weights",)
    int8_needs: ClassVar = {"nncf": "'afina[openvino-int8]'"}

    def graph(self, traced: "Traced", path: Path) -> None:
        from afina.export.runtimes.openvino import EXACTLY, quiet

        openvino = quiet()
        from openvino.frontend import GeneralFailure, NotImplementedFailure, OpConversionFailure, OpValidationFailure

        try:
            model = openvino.convert_model(traced.program)
        except (
            RuntimeError, GeneralFailure, NotImplementedFailure, OpConversionFailure, OpValidationFailure,
        ) as error:  # fmt: skip
            raise AfinaError(
                f"OpenVINO has no word for what the adapter does ({str(error).strip().splitlines()[-1]}). Please report this."
            ) from error
        for names, places in ((traced.inputs, model.inputs), (traced.outputs, model.outputs)):
            for name, place in zip(names, places, strict=True):
                place.get_tensor().set_names({name})
        for name, value in EXACTLY.items():
            # For who opens it without a word on precision, on a processor that would round to 16 bits of itself.
            model.set_rt_info(value, ["runtime_options", name])
        openvino.save_model(model, path, compress_to_fp16=False)

    def narrowed(
        self, graph: Path, calibration: "Sequence[Mapping[str, np.ndarray]]", *, head: bool = True
    ) -> "Rounded":
        from afina.export.openvino_int8 import round_openvino

        return round_openvino(graph, calibration if self.int8 == "static" else None, head=head)
