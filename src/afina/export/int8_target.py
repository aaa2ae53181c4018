"""Share what export targets need whose graph may be rounded to eight bits: the options, what it costs, what is said of it."""

import copy
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from afina.errors import AfinaError, UsageError, nearest, shown
from afina.export.graph_target import GraphTarget

if TYPE_CHECKING:
    import numpy as np

    from afina.data.rows import Rows
    from afina.export.int8 import Narrowed, Rounded
    from afina.export.parity import Parity
    from afina.predictor.predictor import Predictor

__all__ = ["CALIBRATION", "Int8Target"]

CALIBRATION = 128
"""Train rows from which static rounding learns how large things are; drawn with a seed, so that they are always the same."""
_NONE = "none"
_PRODUCTS = {"dynamic": "rounded as they come", "static": "rounded by train rows", "weights": "in float"}


@dataclass(frozen=True, kw_only=True)
class Int8Target(GraphTarget):
    """Writes a graph, rounded if asked; a subclass says in which ways it can be (`int8_ways`), and does it (`narrowed`)."""

    int8_ways: ClassVar[tuple[str, ...]] = ()
    """The ways in which its runtime takes rounded products, the best one first."""
    int8_writers: ClassVar[tuple[str, ...]] = ()
    """The ways of these in which a graph that writes can be."""
    int8_needs: ClassVar[Mapping[str, str]] = {}
    """Packages that rounding does not go without, and what installs each."""
    calibrated_by: ClassVar[Any] = None  # not by its type, as options are read from the hints of this class
    """The rows that static rounding looked at; of the copy that `reading` makes for one adapter."""

    int8: str = field(
        default=_NONE,
        metadata={
            "help": "round weights to eight bits, and what they are multiplied with as it comes (dynamic; onnx alone), by "
            "what train rows show (static) or not at all (weights; openvino alone), and say what that gains and loses on the "
            "rows."
        },
    )
    at_most: float = field(
        default=0.01, metadata={"help": "with --int8, the most by which the metric may surely be worse."}
    )

    def __post_init__(self) -> None:
        if not 0 <= self.at_most <= 1:
            raise UsageError(f"--at-most should be from 0 to 1, not {self.at_most:g}.")
        if self.int8 not in (_NONE, *self.int8_ways):
            raise UsageError(
                f"--int8 of --to {self.name} is {' or '.join((*self.int8_ways, _NONE))}, not {shown(self.int8)}"
                f"{nearest(str(self.int8)[:80], self.int8_ways)}"
            )
        if self.int8 != _NONE:
            for package, install in self.int8_needs.items():
                if importlib.util.find_spec(package) is None:
                    raise UsageError(
                        f"To round to eight bits --to {self.name}, {package} has to be there: pip install {install}."
                    )
        object.__setattr__(self, "lossy", self.int8 != _NONE)  # what is rounded is judged by its metric, in `compare`

    def check(self, tested: "Predictor") -> None:
        super().check(tested)
        if self.int8 not in (_NONE, *self.int8_writers) and tested.task.writes:
            raise UsageError(
                f"--to {self.name} --int8 {self.int8} has no form for what writes: give --int8 {self.int8_writers[0]}, or "
                "export it --to gguf --type q8_0."
            )

    def reading(self, tested: "Predictor", data: str | None, sample: "Rows | None") -> "Int8Target":
        made = self
        if self.int8 == "static":
            from afina.export.sample import train_rows

            made = copy.copy(self)
            object.__setattr__(made, "calibrated_by", train_rows(tested, data, CALIBRATION))
        if self.int8 != _NONE:
            from afina.export.int8 import judged

            judged(tested, sample)  # what cannot be judged is refused here, before its graph is made
        return made

    def narrowed(
        self, graph: Path, calibration: "Sequence[Mapping[str, np.ndarray]]", *, head: bool = True
    ) -> "Rounded":
        """Round a graph, in place, but for the last layer where that is a `head`.

        `calibration` holds what train rows are as its inputs, each alone.
        """
        raise NotImplementedError(f"{self.name} rounds nothing")

    def _rounded(self, folder: Path, calibration: "Sequence[Mapping[str, np.ndarray]]") -> "Rounded":
        """Round a folder's graph, and of an encoder-decoder that which reads, too."""
        from afina.export.runtime import RUNTIMES
        from afina.export.writing.names import READS

        graph = folder / RUNTIMES[self.runtime].file
        rounded, reads = self.narrowed(graph, calibration), graph.with_stem(READS)
        if not reads.exists():
            return rounded
        return replace(rounded, layers=rounded.layers + self.narrowed(reads, (), head=False).layers)

    def compare(
        self, tested: "Predictor", exact: "Predictor", folder: Path, rows: "Rows | None"
    ) -> "tuple[Parity, float | None]":
        parity, effect = self.held(tested, exact, folder, rows)
        if self.int8 == _NONE:
            return parity, effect
        if not parity.equal:
            raise AfinaError(
                "What was exported, before it was rounded, is not what was tested: logits part by up to "
                f"{parity.exact_difference:.2g} (they reach {parity.scale:.2g}); nothing was written. Please report this."
            )
        from afina.export.int8 import inputs_of, narrow
        from afina.export.manifest import read_manifest, write_manifest
        from afina.export.opened import open_export

        opened = open_export(folder)
        calibration = inputs_of(opened, self.calibrated_by)
        narrowed = narrow(tested, opened, rows, self.at_most, lambda place: self._rounded(place, calibration))
        precision = f"int8 weights, products {_PRODUCTS[self.int8]}"
        write_manifest(folder, replace(read_manifest(folder, files=False), precision=precision))
        parity, effect = self.held(tested, exact, folder, rows, judged=False)
        return replace(parity, narrowed=narrowed), effect

    def remark(self, tested: "Predictor", exact: "Predictor", parity: "Parity") -> str | None:
        if (narrowed := parity.narrowed) is None:
            return super().remark(tested, exact, parity)
        return _told(narrowed, self.calibrated_by, writes=tested.task.writes)


def _told(narrowed: "Narrowed", calibrated: "Rows | None", *, writes: bool) -> str:
    """Return what rounding gained and lost, in words."""
    before, after, loss = narrowed.before, narrowed.after, narrowed.loss
    count, left = narrowed.rounded.layers, ", ".join(narrowed.rounded.left)
    if calibrated is None:
        rounded = f"{count} layers are rounded to eight bits; in float stay {left}. "
    else:
        rounded = (
            f"{count} layers are rounded to eight bits, by what {len(calibrated)} train rows (drawn with seed 0) show; "
            f"in float stay {left}. "
        )
    one, many = ("a token more", "one more of 32 texts") if writes else ("a row", "32 rows")
    assert before.many is not None and after.many is not None, "graphs take many rows at once"
    return rounded + (
        f"{before.size / 1e6:,.1f} MB became {after.size / 1e6:,.1f}; {one} takes {1e3 * after.one:.2f} ms, before "
        f"{1e3 * before.one:.2f}; {many} {1e3 * after.many:.1f} ms, before {1e3 * before.many:.1f}; the process "
        f"{after.memory / 1e6:,.0f} MB, before {before.memory / 1e6:,.0f}. On {narrowed.rows:,} rows {narrowed.metric} is "
        f"{narrowed.values[1]:.4f}, before {narrowed.values[0]:.4f}: worse by {loss.value:.4f} "
        f"(95%: {loss.low:.4f} to {loss.high:.4f})."
    )
