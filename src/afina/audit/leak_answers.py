"""Hold what a leak audit asks of adapter and base alike, and what one of them answered."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from afina.audit.canaries import Canary
from afina.audit.witness import Sequences, Start

__all__ = ["PARTS", "LeakAnswers", "LeakQuestions"]

PARTS = ("train", "held-out")


@dataclass(frozen=True)
class LeakQuestions:
    """Holds what adapter and base are both asked, by part of the data: train and held-out."""

    rows: dict[str, Sequences]
    starts: dict[str, dict[int, Start]]
    """Beginnings to be continued, by part and row number; rows too short to be continued are absent."""
    canaries: list[tuple[Canary, Sequences]]
    """Each canary with its own row, and behind it the rows of other secrets."""

    @property
    def key(self) -> tuple[object, ...]:
        """Return all that is asked, by which answers are known again."""
        sequences = [*self.rows.values(), *(candidates for _, candidates in self.canaries)]
        read = [(each.tokens.ids.tolist(), each.tokens.targets.tolist(), each.owner.tolist()) for each in sequences]
        return (read, self.starts, [canary.key for canary, _ in self.canaries])


@dataclass(frozen=True)
class LeakAnswers:
    """Holds what one model answered."""

    losses: dict[str, np.ndarray]
    """(rows,) nats a token, by part; nan for a row without a token to learn."""
    verbatim: dict[str, np.ndarray]
    """(rows with a start,) tokens of the longest verbatim run, by part."""
    canaries: dict[str, np.ndarray]
    """(secrets,) summed losses by the canary's key, the planted secret first."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the answers as arrays by name."""
        return {f"{kind} {name}": own for kind, values in vars(self).items() for name, own in values.items()}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "LeakAnswers":
        """Return the answers that `arrays` gave."""
        parts: dict[str, dict[str, np.ndarray]] = {"losses": {}, "verbatim": {}, "canaries": {}}
        for name, values in arrays.items():
            kind, _, part = name.partition(" ")
            parts[kind][part] = values
        return cls(**parts)

    def joined(self, values: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([values[part] for part in PARTS])
