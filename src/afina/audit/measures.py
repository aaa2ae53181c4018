"""Compare train rows with held-out rows: by their loss, and by how much of each is recited word for word.

Membership by loss: Yeom et al., 2018, arXiv:1709.01604; calibrated by a model that did not see the rows: Watson et al., 2022,
arXiv:2111.08440. Recitation after a prefix: Carlini et al., 2023, Quantifying Memorization, arXiv:2202.07646.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from afina.measure.bootstrap import Estimate, Measure, estimates

__all__ = ["VERBATIM", "Membership", "Recitation", "RecitedShare", "longest_run", "membership", "recitation"]

VERBATIM = (10, 20, 50)
"""Lengths of a verbatim run, in tokens, for which recited rows are counted."""


@dataclass(frozen=True)
class Membership:
    """Holds how well loss, in nats a token, separates train rows (members) from held-out rows."""

    train_rows: int
    held_out_rows: int
    train_loss: float
    held_out_loss: float
    base_train_loss: float
    base_held_out_loss: float
    gap: Estimate
    """Mean loss of held-out rows minus that of train rows."""
    base_gap: Estimate
    """The same gap of the base, which trained on neither: the part that the rows themselves explain."""
    learned_gap: Estimate
    """Gap minus base gap, with a bootstrap that draws the same rows for both."""
    auc: float
    """The share of pairs in which the train row has the lower loss; 0.5 is chance."""
    base_auc: float
    calibrated_auc: float
    """The share of pairs in which training lowered the train row's loss by more."""


@dataclass(frozen=True)
class RecitedShare:
    """Counts the rows recited for `tokens` or more in one run, among rows whose continuation is that long."""

    tokens: int
    train_rows: int
    train_recited: int
    base_train_recited: int
    held_out_rows: int
    held_out_recited: int
    base_held_out_recited: int


@dataclass(frozen=True)
class Recitation:
    """Holds how much of a row's continuation the model writes word for word, given the row's beginning."""

    train_rows: int
    held_out_rows: int
    train_share: float
    """Longest verbatim run as a share of the continuation, averaged over train rows."""
    held_out_share: float
    base_train_share: float
    base_held_out_share: float
    excess: Estimate
    """The share that training added for train rows, minus the share that it added for held-out rows."""
    longest: int
    """Length of the longest verbatim run in any train row, in tokens."""
    shares: list[RecitedShare]


def membership(losses: np.ndarray, base: np.ndarray, member: np.ndarray) -> Membership:
    """Compare the losses (N,) of the adapter and of its base, in nats a token; `member` (N,) marks the train rows."""
    from sklearn.metrics import roc_auc_score

    # Drawn within members and others apart, so that every resample has as many of each.
    (base_gap, gap), (_, learned) = estimates(
        [_advantage("base_gap", -base, member), _advantage("gap", -losses, member)], groups=member
    )
    return Membership(
        train_rows=int(member.sum()), held_out_rows=int((~member).sum()),
        train_loss=float(losses[member].mean()), held_out_loss=float(losses[~member].mean()),
        base_train_loss=float(base[member].mean()), base_held_out_loss=float(base[~member].mean()),
        # Minus the loss: a member should have the higher score.
        gap=gap, base_gap=base_gap, learned_gap=learned, auc=float(roc_auc_score(member, -losses)),
        base_auc=float(roc_auc_score(member, -base)), calibrated_auc=float(roc_auc_score(member, base - losses)),
    )  # fmt: skip


def longest_run(written: Sequence[int], truth: Sequence[int]) -> int:
    """Return the length of the longest run of tokens that both texts share."""
    # Without `autojunk`, which passes over frequent tokens in long texts, and they are what a recited row is made of.
    return SequenceMatcher(None, written, truth, autojunk=False).find_longest_match().size


def recitation(verbatim: np.ndarray, base: np.ndarray, length: np.ndarray, member: np.ndarray) -> Recitation:
    """Compare the longest verbatim runs (N,) of the adapter and of its base, as shares of the continuations' lengths (N,)."""
    share, bare = verbatim / length, base / length
    (excess,), _ = estimates([_advantage("excess", share - bare, member)], groups=member)
    shares = []
    for tokens in VERBATIM:
        # Only rows that are long enough: in a shorter one no run of this length can be.
        train, held = member & (length >= tokens), ~member & (length >= tokens)
        counts = [int((runs[group] >= tokens).sum()) for group in (train, held) for runs in (verbatim, base)]
        shares.append(
            RecitedShare(tokens, int(train.sum()), counts[0], counts[1], int(held.sum()), counts[2], counts[3])
        )
    return Recitation(
        train_rows=int(member.sum()), held_out_rows=int((~member).sum()), train_share=float(share[member].mean()),
        held_out_share=float(share[~member].mean()), base_train_share=float(bare[member].mean()),
        base_held_out_share=float(bare[~member].mean()), excess=excess, longest=int(verbatim[member].max()),
        shares=shares,
    )  # fmt: skip


def _advantage(name: str, values: np.ndarray, member: np.ndarray) -> Measure:
    """Return the measure 'mean over members minus mean over the others' of values (N,)."""
    # Sums and counts, of which the bootstrap can make any resample's means without the rows.
    parts = np.stack([values * member, member, values * ~member, ~member], axis=1).astype(np.float64)
    return Measure(name, parts, lambda sums: float(sums[0] / sums[1] - sums[2] / sums[3]))
