"""Say what memory a run needs, phase by phase, from its rehearsal and from what lies beside the tensors of its passes.

On a CPU the resident set is what is measured: tensors and the gaps that the allocator leaves between them, code that oneDNN
prepares for every size of product that it meets (both are rehearsed), and pages of libraries that are read with the first
step. What these take is known from no source; `memory_ratios.json` has what was found by runs, and how far runs lay from it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from afina.study.rehearsal import BACKWARD, BELOW, EVALUATION, FORWARD, LAST, Rehearsed

__all__ = [
    "Always",
    "Likely",
    "MemoryNeeds",
    "code_bytes",
    "heap_bytes",
    "interval",
    "memory_of",
    "memory_of_words",
    "ranged",
    "shares_of",
    "standing_bytes",
]

_FIT, _MEMORY = "the fit", "memory"
_FOR = 5
"""Recorded runs that one of this machine stands for. With the ratios of half of these, a fifth or a third larger or smaller
as another machine's may be, nine of ten of the other half lie in the range after two dozen, and eight after a dozen."""
_WORDS_BYTES = 200_000_000
"""Bytes of a run that loads no model: scikit-learn, and texts."""


@dataclass(frozen=True)
class Likely:
    """A figure with the range that it is in nine times of ten."""

    low: float
    value: float
    high: float

    def times(self, factor: float) -> "Likely":
        return Likely(self.low * factor, self.value * factor, self.high * factor)


@dataclass(frozen=True)
class Always:
    """Holds the bytes of what is there during all of a run's steps, and what decides about the code beside it."""

    weights: int
    copies: int = 0
    """Copies of frozen weights for one direction of a product, where some are made."""
    values: int = 0
    """The numbers that the adapter trains."""
    moments: int = 0
    gradients: int = 0
    step: int = 0
    """Bytes of an optimiser's step while it computes, when the passes' tensors are gone."""
    dequantised: int = 0
    """The largest weight that is dequantised for a product."""
    kept_states: int = 0
    """States that the layers below every branch make of all rows, where that is kept."""
    load: int = 0
    """The most while the model is loaded."""
    goes_through: bool = True
    """True if a gradient goes through layers of the model."""
    computes_in: str = "float32"
    """The arithmetic of its products, by which a CPU's library prepares more code or less."""
    widths: int = 0
    """Widths of batches that an epoch meets."""
    evaluated_widths: int = 0


@dataclass(frozen=True)
class MemoryNeeds:
    """The most memory of a run's phases, in bytes, and the instant at which it is most."""

    load: int
    """At most: of weights that are not converted only what was read of the file is there."""
    train: Likely
    evaluate: Likely
    worst: str
    """The part of the run that takes most."""
    parts: dict[str, int]
    """Bytes at that instant, by what they are."""
    counted: dict[str, int] = field(default_factory=dict)
    """Bytes of each phase that were counted, to which recorded runs add code and a range."""
    kind: str = "float32"
    """The kind of code beside it: the arithmetic of its products, or `quantised` where weights are dequantised."""

    @property
    def peak(self) -> Likely:
        """Return the memory of the phase that takes most."""
        return max(self.train, self.evaluate, key=lambda own: own.value)


def memory_of_words() -> MemoryNeeds:
    """Return what a run takes that looks at words, and loads no model."""
    train, evaluate = (ranged(_WORDS_BYTES, _MEMORY, phase) for phase in ("train", "evaluate"))
    return MemoryNeeds(0, train, evaluate, _FIT, {"code": _WORDS_BYTES})


