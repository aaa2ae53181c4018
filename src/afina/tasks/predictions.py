"""Hold what is predicted for a text: a label with its probabilities, or a number; other tasks extend it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from afina.data.tokens.tokens import Tokens

__all__ = ["Decoded", "Prediction", "Shown", "TextAnswers", "short"]


@dataclass(frozen=True)
class Decoded:
    """Holds predictions (N,) and scores (N, K): class probabilities, or the number itself."""

    predictions: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Shown:
    """A prediction as JSON has it, the fields of it that a table has, and whether it is sure enough."""

    answer: dict[str, Any]
    fields: dict[str, Any]
    sure: bool = True


@dataclass(frozen=True)
class Prediction:
    """A label with its probabilities in label order, or for regression a number alone."""

    label: str | float
    probabilities: dict[str, float] | None

    def __repr__(self) -> str:
        if self.probabilities is None:
            return f"Prediction({self.label if isinstance(self.label, str) else format(self.label, '.6g')})"
        return f"Prediction({self.label!r}, {max(self.probabilities.values(), default=0.0):.4f})"

    def as_dict(self) -> dict[str, Any]:
        return {"label": self.label} if self.probabilities is None else vars(self)

    def shown(self, at_least: float | None) -> Shown:
        """Return it as files have it; below the probability `at_least` it has no label."""
        if self.probabilities is None:
            value = float(f"{self.label:.6g}")
            return Shown({"label": value}, {"prediction": value})
        # By the whole number, and not by the four digits that are shown.
        highest = max(self.probabilities.values())
        sure = at_least is None or highest >= at_least
        each = {name: short(p) for name, p in self.probabilities.items()}
        label = self.label if sure else None
        unsure = {} if at_least is None else {"decided": sure, "most_likely": self.label}
        by_name = {f"p({name})": p for name, p in each.items()}
        fields = {"prediction": label, **unsure, "probability": short(highest), **by_name}
        return Shown({"label": label, **unsure, "probabilities": each}, fields, sure)


class TextAnswers(list[Prediction]):
    """Holds what is predicted for each of several texts."""

    def __init__(self, each: Iterable[Prediction], tokens: "Tokens") -> None:
        super().__init__(each)
        self.cut = tokens.texts_cut
        """Texts that were longer than is read, of which only that much was."""


def short(probability: float) -> float:
    """Write a number with four digits: more are the arithmetic's, not the model's."""
    return round(float(probability), 4)
