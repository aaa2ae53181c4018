"""A run's result: one line of results.jsonl, its keys typed attributes."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from afina.results.json_object import Inside, JsonObject, Key, Named, checked, read_checked

__all__ = ["Epoch", "Fingerprint", "Race", "Rate", "Result", "TaughtBy", "Untried", "read_result", "result_of"]


Rate = Literal["default", "set", "searched"]
"""The source of a learning rate: `learning_rate: auto`, the study file, or `learning_rate: search`."""


class Epoch(JsonObject):
    """Records what one epoch gave; beside these `train_METRIC` and `test_METRIC` of each of the task's metrics."""

    __slots__ = ()
    OTHERS = float | None

    epoch: Key[int] = Key()
    """The epoch's number, from 1."""
    train_loss: Key[float | None] = Key(None)
    """The mean loss of its steps; null of what takes none."""
    seconds: Key[float | None] = Key(None)
    """Training seconds until its end."""

    def metric(self, split: str, name: str) -> float | None:
        """Return a metric of a split; None where it was not taken."""
        value: float | None = self.get(f"{split}_{name}")
        return value


class Fingerprint(JsonObject):
    """Records what a result depends on beside its method; only results of one digest are tested against each other."""

    __slots__ = ()

    digest: Key[str] = Key()
    """Digest of all the fields below but the model and the commit."""
    data: Key[str] = Key("")
    """Digest of the data set's rows."""
    evaluator: Key[str | None] = Key(None)
    """Version of how metrics are taken."""
    protocol: Key[dict[str, Any]] = Key({})
    """The study's keys that every method shares."""
    versions: Key[dict[str, str | None]] = Key({})
    """Versions of the packages."""
    hardware: Key[dict[str, Any]] = Key({})
    """Processor, memory and GPUs."""
    model: Key[dict[str, str] | None] = Key(None)
    """Digests of the model's weights, tokenizer and configuration."""
    git: Key[dict[str, Any] | None] = Key(None)
    """The commit of Afina's own sources, where it runs from a checkout."""


class Race(JsonObject):
    """Records where a candidate stood when it left its race."""

    __slots__ = ()

    step: Key[int] = Key()
    """The step after which it left."""
    steps: Key[int] = Key()
    """Steps of a whole run."""
    metric: Key[str] = Key()
    """The metric that candidates were judged by, on the development split."""
    value: Key[float] = Key()
    """Its value, the mean over seeds."""
    place: Key[int] = Key()
    """Its place among them, from 1."""
    of: Key[int] = Key()
    """The number of candidates."""


class Untried(JsonObject):
    """Learning rates of a search that could not be tried."""

    __slots__ = ()

    rates: Key[int] = Key()
    """The number of rates that could not be tried."""
    of: Key[int] = Key()
    """The number of rates in all."""
    why: Key[str] = Key()
    """The reason, in one sentence."""


class TaughtBy(JsonObject):
    """Records what taught a student, and how it does itself."""

    __slots__ = ()

    teacher: Key[str] = Key()
    """The teacher, as the study file names it."""
    signals: Key[list[str]] = Key([])
    """The signals that it gave, a phrase each: `soft targets (temperature 2)`."""
    weight: Key[float] = Key()
    """Share of the loss that was the teacher's."""
    test_metrics: Key[dict[str, float | None]] = Key({})
    """All metrics of the task that the teacher itself has on the test rows; none where only its states were learned."""
    seconds: Key[float | None] = Key(None)
    """Seconds that asking it took, once for all runs."""


def _epochs(entries: list[dict[str, Any]]) -> list[Epoch]:
    return [Epoch(entry) for entry in entries]