def memory_of(rehearsed: Rehearsed, made: Always, *, trains: bool, on_cpu: bool) -> MemoryNeeds:
    """Return what a run takes, on a CPU with the gaps between its tensors and the code beside them."""
    standing, kind = standing_bytes(made), "quantised" if made.dequantised else made.computes_in
    moments = made.moments if trains else 0
    instants = {"evaluate": {EVALUATION: rehearsed.peak(EVALUATION)}}
    if trains:
        training = training_peaks(rehearsed, made)
        # What the optimiser keeps was rehearsed with the passes.
        instants["train"] = training | {LAST: training[LAST] + moments}
    worst = {phase: max(own, key=lambda name: own[name]) for phase, own in instants.items()}
    tensors = {phase: own[worst[phase]] for phase, own in instants.items()}
    heap = {phase: heap_bytes(rehearsed, phase) if on_cpu else tensors[phase] for phase in instants}
    most = max(heap, key=lambda phase: heap[phase])
    code = {phase: code_bytes(kind, phase) if on_cpu else 0 for phase in heap}
    copies = made.copies * (2 if made.goes_through else 1) if on_cpu else 0
    parts = {
        "weights": made.weights, "copies of weights": copies, "what is trained": made.values + moments,
        "rows below the lowest branch": made.kept_states,
        "the pass": max(0, tensors[most] - copies - moments) + made.dequantised,
        "gaps": max(0, heap[most] - tensors[most]), "code": code[most],
    }  # fmt: skip
    needs = {phase: ranged(standing + heap[phase] + code[phase], _MEMORY, phase) for phase in heap}
    return MemoryNeeds(
        made.load, needs.get("train", needs["evaluate"]), needs["evaluate"], worst[most],
        {name: size for name, size in parts.items() if size},
        {phase: standing + heap[phase] for phase in heap}, kind,
    )  # fmt: skip


def code_bytes(kind: str, phase: str) -> int:
    """Return the bytes of a CPU's prepared code and libraries beside what is counted in a phase, by their kind."""
    return int(shares_of(_MEMORY, phase)[kind])


def standing_bytes(made: Always) -> int:
    """Return the bytes that are there all the time beside what a run allocates."""
    return made.weights + made.values + made.kept_states + made.dequantised


def heap_bytes(rehearsed: Rehearsed, phase: str) -> int:
    """Return the bytes of a process's heap in a phase: nothing that was used goes back before its end."""
    parts = {"evaluate": [EVALUATION], "train": [BELOW, FORWARD, BACKWARD, LAST]}[phase]
    return max(rehearsed.resident.get(part, 0) for part in parts)


def training_peaks(rehearsed: Rehearsed, made: Always) -> dict[str, int]:
    """Return the bytes of training's instants by name, beside what an optimiser keeps."""
    instants = {
        FORWARD: rehearsed.peak(FORWARD), BACKWARD: rehearsed.peak(BACKWARD), LAST: made.gradients + made.step,
    }  # fmt: skip
    # Before the first step all rows go through the layers below the lowest branch.
    return instants | ({BELOW: rehearsed.peak(BELOW)} if made.kept_states else {})


def ranged(value: float, what: str, phase: str, here: Sequence[float] = ()) -> Likely:
    """Return a figure, of `memory` or `time`, with its range, by how far runs lay from such figures, and those `here`."""
    if here:
        low, middle, high = interval([*_fitted_to_runs(what)["ratios"][phase], *(_FOR * list(here))])
    else:
        low, middle, high = _measured_ratios(what, phase)
    return Likely(low * value, middle * value, high * value)


def interval(ratios: Sequence[float], share: float = 0.9) -> tuple[float, float, float]:
    """Return of the ratios of measured to predicted the bounds that a new one lies in with this chance, and the median.

    With n ratios the k-th of the ends is taken, of k = (n + 1)(1 - share) / 2, whatever their distribution is (conformal
    prediction: Vovk et al., 2005).
    """
    ranked = np.sort(np.asarray(ratios, dtype=float))
    k = int((len(ranked) + 1) * (1 - share) / 2)
    assert k >= 1, f"{len(ranked)} measurements are too few for a range of {share:.0%}"
    return float(ranked[k - 1]), float(np.median(ranked)), float(ranked[-k])


def shares_of(what: str, phase: str) -> dict[str, float]:
    """Return what was fitted to recorded runs of `memory` or `time`, by name."""
    shares: dict[str, float] = _fitted_to_runs(what)["shares"][phase]
    return shares


@cache
def _measured_ratios(what: str, phase: str) -> tuple[float, float, float]:
    return interval(_fitted_to_runs(what)["ratios"][phase])


@cache
def _fitted_to_runs(what: str) -> dict[str, Any]:
    fitted: dict[str, Any] = json.loads(
        resources.files("afina.study").joinpath(f"{what}_ratios.json").read_text("utf-8")
    )
    return fitted
