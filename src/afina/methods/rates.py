"""`learning_rate: auto`: rate = reference * (500 / steps)^by_steps * (384 / width)^by_width, both within bounds.

A short run wants a higher rate, most of all where little is trained and starts at zero: what a weight can become is about
the rate times the steps. Full tuning, which moves weights that are already good, wants less the wider the model (Yang et
al., 2022, arXiv:2203.03466: AdamW's rate of hidden matrices falls with the width; Schulman et al., 2025, "LoRA without
regret": ten times full tuning's rate for low-rank changes, more in short runs). Each method says its own numbers in its own
file; they were fitted to measurements (benchmarks/auto_rates.py), at 500 steps of MiniLM, which is 384 wide.
"""

from dataclasses import dataclass, replace

__all__ = ["RateRule"]

_STEPS, _WIDTH = 500, 384
_FEWEST, _MOST = 30, 10_000
"""Steps within which rates change: in fewer no rate is enough, and for more they would fall below all that is published."""
_NARROWEST, _WIDEST = 256, 8_192


@dataclass(frozen=True)
class RateRule:
    """Says how a method's rate follows a run's length and a model's width."""

    reference: float
    """Rate at 500 steps on a model 384 wide."""
    by_steps: float = 0.5
    """0 where the length does not matter, 1 where rate times steps stays the same."""
    by_width: float = 0.0
    """Likewise: half for vectors that scale or shift, whose head is as wide as the model, up to 1 for whole matrices."""

    def times(self, factor: float) -> "RateRule":
        """Return the rule with another reference."""
        return replace(self, reference=self.reference * factor)

    def rate(self, steps: int, width: int) -> float:
        """Return the rate for so many optimiser steps on a model so wide, in two digits, as a person would write it."""
        # Beyond what was measured the rule is not followed: it would end in rates that nobody has tried.
        steps, width = min(max(steps, _FEWEST), _MOST), min(max(width, _NARROWEST), _WIDEST)
        exact = self.reference * (_STEPS / steps) ** self.by_steps * (_WIDTH / width) ** self.by_width
        return float(f"{exact:.2g}")
