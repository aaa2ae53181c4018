"""What the files of a study's folder hold: whoever reads one gets that, or a sentence with its name and what to do."""

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from afina.errors import AfinaError, UsageError, shown
from afina.json_files import read_json_object
from afina.yaml_file import read_yaml

__all__ = ["ResultLine", "read_cohort", "read_cohort_plan", "read_result", "read_study_file", "result_of"]


class _Shape(BaseModel):
    """Keys that are relied on; others may stand beside them."""

    model_config = ConfigDict(strict=True, extra="allow", use_attribute_docstrings=True)


def _inside(path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError("should be a path within the folder")
    return path


Inside = Annotated[str, Field(min_length=1), AfterValidator(_inside)]


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}(-[a-z]+)?$")]


class _Fingerprint(_Shape):
    """What a result depends on beside its method; only results of one digest are tested against each other."""

    digest: str
    """Of all that follows."""
    data: str | None = None
    """Digest of the data set's rows."""
    evaluator: str | None = None
    """Version of how metrics are taken."""
    protocol: dict[str, Any] = {}
    """The study's keys that every method shares."""
    versions: dict[str, str | None] = {}
    """Versions of the packages."""
    hardware: dict[str, Any] = {}
    """Processor, memory and GPUs."""
    model: dict[str, str] = {}
    """Digests of the model's weights, tokenizer and configuration."""
    git: dict[str, Any] | None = None
    """The commit of Afina's own sources, where it runs from a checkout."""


class _Race(_Shape):
    """Where a candidate stood when it left its race."""

    step: int
    """The step after which it left."""
    steps: int
    """Steps of a whole run."""
    metric: str
    """What candidates were judged by, on the development split."""
    value: float
    """Its value, the mean over seeds."""
    place: int
    """Its place among them, from 1."""
    of: int
    """How many there were."""


class _Untried(_Shape):
    """Learning rates of a search that could not be tried."""

    rates: int
    """How many."""
    of: int
    """Of how many."""
    why: str
    """Why."""


class _Epoch(_Shape):
    """What one epoch gave; beside these `train_METRIC` and `test_METRIC` of each of the task's metrics, and `train_loss`."""

    epoch: int
    """From 1."""
    seconds: float | None = None
    """Training seconds until its end."""
    __pydantic_extra__: dict[str, float | None]


class ResultLine(_Shape):
    """One run of a study, as a line of `results.jsonl` has it; a run that failed or was skipped has only the first keys."""

    run: str = Field(min_length=1)
    """The run's name, which is that of its folder in `runs/`."""
    status: Literal["ok", "failed", "skipped"]
    """`skipped`: it left a race before the end."""
    error: str | None = None
    """Why it failed or was skipped, in one sentence."""
    model: str
    """The base model, as the study file names it."""
    dataset: str
    """The data set's name."""
    method: str | None = None
    """The method's name."""
    method_label: str
    """What tables call it: the method's name, with settings of its own in brackets."""
    seed: int
    """Seed of the new weights, the order of rows and dropout."""
    task: str | None = None
    """The task that was learned."""
    method_config: dict[str, Any] = {}
    """Every setting of the method, its learning rate among them."""
    rate: str = "default"
    """Where the learning rate came from: `default`, `set` or `searched`."""
    untried: _Untried | None = None
    """With `learning_rate: search`, rates that could not be tried."""
    head_alone: bool | None = None
    """Whether the method trains nothing but the head."""
    epochs: int | None = None
    """Epochs asked for."""
    best_epoch: int | None = None
    """With early stopping, the epoch whose weights were kept."""
    steps: int | None = None
    """Steps of the optimiser that were taken."""
    batch_size: int | None = None
    """Rows of a step."""
    max_length: int | None = None
    """Tokens a text may have."""
    precision: str | None = None
    """fp32, bf16, fp16, nf4 or int8."""
    device: str | None = None
    """Where it was trained."""
    optimiser: str | None = None
    """`AdamW`, or `paged AdamW`."""
    packing: str | None = None
    """Where a model learns to write: `auto`, `off`, or `off:` and why its texts could not share rows of a batch."""
    train_rows: int | None = None
    """Rows that were trained on."""
    test_rows: int | None = None
    """Rows that were tested on."""
    texts_cut: dict[str, int] = {}
    """By split, texts longer than `max_length`."""
    label_names: list[str] | None = None
    """Classes, in the order of scores; null where there are none."""
    trainable_parameters: int | None = None
    """Parameters that were trained, the head's among them."""
    total_parameters: int | None = None
    """Parameters of base and adapter together."""
    trainable_percent: float | None = None
    """The former's share of the latter."""
    metric: str | None = None
    """The metric that is shown first."""
    test_metric: float | None = None
    """Its value on the test rows."""
    train_metric: float | None = None
    """Its value on the train rows."""
    test_metrics: dict[str, float | None] = {}
    """All metrics of the task on the test rows."""
    train_metrics: dict[str, float | None] = {}
    """All metrics of the task on the train rows."""
    history: list[_Epoch] = []
    """One entry an epoch."""
    measured: str | None = None
    """`solo`: time, memory and energy are this run's; `profile`: they are those of steps of its method alone, as the run
    itself trained in a cohort."""
    cohort_size: int | None = None
    """How many runs trained together; 1 for a run alone."""
    cohort: str | None = None
    """The cohort's name, which is that of its folder in `cohorts/`."""
    train_seconds: float | None = None
    """Sum of the training steps' seconds, and nothing else."""
    step_seconds: float | None = None
    """The median step."""
    examples_per_second: float | None = None
    """Rows trained on in a second."""
    tokens_per_second: float | None = None
    """Tokens trained on in a second."""
    energy_joules: float | None = None
    """Energy of training; null where the hardware has no counter."""
    peak_memory_bytes: float | None = None
    """Largest memory while training."""
    mean_memory_bytes: float | None = None
    """Mean memory while training."""
    baseline_bytes: float | None = None
    """Memory of the process before the model was loaded, which the others leave out."""
    memory_samples: int | None = None
    """Readings that the mean is of."""
    memory: dict[str, Any] = {}
    """Peaks of loading, training and evaluating."""
    race: _Race | None = None
    """Of a run that left a race: where it stood."""
    adapter: Inside | None = None
    """The adapter's folder, seen from the study's."""
    predictions: Inside | None = None
    """The file of what it answered to each test row, seen from the study's folder."""
    assumed: list[str] = []
    """What was assumed of the model and the data, in sentences."""
    fingerprint: _Fingerprint | None = None
    """What the result depends on."""
    versions: dict[str, str | None] = {}
    """Versions of the packages."""
    started_at: str | None = None
    """When training began, in UTC."""
    resumed: int | None = None
    """How often it was interrupted and went on."""

    @model_validator(mode="after")
    def _whole(self) -> "ResultLine":
        if self.status == "ok":
            for key in ("metric", "test_metric", "history", "epochs"):
                if getattr(self, key) in (None, []):
                    raise ValueError(f"'{key}' is missing of a run that finished")
            if self.step_seconds is not None and not isinstance(self.method_config.get("learning_rate"), int | float):
                raise ValueError("'method_config' has no learning_rate")
        return self


