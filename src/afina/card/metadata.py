"""Make the metadata of a card, as the hub reads them."""

import re
from typing import TYPE_CHECKING, Any

from afina.card.base import is_hub_name
from afina.card.form import Form
from afina.card.known import Known
from afina.data.sources.presets import PACKAGED, PRESETS
from afina.measure.metrics.base import is_percent, part_of

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

__all__ = ["dataset_on_hub", "languages_of", "metadata", "pipeline_tag"]

_SHARE = 0.05
"""The least share of the texts whose language is known that a language needs to be named."""


def metadata(known: Known, form: Form) -> dict[str, Any]:
    """Return the metadata of an adapter's or export's card, keys that are not known left out."""
    from huggingface_hub import ModelCardData

    base, run = known.base, known.run
    hub = dataset_on_hub(known)
    tags = ["afina", known.record.method, *(["image"] if base.inputs == "image" else [])]
    results = _evaluations(known)
    data = ModelCardData(
        base_model=base.hub, library_name=form.library, pipeline_tag=pipeline_tag(known),
        # Weights of the base's are under the base's licence; an adapter's own is its maker's to say.
        license=base.licence_key if form.has_base else None,
        language=list(languages_of(known)) or None, datasets=[hub] if hub else None,
        metrics=[str(run.metric)] if run is not None else None, tags=tags, eval_results=results or None,
        model_name=known.name if results else None,
    )  # fmt: skip
    if base.hub is not None:
        data["base_model_relation"] = "finetune" if form.has_base else "adapter"
    values: dict[str, Any] = data.to_dict()  # type: ignore[no-untyped-call]
    return values


def pipeline_tag(known: Known) -> str:
    """Return what the hub calls the task."""
    return "image-classification" if known.base.inputs == "image" else known.task.pipeline_tag


def dataset_on_hub(known: Known) -> str | None:
    """Return the name of the data set on the hub, None for one that is not from there."""
    path = str((known.record.facts.get("source") or {}).get("path") or "")
    if path in PACKAGED:
        return None
    if path in PRESETS:
        return PRESETS[path].hub
    # A hub's name has an owner; what has none may be a file of this machine.
    return path if "/" in path and is_hub_name(path) else None


def languages_of(known: Known) -> list[str]:
    """Return the languages of the train rows that more than a few texts are in, the commonest first."""
    counts = {} if known.data is None else {key: n for key, n in known.data.languages.items() if key != "unknown"}
    total = sum(counts.values())
    # By name where counts are equal, so that a card that is written again stays the same.
    return [key for key, n in sorted(counts.items(), key=lambda own: (-own[1], own[0])) if n >= _SHARE * total]


def _evaluations(known: Known) -> "list[EvalResult]":
    from huggingface_hub import EvalResult

    run, source = known.run, known.record.facts.get("source") or {}
    if run is None:
        return []
    first = run.metric
    return [
        EvalResult(
            task_type=pipeline_tag(known), dataset_type=dataset_on_hub(known) or _slug(run.dataset),
            dataset_name=run.dataset, dataset_config=source.get("config"), dataset_split="test", metric_type=name,
            metric_value=round(value, 6), metric_name=_with_interval(known) if name == first else None,
        )
        # Metrics of parts, as of types of entity, would crowd out those of the whole.
        for name, value in run.test_metrics.items() if value is not None and part_of(name) is None
    ]  # fmt: skip


def _with_interval(known: Known) -> str:
    value, metric = known.value, str(known.run.metric if known.run else "")
    if value is None or value.low is None or value.high is None:
        return metric
    # The interval goes into the name: the hub's format has no other place for it.
    digits = 3 if is_percent(metric) else 4
    return f"{metric} (95% interval {value.low:.{digits}f} to {value.high:.{digits}f})"


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "data"
