"""Choose what is one for all runs of a model: its precision, and what makes it fit; what was chosen once stays."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from afina.config import StudyConfig
from afina.results.study_file import ChosenPrecision, Resolved
from afina.study import events
from afina.study.events import Observer
from afina.study.executors.base import Executor
from afina.study.fit import FitJob, Fitted, kind_of_run
from afina.study.plan import Run

if TYPE_CHECKING:
    from afina.study.prepare import PreparedData

__all__ = ["chosen_precisions", "fitted"]

_OTHERWISE = ", as memory has no room for all of its runs otherwise."


def chosen_precisions(
    config: StudyConfig, runs: Sequence[Run], left: Sequence[Run], before: Resolved,
    prepared: "Mapping[tuple[str, int], PreparedData]", device: str, executor: Executor, observer: Observer,
) -> dict[str, ChosenPrecision]:  # fmt: skip
    """Return, by model, the precision of the runs that are left, and why."""
    chosen: dict[str, ChosenPrecision] = {}
    for model in dict.fromkeys(run.model for run in left):
        if config.precision != "auto":
            chosen[model] = ChosenPrecision.made(precision=config.precision, reason="the study says so")
        elif model in before.precision:
            chosen[model] = before.precision[model]
        else:
            from afina.study.worker import choose_precision_for

            wanted = sorted({run.method.precision_on("auto") for run in runs})
            # The longest of its data sets decides, as precisions differ by the size of products.
            length = max(entry.median_length for (name, _), entry in prepared.items() if name == model)
            chosen[model] = executor.submit(choose_precision_for, {
                "model": model, "device": device, "batch_size": config.batch_size, "length": length,
                "trust_remote_code": config.trust_remote_code,
                "wanted": wanted,
            }, observer)  # fmt: skip
    return chosen


def fitted(
    config: StudyConfig, runs: Sequence[Run], left: Sequence[Run], before: Resolved,
    precision: Mapping[str, ChosenPrecision], device: str, executor: Executor, observer: Observer,
) -> Fitted:  # fmt: skip
    """Return what to change of a study that is to fit; what an earlier start changed stays changed."""
    settings: dict[str, Mapping[str, Any]] = {model: own for model, own in before.fitted.items() if own}
    refused: dict[str, str] = {}
    if not config.fit:
        return Fitted()
    for model in dict.fromkeys(run.model for run in left):
        if model not in before.fitted:
            from afina.study.worker import fit_for

            kinds = {kind_of_run(run): run for run in runs if run.model == model}
            job = FitJob(config, list(kinds.values()), precision[model].precision, device)
            settings[model], reasons = executor.submit(fit_for, job, observer)
            refused |= {key: reasons[run.id] for key, run in kinds.items() if run.id in reasons}
        if changes := settings.get(model):
            settled = ", ".join(f"{key}: {json.dumps(value)}" for key, value in changes.items())
            observer(events.Remarks(remarks=[f"fit: {config.called(model)} is trained with {settled}{_OTHERWISE}"]))
    return Fitted(settings, refused)
