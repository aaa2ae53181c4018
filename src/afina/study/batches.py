"""Choose the batches that a run is rehearsed with: the longest of an epoch and of an evaluation, and some of other widths.

Blocks of other sizes leave gaps in a process's memory, and a step's time goes by the width of its batch.
"""

from typing import Any

import numpy as np

from afina.backbone.inputs import random_inputs
from afina.config import StudyConfig
from afina.data.tokens.batching import epoch_batches, evaluation_batches, padded_width, steps_per_epoch
from afina.data.tokens.tokens import Tokens
from afina.study.sizes import Sizes
from afina.study.stand_ins import stand_in_rows

__all__ = ["batch_below", "epoch_widths", "evaluated_batches", "evaluated_shapes", "train_batches"]

_BELOW = 64
"""Rows of such a batch (backbone/trunk.py)."""
_MOST_ROWS = 20_000
"""Rows of an epoch whose batches are looked at; more have batches like these."""
_TRAINED, _TRAINED_DEEP, _DEEP = 3, 2, 8
"""Batches of an epoch that are rehearsed, and how many of a model of more layers than the last: each layer takes its time."""
_EVALUATED = 2
"""Batches of the evaluation of a split that are rehearsed."""


def train_batches(sizes: Sizes, config: StudyConfig, shape: Any, most: int) -> list[Tokens]:
    """Return batches of an epoch of texts of at most `most` tokens, the longest first, as an epoch has it."""
    size = min(config.batch_size, max(1, sizes.train_rows))
    wanted = _TRAINED_DEEP if getattr(shape, "num_hidden_layers", 0) > _DEEP else _TRAINED
    if sizes.longest_rows is None or sizes.sample is None:
        return _unread(shape, sizes, most, size, wanted)
    ranked = np.argsort(-sizes.longest_rows.lengths, kind="stable")
    first = sizes.longest_rows.take(ranked[:size])
    sample = sizes.sample.take(np.arange(min(len(sizes.sample), sizes.train_rows)))
    batches = epoch_batches(sample.lengths, size, seed=config.seeds[0], epoch=0)[1:]
    batches.sort(key=lambda rows: -int(sample.lengths[rows].max()))
    # Of the others those in the middle of as many parts.
    others = wanted - 1
    places = [len(batches) * (2 * part + 1) // (2 * others) for part in range(others)] if batches else []
    return [first, *(sample.take(batches[place]) for place in dict.fromkeys(places))]


def batch_below(sizes: Sizes, config: StudyConfig, shape: Any, most: int) -> Tokens:
    """Return the longest batch in which train rows go through the layers below the lowest branch before the first step."""
    at_once = max(1, min(_BELOW, sizes.train_rows))
    rows = _unread(shape, sizes, most, at_once, 1)[0] if sizes.sample is None else sizes.sample
    *_, last = evaluation_batches(rows.lengths * rows.choices, max(1, at_once // rows.choices))
    return rows.take(last)


def evaluated_batches(sizes: Sizes, config: StudyConfig, shape: Any, most: int) -> list[Tokens]:
    """Return batches of an evaluation of the train rows and of one of the test rows, each as it begins and as it ends."""
    chosen: list[Tokens] = []
    trained = min(sizes.train_rows, config.train_evaluation_limit or sizes.train_rows)
    for rows, count in ((sizes.sample, trained), (sizes.tested, sizes.test_rows)):
        at_once = max(1, min(config.evaluation_batch_size, count + sizes.beside))
        if rows is None:
            if chosen:
                break  # those of another split are of the same sizes
            made = _unread(shape, sizes, most, at_once, _EVALUATED)
            for batch in made[::-1]:
                evaluated = batch.evaluated()
                *_, last = evaluation_batches(evaluated.lengths * evaluated.choices, at_once)
                chosen.append(evaluated.take(last))
            continue
        evaluated = rows.evaluated()
        batches = list(evaluation_batches(evaluated.lengths * evaluated.choices, at_once))
        places = [(len(batches) - 1) * part // (_EVALUATED - 1) for part in range(_EVALUATED)]
        chosen += [evaluated.take(batches[place]) for place in dict.fromkeys(places)]
    return chosen


def epoch_widths(sizes: Sizes, config: StudyConfig, most: int) -> tuple[np.ndarray, float]:
    """Return the widths of batches of an epoch, and how many batches there are for each of these."""
    steps = steps_per_epoch(sizes.train_rows, config.batch_size)
    if sizes.lengths is None:
        return np.array([padded_width(min(most, round(sizes.tokens)), 1 << 30)]), steps
    lengths = np.minimum(sizes.lengths, most)
    count = min(sizes.train_rows, _MOST_ROWS)
    drawn = lengths if len(lengths) >= count else np.random.default_rng(0).choice(lengths, count)
    batches = epoch_batches(drawn[:count], config.batch_size, seed=config.seeds[0], epoch=0)
    return np.array([padded_width(int(drawn[rows].max()), 1 << 30) for rows in batches]), steps / len(batches)


def evaluated_shapes(
    sizes: Sizes, config: StudyConfig, most: int, *, whole: bool = False
) -> dict[str, tuple[np.ndarray, float]]:
    """Return (rows, width) of the batches of an evaluation by split, and how many there are for each of these.

    With `whole` all train rows are evaluated.
    """
    shapes = {}
    seen = sizes.train_rows if whole else min(sizes.train_rows, config.train_evaluation_limit or sizes.train_rows)
    for split, rows, count in (("train", sizes.sample, seen), ("test", sizes.tested, sizes.test_rows)):
        every, texts = count + sizes.beside, 1 if rows is None else rows.evaluated().choices
        unread = np.array([min(most, max(1, round(sizes.tokens)))])
        lengths = unread if rows is None else rows.evaluated().lengths
        # As many as there are, of lengths as the sample's.
        lengths = np.resize(lengths, min(_MOST_ROWS, every))
        batches = list(evaluation_batches(lengths * texts, config.evaluation_batch_size))
        made = [(len(own) * texts, padded_width(int(lengths[own].max()), 1 << 30)) for own in batches]
        shapes[split] = np.array(made), every / len(lengths)
    return shapes


def _unread(shape: Any, sizes: Sizes, longest: int, rows: int, count: int) -> list[Tokens]:
    """Return batches of rows that nobody has read: as long as the longest, as the mean, and as half of it."""
    inputs = random_inputs(shape, 1, 1, "meta")
    image = tuple(inputs["pixel_values"].shape[1:]) if "pixel_values" in inputs else ()
    mean = max(1, min(longest, round(sizes.tokens)))
    lengths = [longest] if image else list(dict.fromkeys([longest, mean, max(1, mean // 2)]))[:count]
    return [
        stand_in_rows(
            rows * sizes.texts, length, choices=sizes.classes if sizes.speaks else 0, tagged=sizes.tags,
            trained=sizes.trained, image=image,
        )
        for length in lengths
    ]  # fmt: skip
