"""Define what a study file says, checked when it is read.

Names of methods, models and data sets are only carried here; the rooms that know them check them. What says something to
some tasks alone is declared by them.
"""

import math
import types
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from afina.checked import LARGEST_COUNT, MOST_ENTRIES, Checked, MadeInPython, OneOrMore, as_list, as_text, once
from afina.dataset_spec import DatasetSpec, Length, at_each_length
from afina.errors import UsageError
from afina.precision import Precision
from afina.study_parts import Factors, MethodSpec, RaceSpec
from afina.task_name import TaskName
from afina.tasks.base import TASKS
from afina.tracking.tracker import known_trackers
from afina.yaml_file import read_yaml

__all__ = ["StudyConfig"]


def _switch(value: Any) -> Any:
    """Undo YAML, which reads a plain `off` as false and `on` as true."""
    return {True: "auto", False: "off"}[value] if isinstance(value, bool) else value


def _folder(model: str) -> Path | None:
    """Return the place of a model that is on the disk; of a name, also one that no path can be, None."""
    try:
        return Path(model).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        # It is not there, too long or within what may not be read; its links go in a ring; it has a NUL.
        return None


def _other_folders(models: list[str]) -> list[str]:
    """Return models of which no two are one folder by two names: its runs would be counted as two seeds'."""
    places = [place for place in map(_folder, models) if place is not None]
    if len(set(places)) != len(places):
        raise ValueError("each may stand once, also by another path")
    return models


_STEPS = ("steps", "max_steps", "num_steps", "total_steps", "train_steps")
_Entry = str | dict[str, dict[str, Any] | None]  # a name in a study file, or a name with settings
_OneEntry = str | Annotated[dict[str, dict[str, Any] | None], Field(min_length=1, max_length=1)]
_Entries = BeforeValidator(as_list, json_schema_input_type=_Entry | list[_Entry])


def _as_method(value: Any) -> Any:
    if isinstance(value, MethodSpec):
        return value
    if isinstance(value, str):
        return MethodSpec(name=value)
    # A method that Python made: what differs from its defaults is what a file would say.
    if isinstance(value, MadeInPython):
        return MethodSpec(name=value.name, settings=value.changed_settings())
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, settings),) = value.items()
        if settings is None or isinstance(settings, Mapping):
            return MethodSpec(name=str(name), settings=dict(settings or {}))
    raise ValueError("each method should be a name or {name: {setting: value}}")


def _as_methods(value: Any) -> Any:
    return [_as_method(item) for item in as_list(value)]


def _as_datasets(value: Any) -> Any:
    items = as_list(value)
    if not all(isinstance(item, (str, Mapping, DatasetSpec)) for item in items):
        raise ValueError("each data set should be a name, a path, or {path: ..., text: ..., ...}")
    return [DatasetSpec(path=item) if isinstance(item, str) else item for item in items]


