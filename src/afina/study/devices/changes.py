"""Find what to change where a run does not fit: first what leaves its result as it is, then what does not.

In order: fewer rows at once (`evaluation_batch_size` where an evaluation is too large, `micro_batch_size`), layers that are
computed again (`gradient_checkpointing`), shorter texts, a quantised base, another method. Each is rehearsed anew.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from afina.backbone.quantise import packed
from afina.config import StudyConfig
from afina.errors import AfinaError
from afina.precision import QUANTISED
from afina.study.devices.device import Device, Room
from afina.study.devices.figures import Computed, Figures, computed
from afina.study.devices.room import Fits, fits, phase_fits
from afina.study.plan import Run
from afina.study.sizes import Sizes, sizes_of

__all__ = ["Case", "Change", "changes_for", "same_result"]

_SHORTEST = 16
"""Tokens below which no text is cut."""


@dataclass(frozen=True)
class Case:
    """Holds a run on a machine, as it may be changed."""

    run: Run
    config: StudyConfig
    shape: Any
    sizes: Sizes
    device: Device
    precision: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings of the study that were changed."""
    compute: Callable[..., Computed] = computed

    @cached_property
    def computed(self) -> Computed:
        """Return what it takes, rehearsed when that is first asked; raises `AfinaError` for what cannot be."""
        return self.compute(self.run, self.config, self.shape, self.sizes, self.device, self.precision)

    def changed(self, **settings: Any) -> "Case":
        """Return it with other settings of the study that leave the data as they are."""
        config = self.config.model_copy(update=settings)
        return replace(self, config=config, settings={**self.settings, **settings})

    @property
    def rows_at_once(self) -> int:
        """Return how many rows of a batch are computed at once."""
        return min(self.config.micro_batch_size or self.config.batch_size, self.config.batch_size)


@dataclass(frozen=True)
class Change:
    """Says what to change, and what a run takes then."""

    settings: Mapping[str, Any]
    """Keys of the study, or `method` for another one in its place."""
    figures: Figures
    fits: Fits
    same_result: bool
    """True where what is learned stays the same, but for draws of dropout."""
    work: float
    """Arithmetic of a step, in times that without the change."""
    rows_cut: int | None = None
    """Train rows that are longer than `max_length` then."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        figures = self.figures
        return {
            "settings": dict(self.settings), "fits": self.fits, "same_result": self.same_result, "work": self.work,
            "rows_cut": self.rows_cut, "memory": asdict(figures.memory),
            "train_seconds": None if figures.train_seconds is None else asdict(figures.train_seconds),
        }  # fmt: skip


def same_result(case: Case, room: Room) -> tuple[Case, Computed, Fits]:
    """Return a case with the least painful changes that leave its result and fit, else with those that take the least."""
    now = case.computed
    if fits(now.memory, room) == "yes":
        return case, now, "yes"
    # With all of them at once, as nothing is to be looked for where that is too much.
    least = case.changed(evaluation_batch_size=1)
    if not case.run.method.gradient_free:
        least = least.changed(micro_batch_size=1, gradient_checkpointing=True)
    smallest = least.computed
    if (fit := fits(smallest.memory, room)) != "yes":
        return least, smallest, fit
    # What is smallest fits, and an evaluation takes by its rows alone.
    evaluated = [
        case,
        *(case.changed(evaluation_batch_size=rows) for rows in _halves(case.config.evaluation_batch_size)),
    ]
    case = _first(evaluated, lambda each: phase_fits(each.computed.memory.evaluate, room) == "yes")

    def trains(each: Case) -> bool:
        return phase_fits(each.computed.memory.train, room) == "yes"

    if trains(case):
        return case, case.computed, "yes"
    for base in (case, case.changed(gradient_checkpointing=True)):
        tried = [base, *(base.changed(micro_batch_size=rows) for rows in _halves(case.rows_at_once))]
        # Half as many rows take more than half: where one row at once is too much, none is looked for.
        if trains(tried[-1]):
            chosen = _first(tried, trains)
            return chosen, chosen.computed, "yes"
    return least, smallest, fit


def _first(cases: Sequence[Case], fit: Callable[[Case], bool]) -> Case:
    """Return the first that fits of cases of which each takes less than the one before and the last one fits."""
    return cases[bisect_left(range(len(cases) - 1), True, key=lambda place: fit(cases[place]))]


def _halves(rows: int) -> Iterator[int]:
    while rows > 1:
        rows = -(-rows // 2)
        yield rows


def changes_for(case: Case, room: Room, others: Sequence[Case] = ()) -> list[Change]:
    """Return what to change so that a run fits, the least painful first; `others` are runs in whose methods it may be done.

    What leaves the result comes alone where it suffices; else it is part of each of the others.
    """
    work = max(1.0, case.computed.step.operations)
    least, now, fit = same_result(case, room)
    changes = [_change(case, least, now, fit, work, same=True)]
    if fit == "yes":
        return changes if least.settings != case.settings else []
    cases = [*_shorter(least, room), *((each, None) for each in _quantised(least)), *((each, None) for each in others)]
    for other, rows_cut in cases:
        if (other.run.model, other.run.dataset) != (case.run.model, case.run.dataset):
            continue
        try:
            now = other.computed
        except AfinaError:
            continue
        if (fit := fits(now.memory, room)) != "no":
            changes.append(_change(case, other, now, fit, work, same=False, rows_cut=rows_cut))
    return changes


def _change(
    before: Case, case: Case, now: Computed, fit: Fits, work: float, *, same: bool, rows_cut: int | None = None
) -> Change:
    settings = {key: value for key, value in case.settings.items() if before.settings.get(key) != value}
    if case.run.label != before.run.label:
        settings = {"method": case.run.label, **settings}
    return Change(settings, now.on(case.device), fit, same, round(now.step.operations / work, 2), rows_cut)


def _shorter(case: Case, room: Room) -> list[tuple[Case, int | None]]:
    """Return a case with the longest texts that fit, and how many rows are cut; none where the shortest are too long."""
    longest = min(case.config.length_of(case.config.dataset[case.run.dataset]), case.sizes.longest)
    shorter = [_at_length(case, length) for length in _halves(longest) if length >= _SHORTEST]
    if not shorter or fits(shorter[-1][0].computed.memory, room) == "no":
        return []
    chosen = _first([each for each, _ in shorter], lambda each: fits(each.computed.memory, room) == "yes")
    return [(each, cut) for each, cut in shorter if each is chosen]


def _at_length(case: Case, length: int) -> tuple[Case, int | None]:
    """Return a case whose texts have at most so many tokens, and how many train rows are longer, where that is known."""
    config, sizes = case.config, case.sizes
    spec = config.dataset[case.run.dataset]
    specs = [each.model_copy(update={"max_length": length}) if each is spec else each for each in config.dataset]
    less = config.model_copy(update={"max_length": length, "dataset": specs})
    if sizes.lengths is None and sizes.longest_rows is None:  # a preset's published sizes
        shorter = replace(sizes, tokens=min(sizes.tokens, length), longest=min(sizes.longest, length))
    else:
        shorter = sizes_of(less, specs[case.run.dataset], case.run.model)
    cut = None if sizes.lengths is None else round(float(np.mean(sizes.lengths > length)) * sizes.train_rows)
    return replace(case, config=less, sizes=shorter, settings={**case.settings, "max_length": length}), cut


def _quantised(case: Case) -> list[Case]:
    """Return a case on a quantised base, where its method trains on one."""
    if case.run.method.owns_backbone or packed(case.precision) is not None:
        return []
    return [replace(case, precision=QUANTISED, settings={**case.settings, "precision": QUANTISED})]
