"""Watch whether answers are as often right for one group as for another, within the rows themselves."""

import numpy as np

from afina.drift.channel import Channel, Measured, channel
from afina.drift.seen import Seen
from afina.drift.two_samples import same_shares

__all__ = ["GroupGap"]

_FEWEST = 20
"""Judged rows of a group, below which it is left out."""


@channel("groups")
class GroupGap(Channel):
    """The share of right answers of the group that has the fewest, less that of the group that has the most."""

    title = "right answers, worst group less best"
    portuguese = "respostas certas, pior grupo menos melhor"
    part = "labels"
    share = True

    @classmethod
    def measure(cls, earlier: Seen, rows: Seen, random: np.random.Generator, *, smallest: float) -> Measured | None:
        if rows.group is None or rows.label is None or not rows.known.any():
            return None
        named, right = rows.group[rows.known], rows.right
        sizes = {str(name): int((named == name).sum()) for name in np.unique(named) if name}
        names = [name for name, size in sizes.items() if size >= _FEWEST]
        if len(names) < 2:
            return None
        counts = np.array([[right[named == name].sum(), (1 - right[named == name]).sum()] for name in names], dtype=int)
        shares = counts[:, 0] / counts.sum(axis=1)
        worst, best = int(shares.argmin()), int(shares.argmax())
        value = float(shares[worst] - shares[best])
        error = 1.96 * float(np.sqrt(sum(shares[own] * (1 - shares[own]) / counts[own].sum() for own in (worst, best))))
        p = same_shares(counts.T, random, smallest=smallest)
        return Measured(value, value - error, value + error, 0.0, p, about=f"{names[worst]} / {names[best]}")
