"""From a study file to its runs: every model x data set x method x seed, checked before anything starts."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from afina.config import MethodSpec, StudyConfig
from afina.errors import UsageError, nearest
from afina.methods.base import Method, make_method, registry

__all__ = ["Run", "expand", "folder_name", "remarks", "scaled_rate"]


@dataclass(frozen=True)
class Run:
    """One cell of the grid with one seed."""

    id: str
    model: str
    dataset: int
    """Place in the study's list of data sets."""
    dataset_name: str
    method: str
    label: str
    """What tables call the method; unique in the study."""
    settings: Mapping[str, Any] = field(hash=False)
    seed: int = 0
    rate: Literal["default", "set", "searched"] = "default"
    """Where the learning rate comes from."""
    untried: Mapping[str, Any] | None = field(default=None, hash=False)
    """Where not all rates could be tried: how many (`rates`) of how many (`of`), and `why`."""

    def make_method(self) -> Method:
        return make_method(self.method, self.settings)

    @property
    def cell(self) -> str:
        """What its seeds on one model share: the data set's name and the label."""
        return f"{self.dataset_name}: {self.label}"

    @property
    def costs_like(self) -> str:
        """What it shares with the runs on one model whose steps cost the same: data, method and settings, at any rate."""
        return json.dumps([self.dataset, self.method, {**self.settings, "learning_rate": None}], sort_keys=True)


def expand(config: StudyConfig) -> list[Run]:
    """Return all runs in the order in which they are carried out; raises `UsageError` for what no run could be."""
    tried: set[str] = set()
    if config.race is not None:
        config, tried = _with_candidates(config)
    labels = Counter(spec.label for spec in config.methods)
    if doubled := [label for label, count in labels.items() if count > 1]:
        raise UsageError(f"The method '{doubled[0]}' stands twice in the study; leave one out or change its settings.")
    names = Counter(spec.label_name for spec in config.dataset)
    if doubled := [name for name, count in names.items() if count > 1]:
        raise UsageError(f"Two data sets are called '{doubled[0]}'; give one a name: of its own.")
    if isinstance(config.learning_rate, Mapping):
        for name in config.learning_rate:
            if name not in registry():
                raise UsageError(f"learning_rate: unknown method '{name}'{nearest(name, registry())}")
    methods = [(spec, _settle(spec, config)) for spec in config.methods]
    precisions = {method.precision_on(config.precision) for _, method in methods}
    if config.race is not None and len(precisions) > 1:
        raise UsageError(
            f"race: candidates on one base only, and these want {' and '.join(sorted(precisions))}; set precision: nf4 for "
            "all, or leave some out."
        )
    taken: Counter[str] = Counter()
    return [
        Run(
            id=_new_id(f"{Path(model).name}-{dataset.label_name}-{spec.label}-seed{seed}", taken),
            model=model,
            dataset=index,
            dataset_name=dataset.label_name,
            method=spec.name,
            label=spec.label,
            settings=method.settings(),
            seed=seed,
            rate="searched" if spec.label in tried else "set" if _rate_is_set(spec, config) else "default",
        )
        for model in config.model
        for index, dataset in enumerate(config.dataset)
        for seed in config.seeds
        for spec, method in methods
    ]


def _with_candidates(config: StudyConfig) -> tuple[StudyConfig, set[str]]:
    """Return the study with every method of a race at each of its ranks and rates, and the labels whose rate it tries."""
    race = config.race
    assert race is not None
    if config.cohort != "auto":
        raise UsageError(f"race: all its candidates train together, so cohort cannot be {config.cohort}; leave it out.")
    if config.mix_datasets:
        raise UsageError("race: candidates on one data set are compared, so mix_datasets cannot be true; leave it out.")
    if config.learning_rate == "search":
        raise UsageError("race: it tries rates itself (rate_factors); learning_rate: search is for whole runs.")
    specs: list[MethodSpec] = []
    tried: set[str] = set()
    for spec in config.methods:
        method = _settle(spec, config)
        if method.owns_backbone or method.gradient_free:
            raise UsageError(f"race: {spec.name} cannot train beside others on one frozen model; leave it out.")
        ranks = race.ranks if race.ranks and "rank" in method.settings() and "rank" not in spec.settings else [None]
        for rank in ranks:
            for factor in (factors := [1.0] if _rate_is_set(spec, config) else race.rate_factors):
                own = dict(spec.settings) | ({} if rank is None else {"rank": rank})
                if factor != 1:
                    own["learning_rate"] = scaled_rate(method, factor)
                specs.append(candidate := MethodSpec(name=spec.name, settings=own))
                if len(factors) > 1:
                    tried.add(candidate.label)
    if len(specs) == 1:
        raise UsageError(
            f"race: {specs[0].label} has no rival; name more methods, ranks or rate_factors, or leave race out."
        )
    return config.model_copy(update={"methods": specs}), tried


def _rate_is_set(spec: MethodSpec, config: StudyConfig) -> bool:
    return "learning_rate" in spec.settings or config.learning_rate_for(spec.name) is not None


def scaled_rate(method: Method, factor: float) -> float:
    """Return a method's learning rate times a factor, in three digits, as a person would write it."""
    return float(f"{method.learning_rate * factor:.3g}")


def _settle(spec: MethodSpec, config: StudyConfig) -> Method:
    own = {"rank": config.rank, "targets": config.targets, "learning_rate": config.learning_rate_for(spec.name)}
    defaults = {key: value for key, value in own.items() if value is not None} | {
        "weight_decay": config.weight_decay,
        "warmup": config.warmup,
        "schedule": config.schedule,
        "gradient_clip": config.gradient_clip,
    }
    return make_method(spec.name, spec.settings, defaults)


def remarks(config: StudyConfig) -> list[str]:
    """Return what a person should know of settings that follow from those they wrote, a sentence each."""
    told = []
    for spec in config.methods:
        chosen = set(spec.settings) | ({"rank"} if config.rank is not None else set())
        told += _settle(spec, config).remarks(chosen)
    return list(dict.fromkeys(told))


def folder_name(text: str) -> str:
    """Return a folder's name for a description."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.").lower()[:120]


def _new_id(text: str, taken: Counter[str]) -> str:
    """Make a folder's name of a run's description; two descriptions never share one."""
    slug = folder_name(text)
    taken[slug] += 1
    return slug if taken[slug] == 1 else f"{slug}-{taken[slug]}"
