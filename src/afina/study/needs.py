"""Say what memory a run needs, phase by phase, from its rehearsal and from what lies beside the tensors of its passes.

On a CPU the resident set is what is measured: tensors, and around them code that is loaded with the first step, what the
allocator does not give back, and code that oneDNN prepares for every size of product that it meets. What these take is not
known from any source; `memory_ratios.json` has what was found by runs, and how far runs lay from it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from afina.study.rehearsal import BACKWARD, EVALUATION, FORWARD, Rehearsed

__all__ = ["Always", "Likely", "MemoryNeeds", "interval", "memory_of", "memory_of_words", "training_peaks"]

_LAST = "the optimiser's step"
_FIT = "the fit"
_BELOW = "the pass of all rows before the first step"
_WORDS_BYTES = 200_000_000
"""Bytes of a run that loads no model: scikit-learn, and texts."""
_PRODUCTS_KEPT = 1024
"""Sizes of products whose code oneDNN keeps: its cache's default (ONEDNN_PRIMITIVE_CACHE_CAPACITY)."""


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

    @property
    def peak(self) -> Likely:
        """Return the memory of the phase that takes most."""
        return max(self.train, self.evaluate, key=lambda own: own.value)


def memory_of_words() -> MemoryNeeds:
    """Return what a run takes that looks at words, and loads no model."""
    return MemoryNeeds(0, _ranged(_WORDS_BYTES), _ranged(_WORDS_BYTES), _FIT, {"code": _WORDS_BYTES})


def memory_of(rehearsed: Rehearsed, made: Always, *, trains: bool, on_cpu: bool) -> MemoryNeeds:
    """Return what a run takes, on a CPU with the code beside its tensors."""
    evaluating, last = rehearsed.peak(EVALUATION), rehearsed.sizes(EVALUATION) * made.evaluated_widths
    instants, steps = training_peaks(rehearsed, made) if trains else ({EVALUATION: evaluating}, last)
    worst, last = max(instants, key=lambda name: instants[name]), last if trains else 0
    # Blocks of one size after another leave gaps, which the allocator does not give back.
    slack = 1 + _fitted_to_runs()["slack"] if on_cpu else 1.0
    evaluating, passing = int(slack * evaluating), int(slack * instants[worst])

    # Copies for gradients are made where a gradient goes through the layers; a head's does not.
    copies = made.copies * (2 if made.goes_through else 1)
    always = made.weights + copies + made.values + made.moments + made.kept_states + made.dequantised
    train = always + passing + (code := _code(steps, made, on_cpu=on_cpu))
    evaluate = always + evaluating + (prepared := _code(steps + last, made, on_cpu=on_cpu))
    if evaluate > train:
        worst, passing, code = EVALUATION, evaluating, prepared
    parts = {
        "weights": made.weights, "copies of weights": copies, "what is trained": made.values + made.moments,
        "rows below the lowest branch": made.kept_states, "the pass": passing + made.dequantised, "code": code,
    }  # fmt: skip
    return MemoryNeeds(
        made.load, _ranged(train), _ranged(evaluate), worst, {name: size for name, size in parts.items() if size}
    )


def training_peaks(rehearsed: Rehearsed, made: Always) -> tuple[dict[str, int], int]:
    """Return the bytes of training's instants by name, and how many sizes of products training has."""
    instants = {FORWARD: rehearsed.peak(FORWARD), BACKWARD: rehearsed.peak(BACKWARD), _LAST: made.gradients + made.step}
    sizes = rehearsed.sizes(FORWARD, BACKWARD)
    if made.kept_states:
        # Before the first step all rows go through the layers below the lowest branch, in batches as an evaluation's.
        instants[_BELOW] = rehearsed.peak(EVALUATION)
        sizes += rehearsed.sizes(EVALUATION)
    return instants, sizes * made.widths


def _code(products: int, made: Always, *, on_cpu: bool) -> int:
    """Return the bytes of code for so many sizes of products, and of what else a process keeps beside its tensors."""
    if not on_cpu:
        return 0
    fitted = _fitted_to_runs()
    return int(fitted["always"] + fitted["each_product"][made.computes_in] * min(products, _PRODUCTS_KEPT))


def _ranged(value: float) -> Likely:
    """Return a figure with its range, by how far runs lay from such figures."""
    low, middle, high = _measured_ratios()
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


@cache
def _measured_ratios() -> tuple[float, float, float]:
    return interval(_fitted_to_runs()["ratios"])


@cache
def _fitted_to_runs() -> dict[str, Any]:
    fitted: dict[str, Any] = json.loads(
        resources.files("afina.study").joinpath("memory_ratios.json").read_text("utf-8")
    )
    return fitted
