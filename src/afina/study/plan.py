"""Expand a study file to its runs: every model x data set x method x seed, checked before anything starts."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from afina.config import StudyConfig
from afina.dataset_spec import DatasetSpec
from afina.distil.signal import make_signals
from afina.errors import UsageError, nearest
from afina.methods.base import Method, make_method, registry
from afina.mitigation.base import make_mitigation
from afina.results.result import Rate, Untried
from afina.study.data import class_asked
from afina.study_parts import MethodSpec

__all__ = ["Run", "expand", "folder_name", "remarks"]


@dataclass(frozen=True)
class Run:
    """Describes one cell of the grid with one seed."""

    id: str
    model: str
    dataset: int
    """Place in the study's list of data sets."""
    dataset_name: str
    method: Method = field(hash=False)
    label: str
    """Name of the method in tables; unique in the study."""
    seed: int = 0
    rate: Rate = "default"
    """The source of the learning rate."""
    untried: Untried | None = field(default=None, hash=False)
    """Rates that a search could not try, and why; None where it tried all."""

    def __getstate__(self) -> dict[str, Any]:
        """Name the method in a pickle, so that a process that lacks it, as it is a notebook's, says so in a sentence."""
        return {**vars(self), "method": (self.method.name, self.settings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "method": make_method(*state["method"])})

    def with_rate(self, *, steps: int, width: int, speaks: bool) -> "Run":
        """Return the run with what `learning_rate: auto` is for it; one whose rate is known stays as it is."""
        return replace(self, method=self.method.with_rate(steps=steps, width=width, speaks=speaks))

    @property
    def settings(self) -> dict[str, Any]:
        """Return all settings of its method, as JSON has them."""
        return self.method.settings()

    @property
    def cell(self) -> str:
        """Return the data set's name and the label, which its seeds on one model share."""
        return f"{self.dataset_name}: {self.label}"

    @property
    def costs_like(self) -> str:
        """Return data, method and settings at any rate, which runs on one model share whose steps cost the same."""
        # Seeds, rates and their factors change no step's cost.
        return json.dumps(
            [self.dataset, self.method.name, {**self.settings, "learning_rate": None, "rate_factor": 1.0}],
            sort_keys=True,
        )


def expand(config: StudyConfig) -> list[Run]:
    """Return all runs in the order in which they are carried out; raises `UsageError` for what no run could be."""
    tried: set[str] = set()
    if config.early_stopping is not None and config.evaluate != 1:
        raise UsageError(
            f"early_stopping: what each epoch gives tells the best, so evaluate cannot be {config.evaluate}; leave it out."
        )
    config = _with_mitigations(config)
    signals = make_signals(config.distil)
    if config.teacher is None and (signals != make_signals(["soft"]) or config.teacher_weight != 0.5):
        raise UsageError(
            "distil and teacher_weight say what a teacher teaches: name one (teacher: a model or an adapter)."
        )
    if config.race is not None:
        config, tried = _with_candidates(config)

    # Two of one label would share their runs' folders, and their lines in every table.
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
    methods = {
        index: [(spec, _settle(spec, config, dataset)) for spec in config.methods]
        for index, dataset in enumerate(config.dataset)
    }
    _check_mitigated(config, methods[0])
    # Of the first data set: precisions depend on methods, not on rows.
    precisions = {method.precision_on(config.precision) for _, method in methods[0]}
    if config.teacher is not None and (free := [spec.name for spec, method in methods[0] if method.gradient_free]):
        raise UsageError(f"teacher: {free[0]} takes no steps, by which a teacher teaches; leave one of both out.")
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
            method=method,
            label=spec.label,
            seed=seed,
            rate="searched" if spec.label in tried else "set" if _rate_is_set(spec, config) else "default",
        )
        for model in config.model
        for index, dataset in enumerate(config.dataset)
        for seed in config.seeds
        for spec, method in methods[index]
    ]


def _with_mitigations(config: StudyConfig) -> StudyConfig:
    """Return the study with every method once for each of its mitigations; one that has its own stays as it is."""
    specs = []
    for spec in config.methods:
        # `none` is a word for what is otherwise not said, also where a method says it for itself.
        settings = {key: value for key, value in spec.settings.items() if (key, value) != ("mitigate", "none")}
        for given in ["none"] if config.mitigate is None or "mitigate" in spec.settings else config.mitigate:
            specs.append(
                MethodSpec(name=spec.name, settings=settings | ({} if given == "none" else {"mitigate": given}))
            )
    return config.model_copy(update={"methods": specs})


