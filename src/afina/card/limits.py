"""Say what a card's numbers do not show: languages, lengths, short runs, one seed, what nobody looked at."""

from dataclasses import replace

from afina.card.form import Form
from afina.card.known import Known
from afina.card.metadata import languages_of
from afina.results.doubts import doubts
from afina.words.language import Words

__all__ = ["limits"]

_FEW = 200
"""Test rows below which a share is off by seven points as a rule."""


def limits(known: Known, form: Form, words: Words) -> str:
    """Write the part on limits."""
    sentences = [_languages(known, words), _lengths(known, words), *_doubts(known, words), _chance(known, words)]
    if known.trouble is not None:
        sentences.append(
            words("The study's results could not be read when this was written, and nothing of them is said here.")
        )
    elif known.run is None:
        sentences.append(words("What it was trained and tested on is not known to this card beyond what stands here."))
    if known.audit:
        sentences.append(words("Nobody looked with Afina, as far as this card knows, for bias or for drift."))
    else:
        sentences.append(
            words(
                "Nobody looked with Afina, as far as this card knows, for training texts that it may give away, for bias, or "
                "for drift (`afina audit`)."
            )
        )
    return f"## {words('Limits')}\n\n" + "\n".join(f"- {sentence}" for sentence in sentences if sentence)


def _languages(known: Known, words: Words) -> str:
    if known.base.inputs != "text":
        return ""
    counts = {} if known.data is None else known.data.languages
    named, total = languages_of(known), sum(counts.values())
    # No language that more than a few texts are in: nothing is claimed.
    if not named:
        return words("Which languages its texts are in is not known; on others than those it is untested.")
    shown = ", ".join(f"{key} ({words.number(100 * counts[key] / total)}%)" for key in named)
    return words(
        "Languages of its train texts, told by their words: {languages}; on others it is untested.", languages=shown
    )


def _lengths(known: Known, words: Words) -> str:
    if known.base.inputs != "text" or known.record.max_length >= 1 << 29:
        return ""
    return words(
        "It reads the first {length} tokens of a text, and nothing behind them.",
        length=words.number(known.record.max_length),
    )


def _doubts(known: Known, words: Words) -> list[str]:
    """Say what the report doubts of this method."""
    if known.group is None:
        return []
    doubted, this = doubts(known.group.cells), (known.method,)
    of_this = replace(
        # Of this method alone: the doubts about its neighbours belong into their cards.
        doubted,
        by_default=this if known.method in doubted.by_default else (),
        rising=this if known.method in doubted.rising else (),
        below_head=this if known.method in doubted.below_head else (),
    )
    return [of_this.rates(words), *of_this.learning(words)]


def _chance(known: Known, words: Words) -> str:
    run, cell = known.run, known.cell
    if run is None:
        return ""
    sentences = []
    if cell is not None and len(cell.runs) == 1:
        sentences.append(words("One seed only: training's own chance is not in the intervals."))
    if (run.test_rows or 0) < _FEW:
        sentences.append(words("{rows} test rows are few: the interval is wide.", rows=words.number(run.test_rows)))
    return " ".join(sentences)
