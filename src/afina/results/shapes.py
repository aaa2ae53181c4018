"""What the files of a study's folder hold: whoever reads one gets that, or a sentence with its name and what to do."""

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from afina.errors import AfinaError, UsageError, shown
from afina.json_files import read_json_object
from afina.yaml_file import read_yaml

__all__ = ["read_cohort", "read_cohort_plan", "read_result", "read_study_file", "result_of"]


class _Shape(BaseModel):
    """Keys that are relied on; others may stand beside them."""

    model_config = ConfigDict(strict=True, extra="allow")


def _inside(path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError("should be a path within the folder")
    return path


Inside = Annotated[str, Field(min_length=1), AfterValidator(_inside)]


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}(-[a-z]+)?$")]


class _Fingerprint(_Shape):
    digest: str


class _Race(_Shape):
    step: int
    steps: int
    metric: str
    value: float
    place: int
    of: int


class _Untried(_Shape):
    rates: int
    of: int
    why: str


class _Epoch(_Shape):
    epoch: int
    seconds: float | None = None
    __pydantic_extra__: dict[str, float | None]


class _Result(_Shape):
    run: str = Field(min_length=1)
    status: Literal["ok", "failed", "skipped"]
    model: str
    dataset: str
    method_label: str
    seed: int
    error: str | None = None
    method_config: dict[str, Any] = {}
    metric: str | None = None
    test_metric: float | None = None
    train_metric: float | None = None
    test_metrics: dict[str, float | None] = {}
    history: list[_Epoch] = []
    epochs: int | None = None
    trainable_parameters: int | None = None
    trainable_percent: float | None = None
    train_seconds: float | None = None
    step_seconds: float | None = None
    tokens_per_second: float | None = None
    peak_memory_bytes: float | None = None
    mean_memory_bytes: float | None = None
    energy_joules: float | None = None
    rate: str = "default"
    label_names: list[str] | None = None
    adapter: Inside | None = None
    predictions: Inside | None = None
    fingerprint: _Fingerprint | None = None
    race: _Race | None = None
    untried: _Untried | None = None

    @model_validator(mode="after")
    def _whole(self) -> "_Result":
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
    return _checked(_Result, value, where, what_to_do)


def read_result(path: Path) -> dict[str, Any]:
    """Read the result that a finished run left in its folder."""
    return _read(_Result, path, f"delete {path.parent} to have the run trained again")


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