class _Costs(_Shape):
    """What a method costs alone."""

    seconds_by_epoch: list[float] = Field(min_length=1)
    step_seconds: float
    tokens: float
    energy_joules: float | None
    memory_report: dict[str, Any]


class _Plan(_Shape):
    runs: list[str] = Field(min_length=1)
    members: list[str] | None = None
    profiles: dict[str, _Costs] = {}
    together: int = Field(default=1, ge=1)
    most_tokens: int | None = None
    alike: bool = False


class _Member(_Shape):
    run: str
    label: str
    epochs: list[float]
    until: float | None
    why: str


class _Cohort(_Shape):
    cohort: str
    runs: list[str]
    together: int
    train_seconds: float
    peak_memory_bytes: float | None = None
    members: list[_Member] = []


class _Settled(_Shape):
    settings: dict[str, Any]
    rate: str
    untried: _Untried | None = None


class _Data(_Shape):
    digest: Digest | None = None


class _Precision(_Shape):
    """What `precision: auto` became, and the timed steps that decided."""

    precision: str
    reason: str = ""
    step_seconds: dict[str, float] = {}


class _Resolved(_Shape):
    versions: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    precision: dict[str, _Precision] = {}
    data: dict[str, _Data] = {}
    models: dict[str, dict[str, Digest]] | None = None
    runs: dict[str, _Settled] = {}


class _StudyFile(_Shape):
    study: dict[str, Any]
    resolved: _Resolved | None = None


def result_of(value: Any, where: str, what_to_do: str) -> dict[str, Any]:
    """Return a run's result if it is one; raises `UsageError` for what it lacks."""
    return _checked(ResultLine, value, where, what_to_do)


def read_result(path: Path) -> dict[str, Any]:
    """Read the result that a finished run left in its folder."""
    return _read(ResultLine, path, f"delete {path.parent} to have the run trained again")


def read_cohort_plan(path: Path) -> dict[str, Any]:
    """Read what an earlier start settled for a cohort."""
    return _read(_Plan, path, f"delete {path.parent} to have its runs trained again")


def read_cohort(path: Path) -> dict[str, Any]:
    """Read what a cohort took."""
    return _read(_Cohort, path, "delete it to have the report without")


def read_study_file(directory: Path) -> dict[str, Any]:
    """Read the study.yaml of a study's folder: `study` as given, and what was `resolved` of it."""
    path = directory / "study.yaml"
    what_to_do = "put back what was there, or choose another folder for a study (--out)"
    try:
        values = read_yaml(path)
    except UsageError as error:
        raise UsageError(f"{str(error).rstrip('.')}; {what_to_do}.") from None
    return _checked(_StudyFile, values, str(path), what_to_do)


def _read(shape: type[_Shape], path: Path, what_to_do: str) -> dict[str, Any]:
    try:
        return _checked(shape, read_json_object(path, what_to_do=what_to_do), str(path), what_to_do)
    except UsageError:
        raise
    except AfinaError as error:
        raise UsageError(str(error)) from None


def _checked(shape: type[_Shape], value: Any, where: str, what_to_do: str) -> dict[str, Any]:
    try:
        shape.model_validate(value)
    except (ValidationError, RecursionError) as error:
        raise UsageError(f"{where} is damaged: {_problem(error)}; {what_to_do}.") from None
    assert isinstance(value, dict)
    return value


def _problem(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "it nests too deeply"
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"])) or "it"
    text = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{place}: {text}, and is {shown(first['input'])}" if first["type"] != "missing" else f"{place} is missing"
