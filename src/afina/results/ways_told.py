"""Say in words which way of answering from documents is worth it, and when the data cannot decide."""

from collections.abc import Sequence

from afina.results.comparison import WaysCompared
from afina.results.shown import metric_digits, scaled
from afina.results.statistics import Comparison
from afina.results.ways import CONTRASTS, WAYS
from afina.words.language import Words

__all__ = ["metric_words", "ways_told"]


def ways_told(compared: WaysCompared, model: str, words: Words, tests: Sequence[Comparison]) -> list[str]:
    """Return the sentences on one model: which way is worth it, what each step brings, and what the figures rest on."""
    sentences = [_verdict(compared, model, words, tests), *_contrasts(compared, words, tests)]
    reads = [way for way in compared.ways if compared.found_share(model, way) is not None]
    if reads:
        share = compared.found_share(model, reads[0]) or 0.0
        sentences.append(
            words(
                "A passage that tells the answer was among those found for {share}% of the questions that have one.",
                share=words.number(100 * share, 1),
            )
        )
    groups = len({question.group for question in compared.questions})
    sentences.append(
        words(
            "{questions} questions in {groups} groups were asked; those of a group are drawn together.",
            questions=words.number(len(compared.questions)), groups=words.number(groups),
        )
    )  # fmt: skip
    if len(compared.seeds) == 1 and any(WAYS[way].who != "base" for way in compared.ways):
        sentences.append(words("One seed only: training's own chance is not in the intervals."))
    return sentences


def metric_words(name: str, words: Words) -> str:
    """Return a metric's name as a person says it."""
    return words(name).replace("_", " ")


def _verdict(compared: WaysCompared, model: str, words: Words, tests: Sequence[Comparison]) -> str:
    ranked = compared.ranked(model)
    if not ranked:
        return words("Nothing was asked that this metric is of.")
    best = ranked[0]
    tied = [way for way in ranked[1:] if any(each.tie and {each.first, each.second} == {best, way} for each in tests)]
    if len(ranked) == 1:
        return words("{best} is the only way that can be gone ({value}).", best=_named(best, words),
                     value=_valued(compared, model, best, words))  # fmt: skip
    if not tied:
        return words(
            "Worth it: {best} ({metric} {value}), ahead of every other way by more than chance.",
            best=_named(best, words), metric=metric_words(compared.metric, words),
            value=_valued(compared, model, best, words),
        )  # fmt: skip
    even = [best, *tied]
    cheapest = min(even, key=lambda way: _preparing(compared, model, way))
    listed = "; ".join(f"{_named(way, words)} {_valued(compared, model, way, words)}" for way in even)
    return words(
        "The data cannot decide by {metric} between {ways}: they differ by no more than chance could. The cheapest to "
        "prepare is {cheapest} ({seconds} s).",
        metric=metric_words(compared.metric, words), ways=listed, cheapest=_named(cheapest, words),
        seconds=words.compact(_preparing(compared, model, cheapest)),
    )  # fmt: skip


def _contrasts(compared: WaysCompared, words: Words, tests: Sequence[Comparison]) -> list[str]:
    """Say of each pair of ways that answers a question by how much they differ."""
    scale, digits = scaled(compared.metric), metric_digits(compared.metric)
    sentences = []
    for first, second, what in CONTRASTS:
        entry = next((each for each in tests if {each.first, each.second} == {first, second}), None)
        if entry is None:
            continue
        sign = 1 if entry.first == first else -1
        low, high = sorted((sign * entry.low, sign * entry.high))
        better = (entry.difference * sign > 0) == (compared.metric != "wrong_refusals")
        outcome = words("cannot be told from chance") if entry.tie else words("better" if better else "worse")
        gap, *bounds = (
            words.signed(round(scale * value, digits) + 0.0, digits)  # no nought with a minus
            for value in (sign * entry.difference, low, high)
        )
        sentences.append(
            words(
                "{what}: {gap} points ({low} to {high}), {outcome}.",
                what=_begun(words(what)), gap=gap, low=bounds[0], high=bounds[1], outcome=outcome,
            )
        )  # fmt: skip
    return sentences


def _preparing(compared: WaysCompared, model: str, way: str) -> float:
    runs = compared.of(model, way)
    return sum(run.preparing_seconds for run in runs) / len(runs)


def _valued(compared: WaysCompared, model: str, way: str, words: Words) -> str:
    figure = compared.figure(model, way, compared.metric)
    assert figure is not None
    return f"{words.number(scaled(compared.metric) * figure.mean, metric_digits(compared.metric))}%"


def _named(way: str, words: Words) -> str:
    return words(WAYS[way].phrase)


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]
