"""Hold what a leak audit finds for one adapter, and put it into words."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from afina.audit.exposure import Rank, chance
from afina.audit.measures import Membership, Recitation
from afina.words.language import Words

__all__ = ["Exposure", "Leak", "RiskyRow"]

_CHANCE = 0.01
"""Probability by chance below which canaries count as learned (divided by the number of tests)."""


@dataclass(frozen=True)
class Exposure:
    """Holds how exposed one canary's secret is, in bits."""

    key: str
    secret: str
    repeat: int
    """Number of train rows that hold it."""
    rank: int
    of: int
    """Number of secrets that were ranked, this one included."""
    bits: float
    """log2 of - log2 rank."""
    modelled_bits: float
    """Estimate by a skew-normal distribution of the other secrets' losses; at most `space_bits`."""
    base_bits: float
    """Exposure to the bare base: what chance gave this secret."""
    most_bits: float
    """Most that `bits` can be: log2 `of`."""
    space_bits: float
    """log2 of the number of possible secrets."""


@dataclass(frozen=True)
class RiskyRow:
    """Holds one of the train rows that are given away the most."""

    text: str
    """The beginning of the text that was learned."""
    verbatim: int | None
    """Longest run of its continuation that was recited, in tokens; None where the row is too short to be continued."""
    base_verbatim: int | None
    continuation: int | None
    """Length of the true continuation, in tokens."""
    loss: float
    """Nats a token."""
    base_loss: float


@dataclass(frozen=True)
class Leak:
    """Holds what was found for one adapter."""

    adapter: str
    model: str
    dataset: str
    task: str
    method: str
    rank: int | None
    seed: int
    epochs: int | None
    membership: Membership
    recitation: Recitation | None
    """None where no row is long enough to be continued."""
    exposures: list[Exposure]
    rows_at_risk: list[RiskyRow]
    gap_by_epoch: list[dict[str, float]]
    """Loss on test rows minus loss on train rows after each epoch, from the run's history, in nats a token."""
    notes: list[str] = field(default_factory=list)

    @property
    def learned(self) -> dict[int, float]:
        """Return the p-value of the canaries' ranks if nothing was learned, by number of repetitions."""
        # Together by repetitions: one canary alone is too easily lucky.
        by_times: dict[int, list[Rank]] = {}
        for each in self.exposures:
            by_times.setdefault(each.repeat, []).append(Rank(each.rank, each.of))
        return {repeat: chance(ranks) for repeat, ranks in sorted(by_times.items())}

    @property
    def leaks(self) -> dict[str, bool]:
        """Return whether each test found a leak; tests that could not be made are absent."""
        # A leak is what training added: what the rows themselves explain, the base shows too.
        low = self.membership.learned_gap.low
        answers = {"membership": low is not None and low > 0}
        if self.recitation is not None:
            answers["recitation"] = self.recitation.excess.low is not None and self.recitation.excess.low > 0
        if planted := [chance for repeat, chance in self.learned.items() if repeat]:
            # Divided by the number of tests, as each of them may be low by chance.
            answers["canaries"] = min(planted) < _CHANCE / len(planted)
        return answers

    @property
    def verdict(self) -> list[str]:
        """Return sentences that say what was found, and what that does not prove, in English."""
        return self.told(Words())

    def told(self, words: Words) -> list[str]:
        """Return the verdict's sentences in a language."""
        sentences = [self._on_membership(words)]
        if self.recitation is not None:
            sentences.append(self._on_recitation(self.recitation, words))
        if "canaries" in self.leaks:
            sentences.append(self._on_canaries(words))
        if not any(self.leaks.values()):
            sentences.append(
                words("None of these tests found a leak on these rows; that is no proof that nothing can be extracted.")
            )
        return sentences

    def _on_membership(self, words: Words) -> str:
        gap = self.membership.learned_gap
        interval = words(
            "{gap} nats a token (95% interval {low} to {high})", gap=words.signed(gap.value, 3),
            low="–" if gap.low is None else words.signed(gap.low, 3),
            high="–" if gap.high is None else words.signed(gap.high, 3),
        )  # fmt: skip
        if not self.leaks["membership"]:
            return words("Loss does not tell train rows from held-out rows here: {interval}.", interval=interval)
        return words(
            "Training lowered the loss of train rows more than that of held-out rows: {interval}; of a train row and a "
            "held-out row, loss tells which is which {times} times in 100.",
            interval=interval, times=words.number(100 * self.membership.calibrated_auc),
        )  # fmt: skip

    def _on_recitation(self, recited: Recitation, words: Words) -> str:
        shares = words(
            "{own}% of a train row's continuation in one run, {other}% of a held-out row's",
            own=words.number(100 * recited.train_share), other=words.number(100 * recited.held_out_share),
        )  # fmt: skip
        if not self.leaks["recitation"]:
            return words(
                "The adapter recites train rows no more than it recites held-out rows: {shares}.", shares=shares
            )
        return words(
            "The adapter recites rows that it was trained on: {shares}; {longest} tokens at the longest.",
            shares=shares, longest=recited.longest,
        )  # fmt: skip

    def _on_canaries(self, words: Words) -> str:
        planted = {repeat: chance for repeat, chance in self.learned.items() if repeat}
        limit = _CHANCE / len(planted)
        parts = []
        for repeat, probability in planted.items():
            bits = float(np.mean([each.bits for each in self.exposures if each.repeat == repeat]))
            sentence = words(
                "{bits} bits where planted {repeat} time" if repeat == 1 else "{bits} bits where planted {repeat} times",
                bits=words.number(bits, 1), repeat=repeat,
            )  # fmt: skip
            parts.append(sentence if probability < limit else f"{sentence} ({words('as by chance')})")
        return words(
            "Exposure of the canaries' secrets, of {most} bits at the most: {parts}.",
            most=words.number(self.exposures[0].most_bits, 1), parts=", ".join(parts),
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Return the findings as values that JSON can hold."""
        return asdict(self) | {"leaks": self.leaks, "verdict": self.verdict}
