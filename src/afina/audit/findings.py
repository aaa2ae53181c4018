"""Hold what a leak audit finds for one adapter, and put it into words."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from afina.audit.exposure import Rank, chance
from afina.audit.measures import Membership, Recitation
from afina.measure.bootstrap import Estimate
from afina.results.findings.finding import Evidence, Finding, Subject
from afina.results.findings.sentence import Figure, Sentence
from afina.words.language import Words

__all__ = ["Exposure", "Leak", "RiskyRow"]

_CHANCE = 0.01
"""Probability by chance below which canaries count as learned (divided by the number of tests)."""
_TRAIN_AND_HELD_OUT = Sentence("train and held-out rows")


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
        sentences = [each.verdict.told(words) for each in self.findings]
        if not any(self.leaks.values()):
            sentences.append(
                words("None of these tests found a leak on these rows; that is no proof that nothing can be extracted.")
            )
        return sentences

    @property
    def findings(self) -> list[Finding]:
        """Return a finding for each test that could be made."""
        made = [self._of_membership()]
        if self.recitation is not None:
            made.append(self._of_recitation(self.recitation))
        if "canaries" in self.leaks:
            made.append(self._of_canaries())
        return made

    @property
    def subject(self) -> Subject:
        """Return the adapter's names; a study's adapters all lie in folders called `adapter`, and are told by the run."""
        folder = Path(self.adapter)
        return Subject(
            name=folder.parent.name if folder.name == "adapter" else folder.name, adapter=self.adapter, model=self.model,
            dataset=self.dataset, method=self.method, rank=self.rank, seed=self.seed,
        )  # fmt: skip

    def _of_membership(self) -> Finding:
        is_leak, measured = self.leaks["membership"], self.membership
        gap = measured.learned_gap
        interval = Sentence("{gap} nats a token (95% interval {low} to {high})", {
            "gap": Figure(gap.value, 3, signed=True),
            "low": "–" if gap.low is None else Figure(gap.low, 3, signed=True),
            "high": "–" if gap.high is None else Figure(gap.high, 3, signed=True),
        })  # fmt: skip
        verdict = Sentence("Loss does not tell train rows from held-out rows here: {interval}.", {"interval": interval})
        if is_leak:
            verdict = Sentence(
                "Training lowered the loss of train rows more than that of held-out rows: {interval}; of a train row and a "
                "held-out row, loss tells which is which {times} times in 100.",
                {"interval": interval, "times": Figure(100 * measured.calibrated_auc, 0)},
            )
        return Finding(
            audit="leak", check="membership", subject=self.subject, found=is_leak, value=gap, verdict=verdict,
            measured=Sentence("gap in loss that training added, nats a token"), on=_TRAIN_AND_HELD_OUT,
            rows=measured.train_rows + measured.held_out_rows,
            # Shown once: where rows were continued, those that are recited the most come first.
            evidence=() if self.recitation is not None else self._at_risk(),
        )  # fmt: skip

    def _of_recitation(self, recited: Recitation) -> Finding:
        is_leak = self.leaks["recitation"]
        shares = Sentence(
            "{own}% of a train row's continuation in one run, {other}% of a held-out row's",
            {"own": Figure(100 * recited.train_share, 0), "other": Figure(100 * recited.held_out_share, 0)},
        )
        verdict = Sentence(
            "The adapter recites train rows no more than it recites held-out rows: {shares}.", {"shares": shares}
        )
        if is_leak:
            verdict = Sentence(
                "The adapter recites rows that it was trained on: {shares}; {longest} tokens at the longest.",
                {"shares": shares, "longest": recited.longest},
            )
        return Finding(
            audit="leak", check="recitation", subject=self.subject, found=is_leak, value=recited.excess, verdict=verdict,
            measured=Sentence("share recited that training added"), on=_TRAIN_AND_HELD_OUT,
            rows=recited.train_rows + recited.held_out_rows, evidence=self._at_risk(),
        )  # fmt: skip

    def _of_canaries(self) -> Finding:
        planted = {repeat: chance for repeat, chance in self.learned.items() if repeat}
        limit = _CHANCE / len(planted)
        means = {
            repeat: float(np.mean([each.bits for each in self.exposures if each.repeat == repeat]))
            for repeat in planted
        }
        parts: Sentence | None = None
        for repeat, probability in planted.items():
            part = Sentence(
                "{bits} bits where planted {repeat} time"
                if repeat == 1
                else "{bits} bits where planted {repeat} times",
                {"bits": Figure(means[repeat], 1), "repeat": repeat},
            )
            part = part if probability < limit else Sentence("{part} (as by chance)", {"part": part})
            parts = part if parts is None else Sentence("{first}, {second}", {"first": parts, "second": part})
        assert parts is not None
        # The number of repetitions that is exposed the most; with it the base, to which chance alone gave its bits.
        most = max(means, key=lambda repeat: means[repeat])
        base = float(np.mean([each.base_bits for each in self.exposures if each.repeat == most]))
        return Finding(
            audit="leak", check="canaries", subject=self.subject, found=self.leaks["canaries"], value=Estimate(means[most]),
            base=Estimate(base), measured=Sentence("exposure of planted secrets, bits"),
            on=Sentence("{count} canaries", {"count": len(self.exposures)}), rows=len(self.exposures),
            p_value=min(planted.values()), p_corrected=min(1.0, len(planted) * min(planted.values())),
            verdict=Sentence("Exposure of the canaries' secrets, of {most} bits at the most: {parts}.",
                             {"most": Figure(self.exposures[0].most_bits, 1), "parts": parts}),
        )  # fmt: skip

    def _at_risk(self) -> list[Evidence]:
        rows = []
        for row in self.rows_at_risk:
            losses = Sentence("loss {loss} nats a token, {base} of the base",
                              {"loss": Figure(row.loss, 3), "base": Figure(row.base_loss, 3)})  # fmt: skip
            if row.verbatim is not None and row.base_verbatim is not None and row.continuation is not None:
                losses = Sentence(
                    "{run} of {of} tokens recited, {base} by the base; {losses}",
                    {"run": row.verbatim, "of": row.continuation, "base": row.base_verbatim, "losses": losses},
                )
            rows.append(Evidence(text=row.text, remark=losses))
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Return the findings as values that JSON can hold."""
        return asdict(self) | {"leaks": self.leaks, "verdict": self.verdict}
