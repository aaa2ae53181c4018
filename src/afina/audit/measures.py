"""What is compared of train rows and held-out rows: their loss, and how much of them is recited word for word.

Membership by loss: Yeom et al., 2018, arXiv:1709.01604; calibrated by a model that did not see the rows: Watson et al., 2022,
arXiv:2111.08440. Recitation after a prefix: Carlini et al., 2023, Quantifying Memorization, arXiv:2202.07646.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from afina.measure.bootstrap import Estimate, Measure, estimates

__all__ = ["VERBATIM", "Membership", "Recitation", "Share", "longest_run", "membership", "recitation"]

VERBATIM = (10, 20, 50)
"""Tokens in a row from which a recitation counts."""


@dataclass(frozen=True)
class Membership:
    """How far train rows (members) can be told from held-out rows by their loss, in nats a token."""

    train_rows: int
    held_out_rows: int
    train_loss: float
    held_out_loss: float
    base_train_loss: float
    base_held_out_loss: float
    gap: Estimate
    """Mean loss of held-out rows less that of train rows."""
    base_gap: Estimate
    """The same of the base, which trained on neither: what is in the rows themselves."""
    learned_gap: Estimate
    """Gap less base gap, drawn again over the same rows."""
    auc: float
    """How often a train row has a lower loss than a held-out row; 0.5 is chance."""
    base_auc: float
    calibrated_auc: float
    """How often training lowered the loss of a train row by more than that of a held-out row."""


@dataclass(frozen=True)
class Share:
    """Rows of which at least `tokens` in one run are recited, of those that go on for that long."""

    tokens: int
    train_rows: int
    train_recited: int
    base_train_recited: int
    held_out_rows: int
    held_out_recited: int
    base_held_out_recited: int


@dataclass(frozen=True)
class Recitation:
    """How much of a row's continuation is written word for word after its beginning."""

    train_rows: int
    held_out_rows: int
    train_share: float
    """Mean share of a train row's continuation that its longest verbatim run is."""
    held_out_share: float
    base_train_share: float
    base_held_out_share: float
    excess: Estimate
    """What training added to the share, of train rows less of held-out rows."""
    longest: int
    """Tokens of the longest run in any train row."""
    shares: list[Share]


def membership(losses: np.ndarray, base: np.ndarray, member: np.ndarray) -> Membership:
    """Compare losses (N,) in nats a token, of the adapter and of its base, of rows that are members (N,) bool or not."""
    from sklearn.metrics import roc_auc_score

    (base_gap, gap), (_, learned) = estimates(
        [_advantage("base_gap", -base, member), _advantage("gap", -losses, member)], groups=member
    )
    return Membership(
        train_rows=int(member.sum()), held_out_rows=int((~member).sum()),
        train_loss=float(losses[member].mean()), held_out_loss=float(losses[~member].mean()),
        base_train_loss=float(base[member].mean()), base_held_out_loss=float(base[~member].mean()),
        gap=gap, base_gap=base_gap, learned_gap=learned, auc=float(roc_auc_score(member, -losses)),
        base_auc=float(roc_auc_score(member, -base)), calibrated_auc=float(roc_auc_score(member, base - losses)),
    )  # fmt: skip


def longest_run(written: Sequence[int], truth: Sequence[int]) -> int:
    """Return the most tokens in a row that both have."""
    return SequenceMatcher(None, written, truth, autojunk=False).find_longest_match().size


def recitation(verbatim: np.ndarray, base: np.ndarray, length: np.ndarray, member: np.ndarray) -> Recitation:
    """Compare the longest verbatim runs (N,) of the adapter and of its base with the continuations' lengths (N,)."""
    own, bare = verbatim / length, base / length
    (excess,), _ = estimates([_advantage("excess", own - bare, member)], groups=member)
    shares = []
    for tokens in VERBATIM:
        train, held = member & (length >= tokens), ~member & (length >= tokens)
        counts = [int((runs[group] >= tokens).sum()) for group in (train, held) for runs in (verbatim, base)]
        shares.append(Share(tokens, int(train.sum()), counts[0], counts[1], int(held.sum()), counts[2], counts[3]))
    return Recitation(
        train_rows=int(member.sum()), held_out_rows=int((~member).sum()), train_share=float(own[member].mean()),
        held_out_share=float(own[~member].mean()), base_train_share=float(bare[member].mean()),
        base_held_out_share=float(bare[~member].mean()), excess=excess, longest=int(verbatim[member].max()),
        shares=shares,
    )  # fmt: skip


def _advantage(name: str, values: np.ndarray, member: np.ndarray) -> Measure:
    """The mean of values (N,) over members less that over the others."""
    parts = np.stack([values * member, member, values * ~member, ~member], axis=1).astype(np.float64)
    return Measure(name, parts, lambda sums: float(sums[0] / sums[1] - sums[2] / sums[3]))
