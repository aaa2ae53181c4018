"""Share what export targets need that write an adapter as one graph: of what adapters, and what stands beside it."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from afina.errors import UsageError
from afina.export.runtime_target import RuntimeTarget
from afina.precision import EXACT

if TYPE_CHECKING:
    import numpy as np

    from afina.export.costs import Cost
    from afina.export.graph import Traced
    from afina.predictor.predictor import Predictor

__all__ = ["GraphTarget"]


@dataclass(frozen=True, kw_only=True)
class GraphTarget(RuntimeTarget):
    """Writes a graph, merged where the method has an equal layer, else with its branches; a subclass says in what form."""

    has_base = True
    several: ClassVar[bool] = True
    """True if one graph can hold several adapters."""
    apart: ClassVar[bool] = True
    """True if it has a form for what reads by one graph and writes by another, as an encoder-decoder does."""

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
            from afina.export.writing.beside import check_writer

            check_writer(tested, self.name, apart=self.apart)

    def cost(self, tested: "Predictor", folder: Path, batch: "Mapping[str, np.ndarray]") -> "Cost":
        from afina.export.costs import cost_of
        from afina.export.opened import open_export
        from afina.export.runtime import RUNTIMES

        return cost_of(open_export(folder), RUNTIMES[self.runtime].file, batch)

    def ways_of(self, adapter: "Predictor") -> Mapping[str, str]:
        if not adapter.task.writes:
            return self.ways
        written = {"predict.py": "generate.py", "afina predict": "afina generate"}
        ways = dict(self.ways)
        for old, new in written.items():
            ways = {runtime: lines.replace(old, new) for runtime, lines in ways.items()}
        return ways

    def files_of_several(self, each: Sequence["Predictor"], folder: Path) -> Mapping[str, Any]:
        """Write one graph of adapters on one backbone, and what stands beside it; return the same as `files`."""
        from afina.export.beside import write_beside
        from afina.export.held import example_inputs
        from afina.export.runtime import RUNTIMES
        from afina.export.several import traced_several

        with _quietly(), traced_several(each, example_inputs(each[0])) as graph:
            self.graph(graph, folder / RUNTIMES[self.runtime].file)
        reading = dict(write_beside(each[0], folder, runtime=self.runtime, several=True))
        return {"inputs": list(graph.inputs), "reading": reading, "precision": EXACT}

    def files(self, adapter: "Predictor", folder: Path) -> Mapping[str, Any]:
        from afina.export.beside import write_beside
        from afina.export.runtime import RUNTIMES
        from afina.export.writing.beside import write_beside_writer
        from afina.export.writing.names import READS

        most, writes = self.most(adapter), adapter.task.writes
        place = folder / RUNTIMES[self.runtime].file
        with _quietly(), _traced(adapter, most) as (graph, *apart):
            self.graph(graph, place)
            for reads in apart:
                self.graph(reads, place.with_stem(READS))
        beside = write_beside_writer if writes else write_beside
        reading = dict(beside(adapter, folder, runtime=self.runtime))
        if apart:
            reading[READS] = list(apart[0].inputs)
        if most is not None:
            reading["most"] = {"rows": most[0], "length": most[1]}
            if writes:
                reading["context"] = min(reading["context"], most[1])
        return {"inputs": list(graph.inputs), "reading": reading, "precision": EXACT}


@contextmanager
def _traced(adapter: "Predictor", most: tuple[int, int] | None) -> "Iterator[Sequence[Traced]]":
    """Give the graph of an adapter, and of an encoder-decoder that writes behind it the one that reads."""
    from afina.export.graph import traced
    from afina.export.held import example_inputs
    from afina.export.writing.apart import traced_apart
    from afina.export.writing.graph import traced_writer

    if not adapter.task.writes:
        with traced(adapter, example_inputs(adapter), most) as graph:
            yield [graph]
    elif adapter.backbone.anatomy.row.further:
        with traced_apart(adapter) as (reads, writes):
            yield [writes, reads]
    else:
        with traced_writer(adapter, most) as graph:
            yield [graph]


@contextmanager
def _quietly() -> Iterator[None]:
    """Leave out what torch's exporter warns of its own code whenever a program is copied."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*LeafSpec.*is deprecated", FutureWarning)
        yield