def _check_mitigated(config: StudyConfig, methods: Sequence[tuple[MethodSpec, Method]]) -> None:
    """Raise `UsageError` for what cannot stand beside a mitigation."""
    for spec, method in methods:
        if method.mitigate is not None:
            try:
                make_mitigation(method.mitigate).check()
            except UsageError as error:
                raise UsageError(f"{spec.label}: {error}") from None
    mitigated = next((spec.label for spec, method in methods if method.mitigate is not None), None)
    if mitigated is None:
        return
    if config.race is not None:
        raise UsageError(
            f"race: candidates learn from the same rows, and {mitigated} from others; leave one of both out."
        )
    if config.teacher is not None:
        raise UsageError(
            f"teacher: it is asked of the rows as they are, and {mitigated} changes them; leave one of both out."
        )


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
        method = _settle(spec, config, config.dataset[0])
        if method.owns_backbone or method.gradient_free:
            raise UsageError(f"race: {spec.name} cannot train beside others on one frozen model; leave it out.")
        # A rank that the method's own entry sets is a choice; others are candidates.
        ranks = race.ranks if race.ranks and "rank" in method.settings() and "rank" not in spec.settings else [None]
        for rank in ranks:
            for factor in (factors := [1.0] if _rate_is_set(spec, config) else race.rate_factors):
                settings = dict(spec.settings) | ({} if rank is None else {"rank": rank})
                if factor != 1:
                    settings["rate_factor"] = factor
                specs.append(candidate := MethodSpec(name=spec.name, settings=settings))
                if len(factors) > 1:
                    tried.add(candidate.label)
    if len(specs) == 1:
        raise UsageError(
            f"race: {specs[0].label} has no rival; name more methods, ranks or rate_factors, or leave race out."
        )
    return config.model_copy(update={"methods": specs}), tried


def _rate_is_set(spec: MethodSpec, config: StudyConfig) -> bool:
    by_itself = {"learning_rate", "rate_factor"} & spec.settings.keys()
    return bool(by_itself) or config.learning_rate_for(spec.name) is not None


def _writer_settings(spec: MethodSpec, config: StudyConfig, dataset: DatasetSpec) -> dict[str, Any]:
    """Return the settings that a method takes where a model learns to write, but those that somebody set."""
    asked = class_asked(config, dataset)
    if spec.name not in registry() or asked is None or not asked.writes:
        return {}
    cls = registry()[spec.name]
    # Whatever a person wrote, for one method or for all, is no default any more.
    chosen = {key for key in cls.writer_settings if key in spec.settings or getattr(config, key, None) is not None}
    return {k: v for k, v in cls.writer_settings.items() if k not in chosen and v != getattr(cls, k)}


def _settle(spec: MethodSpec, config: StudyConfig, dataset: DatasetSpec) -> Method:
    asked = {"rank": config.rank, "targets": config.targets, "learning_rate": config.learning_rate_for(spec.name)}
    # The study's own keys go before what is usual for writers, and the method's before both.
    defaults = _writer_settings(spec, config, dataset) | {
        key: value for key, value in asked.items() if value is not None
    }
    protocol = {
        key: getattr(config, key) for key in ("weight_decay", "warmup", "schedule", "gradient_clip", "optimiser")
    }
    return make_method(spec.name, spec.settings, defaults | protocol)


def remarks(config: StudyConfig) -> list[str]:
    """Return what a person should know of settings that follow from those they wrote, a sentence each."""
    sentences, changed, by_rule = [], dict[str, list[str]](), dict[str, list[str]]()
    for dataset in config.dataset:
        for spec in config.methods:
            chosen = set(spec.settings) | ({"rank"} if config.rank is not None else set())
            method = _settle(spec, config, dataset)
            sentences += method.remarks(chosen)
            free = method.gradient_free or method.steps_by.as_adamw
            if not (free or _rate_is_set(spec, config) or config.learning_rate == "search"):
                by_rule.setdefault(method.steps_by.title, []).append(spec.label)
            for key, value in _writer_settings(spec, config, dataset).items():
                setting = f"{key}: {', '.join(value) if isinstance(value, tuple) else value}"
                changed.setdefault(setting, []).append(spec.label)
    for title, labels in by_rule.items():
        who = ", ".join(dict.fromkeys(labels))
        sentences.append(
            f"{who}: the learning rate is auto's, whose rule was found with AdamW and is taken for {title} too; "
            "learning_rate: search tries others."
        )
    for setting, labels in changed.items():
        who = ", ".join(dict.fromkeys(labels))
        sentences.append(
            f"{who}: {setting}, which is the default where a model learns to write; what you set goes before it."
        )
    return list(dict.fromkeys(sentences))


def folder_name(text: str) -> str:
    """Return a folder's name for a description."""
    # A hundred and twenty letters: a name of a file has at most 255 bytes, and more is put behind it.
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.").lower()[:120]


def _new_id(text: str, taken: Counter[str]) -> str:
    """Make a folder's name of a run's description; two descriptions never share one."""
    slug = folder_name(text)
    # Different labels may be one name when all signs are hyphens.
    taken[slug] += 1
    return slug if taken[slug] == 1 else f"{slug}-{taken[slug]}"
