"""Say what to change of a run that may not fit, a sentence a change, each with its new figures."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from afina.study.devices.changes import Change
    from afina.words.language import Words

__all__ = ["said_changes"]

_COUNTS = 1.1
"""Times the arithmetic from which on that is said."""


def said_changes(label: str, changes: "Sequence[Change]", words: "Words") -> list[str]:
    """Return the sentences of one run's changes."""
    sentences = [_said(label, change, words) for change in changes]
    if not any(change.fits != "no" for change in changes):
        sentences.append(words("{method}: nothing that was tried makes it fit.", method=label))
    return sentences


def _said(label: str, change: "Change", words: "Words") -> str:
    peak = change.figures.memory.peak
    memory = f"{words.number(peak.low / 1e9, 2)}-{words.number(peak.high / 1e9, 2)} GB"
    settings = ", ".join(
        value if key == "method" else f"{key}: {value if isinstance(value, str) else json.dumps(value)}"
        for key, value in change.settings.items()
    )
    if change.fits == "no":
        return words(
            "{method} does not fit even with {settings} ({memory}).", method=label, settings=settings, memory=memory
        )
    if "method" in change.settings:
        text = words("{method}: {other} in its place fits ({memory})", method=label, other=settings, memory=memory)
    elif change.fits == "yes":
        text = words("{method} fits with {settings} ({memory})", method=label, settings=settings, memory=memory)
    else:
        text = words("{method} perhaps fits with {settings} ({memory})", method=label, settings=settings, memory=memory)
    more = [words("what it learns is the same")] if change.same_result else []
    if change.rows_cut is not None:
        more.append(words("{rows} train rows are cut", rows=words.number(change.rows_cut)))
    if change.work >= _COUNTS:
        more.append(words("a step computes {times} times as much", times=words.number(change.work, 2)))
    return f"{'; '.join([text, *more])}."