class Result(JsonObject):
    """One run of a study, as a line of `results.jsonl` has it; a run that failed or was skipped has only the first keys."""

    __slots__ = ()

    run: Key[Named] = Key()
    """The run's name, which is that of its folder in `runs/`."""
    status: Key[Literal["ok", "failed", "skipped"]] = Key()
    """`skipped`: it left a race before the end."""
    error: Key[str | None] = Key(None)
    """The reason for failing or being skipped, in one sentence."""
    unfinished: Key[bool] = Key(False)
    """True for a failed run whose process was killed: it says nothing about the run itself."""
    model: Key[str] = Key()
    """The base model, as the study file names it."""
    dataset: Key[str] = Key()
    """The data set's name."""
    method: Key[str] = Key("")
    """The method's name."""
    method_label: Key[str] = Key()
    """The run's name in tables: the method's, with settings of its own in brackets."""
    seed: Key[int] = Key()
    """Seed of the new weights, the order of rows and dropout."""
    task: Key[str] = Key("classification")
    """The task that was learned."""
    method_config: Key[dict[str, Any]] = Key({})
    """Every setting of the method, its learning rate among them."""
    rate: Key[Rate] = Key("default")
    """The source of the learning rate: `default`, `set` or `searched`."""
    untried: Key[Untried | None] = Key(None, read=Untried)
    """Rates of `learning_rate: search` that could not be tried."""
    head_alone: Key[bool] = Key(False)
    """True where the method trains nothing but the head."""
    epochs: Key[int | None] = Key(None)
    """Epochs asked for."""
    best_epoch: Key[int | None] = Key(None)
    """The epoch whose weights were kept, with early stopping."""
    steps: Key[int | None] = Key(None)
    """Steps of the optimiser that were taken."""
    batch_size: Key[int | None] = Key(None)
    """Rows of a step."""
    max_length: Key[int | None] = Key(None)
    """Tokens a text may have."""
    precision: Key[str | None] = Key(None)
    """fp32, bf16, fp16, nf4 or int8."""
    device: Key[str | None] = Key(None)
    """The device that it was trained on."""
    optimiser: Key[str | None] = Key(None)
    """The optimiser that took the steps: `AdamW`, `paged AdamW`, `GaLore` ..."""
    packing: Key[str | None] = Key(None)
    """Packing of a model that learns to write: `auto`, `off`, or `off:` and why its texts could not share rows of a
    batch."""
    train_rows: Key[int | None] = Key(None)
    """Rows that were trained on."""
    test_rows: Key[int | None] = Key(None)
    """Rows that were tested on."""
    texts_cut: Key[dict[str, int]] = Key({})
    """Texts longer than `max_length`, by split."""
    label_names: Key[list[str] | None] = Key(None)
    """Classes, in the order of scores; null where there are none."""
    trainable_parameters: Key[int | None] = Key(None)
    """Parameters that were trained, the head's among them."""
    total_parameters: Key[int | None] = Key(None)
    """Parameters of base and adapter together."""
    trainable_percent: Key[float | None] = Key(None)
    """The former's share of the latter."""
    metric: Key[str | None] = Key(None)
    """The metric that is shown first."""
    test_metric: Key[float | None] = Key(None)
    """Its value on the test rows."""
    train_metric: Key[float | None] = Key(None)
    """Its value on the train rows."""
    test_metrics: Key[dict[str, float | None]] = Key({})
    """All metrics of the task on the test rows."""
    train_metrics: Key[dict[str, float | None]] = Key({})
    """All metrics of the task on the train rows."""
    history: Key[list[Epoch]] = Key([], read=_epochs)
    """One entry an epoch."""
    measured: Key[str | None] = Key(None)
    """`solo`: time, memory and energy are this run's; `profile`: they are those of steps of its method alone, as the run
    itself trained in a cohort."""
    cohort_size: Key[int | None] = Key(None)
    """Runs that trained together; 1 for a run alone."""
    cohort: Key[str | None] = Key(None)
    """The cohort's name, which is that of its folder in `cohorts/`."""
    train_seconds: Key[float | None] = Key(None)
    """Sum of the training steps' seconds, and nothing else."""
    evaluate_seconds: Key[float | None] = Key(None)
    """Seconds of all evaluations; null of what trained in a cohort, and of what takes no steps."""
    step_seconds: Key[float | None] = Key(None)
    """The median step; null of what takes no steps."""
    examples_per_second: Key[float | None] = Key(None)
    """Rows trained on in a second."""
    tokens_per_second: Key[float | None] = Key(None)
    """Tokens trained on in a second."""
    energy_joules: Key[float | None] = Key(None)
    """Energy of training; null where the hardware has no counter."""
    peak_memory_bytes: Key[float | None] = Key(None)
    """Largest memory while training."""
    mean_memory_bytes: Key[float | None] = Key(None)
    """Mean memory while training."""
    baseline_bytes: Key[float | None] = Key(None)
    """Memory of the process before the model was loaded, which the others leave out."""
    memory_samples: Key[int | None] = Key(None)
    """Readings that the mean is of."""
    memory: Key[dict[str, Any]] = Key({})
    """Peaks of loading, training and evaluating."""
    taught_by: Key[TaughtBy | None] = Key(None, read=TaughtBy)
    """The teacher that the run learned from beside labels; null where it had none."""
    race: Key[Race | None] = Key(None, read=Race)
    """The state of a run that left a race, when it left."""
    adapter: Key[Inside | None] = Key(None)
    """The adapter's folder, seen from the study's."""
    predictions: Key[Inside | None] = Key(None)
    """The file of what it answered to each test row, seen from the study's folder."""
    assumed: Key[list[str]] = Key([])
    """Sentences on what was assumed of the model and the data."""
    fitted: Key[dict[str, Any]] = Key({})
    """Settings that were changed so that memory had room, by `fit: true` or as it ran out; none changes what is learned."""
    fingerprint: Key[Fingerprint | None] = Key(None, read=Fingerprint)
    """Digests and versions of everything that the result depends on."""
    versions: Key[dict[str, str | None]] = Key({})
    """Versions of the packages."""
    node: Key[str | None] = Key(None)
    """The machine that it ran on, where that was not the one that started the study."""
    started_at: Key[str | None] = Key(None)
    """The time at which training began, in UTC."""
    resumed: Key[int] = Key(0)
    """The number of times that it was interrupted and went on."""

    @property
    def is_finished(self) -> bool:
        """Return whether it was trained and tested."""
        return self.status == "ok"

    @property
    def learning_rate(self) -> float:
        """Return the rate that it was trained at; there is one of whatever takes steps."""
        rate: float = self.method_config["learning_rate"]
        return rate

    def tested(self, metric: str) -> float:
        """Return a metric of the test rows; not a number where it was not taken."""
        value = self.test_metrics.get(metric)
        return math.nan if value is None else value

    @classmethod
    def check_whole(cls, value: Mapping[str, Any]) -> None:
        result = cls(value)
        if not result.is_finished:
            return
        # A run that ended has to say these: tables, tests and recommendations take them for granted.
        for key in ("metric", "test_metric", "history", "epochs"):
            if value.get(key) in (None, []):
                raise ValueError(f"'{key}' is missing of a run that finished")
        if result.step_seconds is not None and not isinstance(result.method_config.get("learning_rate"), int | float):
            raise ValueError("'method_config' has no learning_rate")


def result_of(value: Any, where: str, what_to_do: str) -> Result:
    """Return a run's result if it is one; raises `UsageError` for what it lacks. What it does not know it keeps."""
    return checked(Result, value, where, what_to_do)


def read_result(path: Path) -> Result:
    """Read the result that a finished run left in its folder."""
    return read_checked(Result, path, f"delete {path.parent} to have the run trained again")
