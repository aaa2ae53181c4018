"""Share what export targets need that write an adapter as one graph: of what adapters, and what stands beside it."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.errors import UsageError
from afina.export.runtime_target import RuntimeTarget
from afina.precision import EXACT

if TYPE_CHECKING:
    from afina.export.graph import Traced
    from afina.predictor.predictor import Predictor

__all__ = ["GraphTarget"]


@dataclass(frozen=True, kw_only=True)
class GraphTarget(RuntimeTarget):
    """Writes a graph, merged where the method has an equal layer, else with its branches; a subclass says in what form."""

    has_base = True

    def graph(self, traced: "Traced", path: Path) -> None:
        """Write a traced adapter into a file; raises `AfinaError` for what its form has no word for."""
        raise NotImplementedError(f"{self.name} writes nothing")

    def most(self, adapter: "Predictor") -> tuple[int, int] | None:
        """Return the most rows and the most tokens that a graph takes, where it has to be told."""
        return None

    def check(self, tested: "Predictor") -> None:
        super().check(tested)
        kind = tested.backbone.anatomy.row.inputs
        if kind == "sound":
            raise UsageError(f"--to {self.name} is for texts and images; {tested.record.model} takes {kind}.")
        if tested.task.speaks:
            raise UsageError(
                f"--to {self.name} is for labels, numbers and vectors; {tested.folder} was trained for {tested.task.name}, "
                "by the model's language head: export it --to merged."
            )

    def files(self, adapter: "Predictor", folder: Path) -> Mapping[str, Any]:
        from afina.export.beside import write_beside
        from afina.export.graph import traced
        from afina.export.held import example_inputs
        from afina.export.runtime import RUNTIMES

        most = self.most(adapter)
        with warnings.catch_warnings():
            # Of torch's own exporter, whenever a program is copied.
            warnings.filterwarnings("ignore", r".*LeafSpec.*is deprecated", FutureWarning)
            with traced(adapter, example_inputs(adapter), most) as graph:
                self.graph(graph, folder / RUNTIMES[self.runtime].file)
        reading = dict(write_beside(adapter, folder, runtime=self.runtime))
        if most is not None:
            reading["most"] = {"rows": most[0], "length": most[1]}
        return {"inputs": list(graph.inputs), "reading": reading, "precision": EXACT}
