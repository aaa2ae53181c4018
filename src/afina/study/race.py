"""Race a study's candidates by successive halving (Jamieson and Talwalkar, 2016, arXiv:1502.07943; in rungs as in ASHA,
Li et al., 2020, arXiv:1810.05934, which all candidates reach together here, being one cohort)."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from afina.measure.metrics.base import higher_is_better
from afina.results.result import Race
from afina.study_parts import RaceSpec

__all__ = ["lost_words", "rung_steps", "share_of_steps", "standings", "who_leaves"]


def rung_steps(race: RaceSpec, total_steps: int) -> set[int]:
    """Return the steps after which candidates are judged."""
    return {max(1, round(rung * total_steps)) for rung in race.rungs}


def share_of_steps(race: RaceSpec, candidates: int) -> float:
    """Return which share of the whole grid's steps a race of so many candidates takes."""
    taken, left, before = 0.0, candidates, 0.0
    for rung in [*race.rungs, 1.0]:
        taken, before = taken + left * (rung - before), rung
        left = max(1, math.ceil(race.keep * left))
    return taken / candidates


def standings(
    metric: str, values: Mapping[str, Sequence[float]], failed: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """Return each candidate's value and place, by name; `values` has each one's, a seed each.

    Those of which a seed has `failed` come last: what its other seeds reached is not what the candidate does.
    """
    sign = -1 if higher_is_better(metric) else 1
    means = {name: float(np.mean(own)) for name, own in values.items()}
    ranking = sorted(means, key=lambda name: (name in failed, sign * means[name]))
    return {
        name: {"metric": metric, "value": means[name], "place": place, "of": len(ranking)}
        for place, name in enumerate(ranking, start=1)
    }


def who_leaves(race: RaceSpec, candidates: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the candidates of these standings that leave."""
    staying = max(1, math.ceil(race.keep * len(candidates)))
    return {name for name, own in candidates.items() if own["place"] > staying}


def lost_words(lost: Race) -> str:
    """Say when and why a candidate left."""
    return (
        f"left the race after {lost.step:,} of {lost.steps:,} steps: {lost.metric} {lost.value:.4f} on the development "
        f"split, place {lost.place} of {lost.of}"
    )
