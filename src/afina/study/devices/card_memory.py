"""Say what a run takes of a card's memory: its tensors as CUDA's allocator lays them out, and what the driver takes."""

from collections.abc import Sequence

from afina.measure.caching import replayed
from afina.study.needs import Always, Likely, MemoryNeeds, training_peaks
from afina.study.rehearsal import EVALUATION, Rehearsed

__all__ = ["memory_on_card"]

_DRIVER = Likely(0.25e9, 0.45e9, 0.8e9)
"""Bytes of a process's context on a card: the driver's own, the code of torch and its libraries, and their workspaces."""
_WIDTHS = (1.0, 0.5, 0.75, 1.0)
"""Widths of batches, in shares of the longest, that are met one after another: blocks of other sizes leave gaps."""
_SEGMENTS = 40 << 20
"""Bytes that weights and states leave free in the last segments of both kinds."""


def memory_on_card(
    rehearsed: Rehearsed, made: Always, events: Sequence[tuple[int, int]], *, trains: bool
) -> MemoryNeeds:
    """Return what a run takes on a card: at least what its tensors need, at most what the allocator would keep for them.

    `events` are what came and went in the rehearsal.
    """
    once, often = replayed(events), replayed(events, _WIDTHS)
    most = max(once.most_allocated, 1)
    evaluating = rehearsed.peak(EVALUATION)
    instants = training_peaks(rehearsed, made) if trains else {EVALUATION: evaluating}
    worst = max(instants, key=lambda name: instants[name])
    always = made.weights + made.values + made.moments + made.kept_states + made.dequantised

    def phase(passing: int) -> Likely:
        once_kept, often_kept = (passing * own.most_reserved / most for own in (once, often))
        return Likely(
            _DRIVER.low + always + passing,
            _DRIVER.value + always + once_kept,
            _DRIVER.high + always + max(once_kept, often_kept) + _SEGMENTS,
        )

    train, evaluate = phase(instants[worst]), phase(evaluating)
    passing = instants[worst]
    if evaluate.value > train.value:
        worst, passing = EVALUATION, evaluating
    parts = {
        "weights": made.weights, "what is trained": made.values + made.moments,
        "rows below the lowest branch": made.kept_states, "the pass": passing + made.dequantised,
        "the allocator's gaps": int(passing * (once.most_reserved / most - 1)), "the card's driver": int(_DRIVER.value),
    }  # fmt: skip
    there = {name: size for name, size in parts.items() if size}
    return MemoryNeeds(load=made.load, train=train, evaluate=evaluate, worst=worst, parts=there)