def _as_seeds(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("seeds should be a number of seeds or a list of them")
    if isinstance(value, int):
        if value < 1:
            raise ValueError("at least one seed is needed")
        if value > MOST_ENTRIES:
            raise ValueError(f"at most {MOST_ENTRIES:,} seeds; to run with this one alone write [seed]")
        return list(range(value))
    return value


class _Study(Checked):
    """Has the keys that say something to every task."""

    switches = frozenset({"cohort"})
    elsewhere = dict.fromkeys(_STEPS, "the steps follow from epochs, batch_size and the number of rows") | {
        "lr": "write learning_rate", "num_train_epochs": "write epochs", "max_seq_length": "write max_length",
    }  # fmt: skip

    model: Annotated[list[str], OneOrMore, AfterValidator(once), AfterValidator(_other_folders)] = Field(min_length=1)
    """Hub name, local folder, GGUF file, or a built-in name (`minilm`, `afina-small`, `smollm2`); a list makes a grid."""
    dataset: Annotated[
        list[DatasetSpec],
        BeforeValidator(_as_datasets, json_schema_input_type=str | DatasetSpec | list[str | DatasetSpec]),
    ] = Field(min_length=1)
    """Packaged name (`tickets`, `roaster`, `everyday`), preset, hub name, file, folder, or its keys; a list makes a grid."""
    methods: Annotated[list[MethodSpec], BeforeValidator(_as_methods, json_schema_input_type=_Entry | list[_Entry])] = (
        Field(min_length=1)
    )
    """Names, or {name: {setting: value}}."""
    seeds: Annotated[list[int], BeforeValidator(_as_seeds, json_schema_input_type=int | list[int])] = Field(
        default=[0], min_length=1
    )
    """A number of seeds (0, 1, ...), or a list of them."""
    epochs: int = Field(default=3, ge=1, le=LARGEST_COUNT)
    """Passes of each run over its train rows."""
    batch_size: int = Field(default=6, ge=1, le=LARGEST_COUNT)
    """Rows of one optimiser step."""
    evaluation_batch_size: int = Field(default=64, ge=1, le=LARGEST_COUNT)
    """Rows evaluated at once, of all members of a pass together."""
    learning_rate: float | Literal["auto", "search"] | dict[str, float] = "auto"
    """`auto` is each method's own for the run's steps, model and task; `search` takes the best of auto's times each of
    `search_factors` on the development split; a number sets all; a mapping by method sets some."""
    search_factors: Factors = Field(default=[0.3, 1.0, 3.0, 10.0])
    """Factors of each method's automatic rate that `learning_rate: search` tries."""
    max_length: Annotated[int, BeforeValidator(lambda value: value, json_schema_input_type=Length | list[Length])] = (
        Field(default=512, ge=4, le=LARGEST_COUNT)
    )
    """Tokens a text may have; what is longer is cut, and the number of cut texts is reported. A list makes a grid: each data
    set is read at each length."""
    rank: int | None = Field(default=None, ge=1, le=65_536)
    """Rank of low-rank methods that do not say their own; left out, each method's default."""
    targets: Annotated[list[str], OneOrMore] | None = None
    """Roles that low-rank methods adapt, or `all`; left out, each method's own default."""
    precision: Precision = "auto"
    """`auto` takes bf16 if timed steps are not slower, and says so; `nf4` and `int8` quantise the frozen base."""
    cohort: Literal["auto", "off"] | int = "auto"
    """Runs that train together on one frozen base; `off`: one by one; `auto`: all of a model and data set that can and
    fit, where a method has 400 steps or more over its seeds and rates."""
    mix_datasets: bool = False
    """True lets runs on different data sets train in one cohort: one base for many customers."""
    train_limit: int | None = Field(default=None, ge=2)
    """Rows to train on, stratified by label, always the same ones."""
    test_limit: int | None = Field(default=None, ge=2)
    """Rows to test on, likewise."""
    train_evaluation_limit: int | None = Field(default=None, ge=2)
    """Train rows that the train metric of an epoch is taken on, stratified; left out, all of them."""
    task: TaskName = "auto"
    """`auto` finds classification, regression or tagging by the columns and labels, and `multilabel` where `label:` is a
    list; `choices` scores answers with a model's language head, which `language`, `chat` and `seq2seq` teach to write."""
    packing: Annotated[
        Literal["auto", "off"], BeforeValidator(_switch, json_schema_input_type=Literal["auto", "off"] | bool)
    ] = "auto"
    """`auto` lets short texts share a row, unseen by each other, where a model learns to write and that saves rows."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's, of matrices; a method may have its own, as for the next three: `{full: {weight_decay: 0.01}}`."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps in which the learning rate rises to its peak."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """The shape of the learning rate's fall after its peak."""
    gradient_clip: float | None = Field(default=1.0, gt=0)
    """Largest norm of a step's gradient; null for none."""
    optimiser: str | Annotated[dict[str, dict[str, Any] | None], Field(min_length=1, max_length=1)] = "adamw"
    """The optimiser: `adamw`, `adamw8bit`, `adafactor`, `muon`, `galore`, `apollo`, `badam`, `lisa`, `paged_adamw` or
    `paged_adamw8bit`, or one with settings of its own: `{galore: {rank: 64}}`; a method may have its own."""
    mitigate: Annotated[list[_Entry], _Entries] | None = None
    """Mitigations of bias that every method is run with: `none`, `reweigh`, `balance`, `swap`, `thresholds`, or with settings
    of their own: `{reweigh: {by: age}}`, `{reweigh: {column: sex}}`; a list makes a grid. A method may have its own."""
    evaluate: Literal["last"] | Annotated[int, Field(ge=1, le=LARGEST_COUNT)] = 1
    """Epochs after which a run is evaluated: each (1), every n-th and the last (n), or the last alone (`last`)."""
    early_stopping: int | None = Field(default=None, ge=1, le=LARGEST_COUNT)
    """Epochs without a better metric on the development split (the data's own, or a tenth of the train rows) after which a
    run stops; its best epoch's weights stay."""
    teacher: Annotated[str, BeforeValidator(as_text)] | None = None
    """A model or an adapter's folder that teaches: what it says of the train rows is learned beside their labels."""
    teacher_weight: float = Field(default=0.5, gt=0, le=1)
    """Share of the loss that is the teacher's; with 1 no label is learned from."""
    distil: Annotated[list[_Entry], _Entries] = Field(default=["soft"], min_length=1)
    """Its signals: `soft` (probabilities), `hard` (answers as labels), `hidden` (states), or `{soft: {temperature: 4}}`."""
    race: RaceSpec | None = None
    """Successive halving over the study's methods, and over ranks and rates if asked, in place of whole runs of all."""
    fit: bool = False
    """True changes what leaves results the same where memory has no room for a model's runs as they stand: fewer rows at
    once (`micro_batch_size`, `evaluation_batch_size`), then `gradient_checkpointing`. What has no room even so is refused."""
    micro_batch_size: int | None = Field(default=None, ge=1, le=LARGEST_COUNT)
    """Rows of a run computed at once; a step adds up as many micro-batches as its batch needs, and no gradient changes."""
    gradient_checkpointing: bool = False
    """Compute each layer again in the backward pass instead of keeping what it needs: less memory, more time."""
    offload: Literal["disk"] | None = None
    """`disk` leaves the model's layers in its files and reads each when it computes: a base trains that memory cannot hold,
    slowly. It needs a precision that is written down."""
    sample_seconds: float = Field(default=0.5, gt=0, le=86_400)
    """Interval of the background memory readings."""
    checkpoint_seconds: float = Field(default=60.0, ge=0, le=1e9)
    """Seconds from one checkpoint to the next within an epoch; each epoch ends with one anyway."""
    executor: str | Annotated[dict[str, dict[str, Any] | None], Field(min_length=1, max_length=1)] | None = None
    """The place where runs are carried out: `processes` (here, one after another; the default), `in-process`, `accelerate`,
    `ray` or `slurm`, or one with settings of its own: `{accelerate: {launch: accelerate.yaml}}`."""
    report_to: Annotated[list[str], OneOrMore, AfterValidator(once), AfterValidator(known_trackers)] | None = None
    """Programs that are told of every run as it goes: `mlflow`, `tensorboard`, `trackio`, `wandb`."""
    watch_reference: bool = True
    """Keep with adapters what `afina watch` compares later rows with: figures of rows and hashes of words, no text."""
    audits: Annotated[list[_OneEntry], _Entries] | None = None
    """Audits of the finished runs, shown beside accuracy and cost: `bias`, `leak`, or one with settings of its own:
    `{bias: {groups: [gender]}}`; a finished study that gets one more makes that alone."""
    keep_checkpoints: int = Field(default=0, ge=0, le=1_000)
    """Steps of each run, evenly spaced and the start beside them, at which its parameters are kept for `afina inspect`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """The device to compute on; `auto` takes a GPU where there is one."""
    trust_remote_code: bool = False
    """Run code that comes with a model's repository; never unless asked."""

    @model_validator(mode="before")
    @classmethod
    def _at_each_length(cls, values: Any) -> Any:
        return at_each_length(values)

    @field_validator("cohort", mode="before", json_schema_input_type=Literal["auto", "off"] | bool | int)
    @classmethod
    def _cohort(cls, value: Any) -> Any:
        value = _switch(value)
        if value in ("auto", "off"):
            return value
        if not _is_number(value) or not float(value).is_integer():
            raise ValueError("should be auto, off or a number of members")
        if float(value) > MOST_ENTRIES:
            raise ValueError(f"a cohort has at most {MOST_ENTRIES:,} members")
        if float(value) < 1:
            raise ValueError("a cohort has at least one member")
        return int(float(value))

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _learning_rate(cls, value: Any) -> Any:
        rates = value if isinstance(value, Mapping) else {"": value}
        numbers = all(isinstance(name, str) and _is_number(rate) for name, rate in rates.items())
        if value not in ("auto", "search") and not numbers:
            raise ValueError("should be auto, search, a number, or {method: number}")
        if numbers and not all(0 < float(rate) <= 1e30 for rate in rates.values()):
            raise ValueError("should be above 0")
        return value

    @field_validator("race", mode="before", json_schema_input_type=bool | Literal["off"] | RaceSpec | None)
    @classmethod
    def _race(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return {} if value else None
        return None if value == "off" else value

    @field_validator("offload")
    @classmethod
    def _offload(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.data.get("precision") == "auto":
            raise ValueError("needs a precision: (bf16 or fp32), as auto would hold the whole model to time it")
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: list[int]) -> list[int]:
        if len(set(value)) != len(value):
            raise ValueError("each seed may stand once")
        if min(value) < 0:
            raise ValueError("seeds are not negative")
        return value

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a study file; raises `UsageError` in one sentence."""
        values = read_yaml(path)
        if isinstance(values, dict) and set(values) == {"study", "resolved"}:
            values = values["study"]  # as a study's folder keeps it, with what was resolved beside it
        config: Self = cls.parse(values, str(path))
        return config.model_copy(update={"dataset": [_beside(spec, path) for spec in config.dataset]})

    def length_of(self, spec: DatasetSpec) -> int:
        """Return the most tokens that a data set's texts may have."""
        return spec.max_length or self.max_length

    def called(self, model: str) -> str:
        """Return what to call a model: its folder's name, or its whole path where another has that name too."""
        name = Path(model).name
        return name if sum(Path(other).name == name for other in self.model) == 1 else model

    @property
    def evaluations(self) -> int:
        """Return after how many of its epochs a run is evaluated."""
        return 1 if self.evaluate == "last" else -(-self.epochs // self.evaluate)

    def learning_rate_for(self, method: str) -> float | None:
        """Return the rate this study sets for a method, or None for the method's own default."""
        if isinstance(self.learning_rate, dict):
            return self.learning_rate.get(method)
        return None if isinstance(self.learning_rate, str) else self.learning_rate


def _settings_of_tasks() -> tuple[type[Checked], ...]:
    """Return the classes of the tasks' own keys, each once; raises `UsageError` where two of them have one key."""
    settings = tuple(dict.fromkeys(task.Settings for task in TASKS.values() if task.Settings.model_fields))
    each: tuple[type[Checked], ...] = (_Study, *settings)
    keys = [key for own in each for key in own.model_fields]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise UsageError(f"Two tasks have a setting '{twice[0]}', or a task has one that is every study's; rename it.")
    return settings


if TYPE_CHECKING:

    class _OfTasks(Checked):
        """Stands for them where types are checked: a task reads its own by its own class."""

else:
    _OfTasks = types.new_class("_OfTasks", _settings_of_tasks(), exec_body=lambda own: own.update(__module__=__name__))


class StudyConfig(_OfTasks, _Study):
    """A study: every model x data set x method x seed, under one protocol."""

    # Its keys are those that say something to every task, and behind them each task's own (`Task.Settings`).


def _beside(spec: DatasetSpec, study: Path) -> DatasetSpec:
    """Return a data set whose file stands beside the study file, and not where the command runs, with its whole path."""
    other = study.parent / spec.path
    if Path(spec.path).exists() or other == Path(spec.path) or not other.exists() or not study.parent.name:
        return spec
    named = spec.name or (None if Path(spec.path).name == other.name else spec.label_name)
    return spec.model_copy(update={"path": str(other), "name": named})


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))  # YAML 1.1 reads 1e-4 as text
    except (TypeError, ValueError, OverflowError):
        return False
