"""Teach one student: what it loses by the labels, and by what its teacher said of the same rows."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from afina.data.tokens.tokens import Tokens
from afina.distil.signal import Said, Signal
from afina.distil.taught import Taught, places_of, starts_of

__all__ = ["Teaching"]


class Teaching:
    """Holds what a student is taught by."""

    def __init__(
        self, taught: Taught, tokens: Tokens, signals: Sequence[Signal], weight: float, *, width: int, seed: int,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        """Take the student's train rows and the `width` of its states; `weight` is the teacher's share of the loss."""
        self.taught, self.signals, self.weight = taught, list(signals), weight
        self._starts, self._choices = starts_of(tokens), tokens.choices
        theirs = int(taught.facts["width"])
        self.trained: dict[str, nn.Parameter] = {
            f"teacher.{own.name}.{name}": nn.Parameter(value.to(device))
            for own in signals for name, value in own.trained(width, theirs, seed).items()
        }  # fmt: skip
        """Parameters of the signals, by name; no part of the student."""

    def loss(self, by_labels: Tensor, student: Said, order: np.ndarray) -> Tensor:
        """Return the loss of a batch's rows, summed over terms: by labels (`by_labels`) and by the teacher.

        `order` has the rows' sequences as they stand in the batch.
        """
        rows = order[:: self._choices] // self._choices
        taught = self.taught.at(places_of(self._starts, rows), by_labels.device)
        theirs = sum(each.weight * each.loss(student, taught, self._of(each)) for each in self.signals)
        return (1 - self.weight) * by_labels + self.weight * theirs

    def _of(self, each: Signal) -> Mapping[str, Tensor]:
        start = f"teacher.{each.name}."
        return {name.removeprefix(start): own for name, own in self.trained.items() if name.startswith(start)}
