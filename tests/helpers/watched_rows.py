"""Figures of rows as they are kept of an adapter's, drawn from laws that a test may shift."""

from typing import Any

import numpy as np

from afina.drift.seen import WIDTH, Seen

__all__ = ["drawn_rows"]


def drawn_rows(random: np.random.Generator, rows: int, vectors: int = 40, **changed: Any) -> Seen:
    """Draw rows that are right as often as they are sure; `changed` fields take the place of those drawn."""
    length = (random.negative_binomial(4, 0.1, rows) + 3).astype(np.int32)
    label = random.choice(["a", "b", "c"], rows, p=[0.5, 0.3, 0.2])
    confidence = random.beta(8, 1.5, rows).astype(np.float32)
    right = random.random(rows) < confidence
    values: dict[str, Any] = {
        "length": length, "unseen": (random.binomial(length, 0.03) / length).astype(np.float32),
        "surprise": random.normal(9, 1, rows).astype(np.float32),
        "spoken": random.choice(["en", "unknown", "pt"], rows, p=[0.97, 0.025, 0.005]),
        # Of heavy tails, and not normal in any direction.
        "vectors": (random.standard_normal((vectors, WIDTH)) * random.exponential(1, (vectors, 1))).astype(np.float16),
        "label": label, "confidence": confidence, "truth": np.where(right, label, "d"),
    }  # fmt: skip
    return Seen(**values | changed)
