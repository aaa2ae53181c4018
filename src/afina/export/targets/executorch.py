"""Write a folder with the adapted model as an ExecuTorch program for XNNPACK, which phones and small boards run."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from afina.errors import AfinaError
from afina.export.graph_target import GraphTarget
from afina.export.target import export_target

if TYPE_CHECKING:
    from afina.export.graph import Traced
    from afina.predictor.predictor import Predictor

__all__ = ["ExecutorchTarget"]

_ROWS = 8
"""Most rows at once. A program has its memory laid out for the most that it takes, and phones have one text at a time."""


@export_target("executorch")
@dataclass(frozen=True, kw_only=True)
class ExecutorchTarget(GraphTarget):
    """Writes `model.pte`, in float32, for as many tokens as the adapter reads and up to eight rows."""

    needs: ClassVar = {"executorch": "'afina[executorch]'"}
    runtime: ClassVar = "executorch"
    several = apart = False
    library = "executorch"
    ways: ClassVar = {
        "ExecuTorch": (
            "pip install executorch tokenizers numpy\npython predict.py $asked\n"
            "# On a phone: Module.load(path).forward(...) of executorch-android, Module(filePath:) of its Swift package;\n"
            "# inputs in the order of `inputs` in afina_export.json, of as many rows and tokens as `most` there says."
        ),
        "Afina": "pip install 'afina[executorch]'\nafina predict . $asked",
    }
    made_with: ClassVar = ("torch", "transformers", "executorch")

    def most(self, adapter: "Predictor") -> tuple[int, int]:
        """Return the most rows, and tokens of a text; of what writes, with what it writes."""
        return _ROWS, min(adapter.record.max_length, adapter.backbone.context)

    def graph(self, traced: "Traced", path: Path) -> None:
        from afina.export.runtimes.executorch import quiet

        with quiet():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower
            from executorch.exir.error import ExportError, InternalError

            try:
                lowered = to_edge_transform_and_lower(traced.program, partitioner=[XnnpackPartitioner()])
                written = lowered.to_executorch()
            except (ExportError, InternalError, RuntimeError) as error:
                reason = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
                raise AfinaError(
                    f"ExecuTorch has no word for what the adapter does ({reason[:300]}). Please report this."
                ) from error
        with path.open("wb") as file:
            written.write_to_file(file)
