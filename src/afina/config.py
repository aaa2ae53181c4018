"""Define what a study file says, checked when it is read.

Names of methods, models and data sets are only carried here; the rooms that know them check them.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from afina.checked import LARGEST_COUNT, MOST_ENTRIES, TRUTHS, Checked
from afina.precision import Precision
from afina.separator import as_separator
from afina.task_name import TaskName
from afina.yaml_file import read_yaml

__all__ = ["DatasetSpec", "MethodSpec", "RaceSpec", "StudyConfig"]


def _switch(value: Any) -> Any:
    """Undo YAML, which reads a plain `off` as false and `on` as true."""
    return {True: "auto", False: "off"}[value] if isinstance(value, bool) else value


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else [value]


_OneOrMore = BeforeValidator(_as_list, json_schema_input_type=str | list[str])


def _once(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError("each may stand once")
    return values


Factors = Annotated[list[Annotated[float, Field(gt=0, le=1e6)]], Field(min_length=1), AfterValidator(_once)]


class MethodSpec(BaseModel):
    """A method's name and the settings written beside it; the registry of methods checks both."""

    model_config = ConfigDict(frozen=True)
    name: str
    settings: dict[str, Any] = {}

    @model_serializer
    def as_written(self) -> str | dict[str, Any]:
        """Return it as a study file says it."""
        return {self.name: self.settings} if self.settings else self.name

    @property
    def label(self) -> str:
        """Return what tables call it: the name, with the settings that differ from the study's in brackets."""
        inside = ", ".join(f"{key}={value}" for key, value in sorted(self.settings.items()))
        return f"{self.name}({inside})" if inside else self.name


_COLUMNS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
"""What a file may say of one column or several."""


class DatasetSpec(Checked):
    """Says where the rows are and which columns mean what; columns left out are found by their usual names."""

    path: str
    """A packaged name, a preset, a file, a folder with train.* and test.*, or a hub name."""
    config: str | None = None
    """The hub data set's configuration, e.g. `sst2` of `glue`."""
    text: Annotated[str | None, WithJsonSchema(_COLUMNS)] = None
    """The column of texts; of a list of columns the texts are joined, each on a line of its own."""
    joined: SkipJsonSchema[tuple[str, ...]] = ()
    """Where `text` is a list, its columns."""
    text_pair: str | None = None
    """The column of second texts, where a row is a pair of them."""
    label: Annotated[str | None, WithJsonSchema(_COLUMNS)] = None
    """The column of labels: words, numbers, or tags of words; or a list of columns of 0 and 1, one for each label of which a
    row may have several."""
    flags: SkipJsonSchema[tuple[str, ...]] = ()
    """Where `label` is a list, its columns."""
    separator: Annotated[str | None, BeforeValidator(as_separator), WithJsonSchema({"type": "string"})] = Field(
        default=None, min_length=1, max_length=1
    )
    """What stands between a text file's columns; left out, it is recognised."""
    decimal: Literal[".", ","] | None = None
    """What stands before a label's decimals; left out, it is recognised where that is safe."""
    encoding: str | None = None
    """A text file's encoding; left out, it is recognised."""
    missing: tuple[str, ...] | None = None
    """Labels that stand for none; left out, what programs write for a missing value (nan, NA, null, ...)."""
    choices: str | None = None
    """For `task: choices`, the column of each row's answers; without one the labels are the answers to all rows."""
    answers: list[str] | None = None
    """For `task: choices`, what is said for each label, in label order; left out, the labels' names."""
    prompt: str | None = None
    """For `task: choices`, what the model reads before an answer, with {text} and {text_pair} in it; for seq2seq, with
    {text} in it."""
    messages: str | None = None
    """For `task: chat`, the column of each row's messages; without one, `text` is asked and `target` answered."""
    assistant: Annotated[list[str], _OneOrMore] | None = None
    """For `task: chat`, the names of who answers, where a transcript or a chat has names; everybody else asks."""
    user: Annotated[list[str], _OneOrMore] | None = None
    """For `task: chat`, the names of who asks."""
    target: str | None = None
    """The column of what is written: seq2seq's target, chat's answer."""
    task: TaskName = "auto"
    """Comes before the study's `task`."""
    metric: str | None = None
    """The metric that tables show first and choices go by; left out, the task's own, or a preset's."""
    split: dict[Literal["train", "validation", "test"], str] | None = None
    """File or hub split of each part; a single file is divided 80/20 with a fixed seed."""
    name: str | None = None
    """What tables call the data set; left out, the last part of its path."""

    @model_validator(mode="before")
    @classmethod
    def _join(cls, values: Any) -> Any:
        for key, columns in (("text", "joined"), ("label", "flags")):
            named = values.get(key) if isinstance(values, Mapping) else None
            if not isinstance(named, (list, tuple)):
                continue
            if not named or not all(isinstance(name, str) for name in named) or len(set(named)) < len(named):
                if any(isinstance(name, bool) for name in named):
                    raise ValueError(f"{key}: {TRUTHS}")
                raise ValueError(f"{key} should be a column, or a list of different ones, not {named!r}")
            values = {**values, key: " + ".join(named), columns: tuple(named) if len(named) > 1 else ()}
        return values

    @model_serializer(mode="wrap")
    def as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return it as a study file says it."""
        values: dict[str, Any] = handler(self)
        for key, columns in (("text", "joined"), ("label", "flags")):
            if several := values.pop(columns):
                values[key] = list(several)
        return values

    @property
    def label_name(self) -> str:
        return self.name or Path(self.path).name or self.path


class RaceSpec(Checked):
    """A race: all candidates train together, and at each rung those that are worse on the development split leave."""

    rungs: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default=[0.1, 0.3], min_length=1)
    """Shares of a run's steps after which candidates are judged."""
    keep: float = Field(default=0.34, gt=0, lt=1)
    """Share of the candidates that goes on at each; one at least."""
    ranks: (
        Annotated[list[Annotated[int, Field(ge=1, le=65_536)]], Field(min_length=1), AfterValidator(_once)] | None
    ) = None
    """Every method that has a rank runs with each of these."""
    rate_factors: Factors = Field(default=[1.0])
    """Every method runs at its automatic learning rate times each of these; one with a rate of its own at that alone."""

    @field_validator("rungs")
    @classmethod
    def _rungs(cls, value: list[float]) -> list[float]:
        if value != sorted(set(value)):
            raise ValueError("rungs should rise")
        return value


_Entry = str | dict[str, dict[str, Any] | None]
"""How a study file names a method."""


def _as_method(value: Any) -> Any:
    if isinstance(value, MethodSpec):
        return value
    if isinstance(value, str):
        return MethodSpec(name=value)
    if hasattr(value, "changed_settings"):
        return MethodSpec(name=value.name, settings=value.changed_settings())
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, settings),) = value.items()
        if settings is None or isinstance(settings, Mapping):
            return MethodSpec(name=str(name), settings=dict(settings or {}))
    raise ValueError("each method should be a name or {name: {setting: value}}")


def _as_methods(value: Any) -> Any:
    return [_as_method(item) for item in _as_list(value)]


def _as_datasets(value: Any) -> Any:
    items = _as_list(value)
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


class StudyConfig(Checked):
    """A study: every model x data set x method x seed, under one protocol."""

    switches = frozenset({"cohort"})
    elsewhere = dict.fromkeys(
        ("steps", "max_steps", "num_steps", "total_steps", "train_steps"),
        "the steps follow from epochs, batch_size and the number of rows",
    ) | {"lr": "write learning_rate", "num_train_epochs": "write epochs", "max_seq_length": "write max_length"}

    model: Annotated[list[str], _OneOrMore, AfterValidator(_once)] = Field(min_length=1)
    """Hub name, local folder, GGUF file, or a built-in name (`minilm`, `afina-small`, `smollm2`); a list makes a grid."""
    dataset: Annotated[
        list[DatasetSpec],
        BeforeValidator(_as_datasets, json_schema_input_type=str | DatasetSpec | list[str | DatasetSpec]),
    ] = Field(min_length=1)
    """Packaged name (`tickets`, `roaster`, `everyday`), preset, hub name, file or folder, or the keys of a data set; a list
    makes a grid."""
    methods: Annotated[list[MethodSpec], BeforeValidator(_as_methods, json_schema_input_type=_Entry | list[_Entry])] = (
        Field(min_length=1)
    )
    """Names, or {name: {setting: value}}."""
    seeds: Annotated[list[int], BeforeValidator(_as_seeds, json_schema_input_type=int | list[int])] = Field(
        default=[0], min_length=1
    )
    """How many seeds (0, 1, ...), or a list of them."""
    epochs: int = Field(default=3, ge=1, le=LARGEST_COUNT)
    """How often each run goes through its train rows."""
    batch_size: int = Field(default=6, ge=1, le=LARGEST_COUNT)
    """Rows of one optimiser step."""
    evaluation_batch_size: int = Field(default=64, ge=1, le=LARGEST_COUNT)
    """Rows evaluated at once, of all members of a pass together."""
    learning_rate: float | Literal["auto", "search"] | dict[str, float] = "auto"
    """`auto` is each method's own for the run's steps, model and task; `search` takes the best of auto's times each of
    `search_factors` on the development split; a number sets all; a mapping by method sets some."""
    search_factors: Factors = Field(default=[0.3, 1.0, 3.0, 10.0])
    """With `learning_rate: search`, what each method's automatic rate is multiplied by."""
    max_length: int = Field(default=512, ge=4, le=LARGEST_COUNT)
    """Tokens a text may have; what is longer is cut, and the number of cut texts is reported."""
    rank: int | None = Field(default=None, ge=1, le=65_536)
    """Rank of low-rank methods that do not say their own; left out, each method's default."""
    targets: Annotated[list[str], _OneOrMore] | None = None
    """Roles that low-rank methods adapt, or `all`; left out, each method's own default."""
    precision: Precision = "auto"
    """`auto` takes bf16 if timed steps are not slower, and says so; `nf4` and `int8` quantise the frozen base."""
    cohort: Literal["auto", "off"] | int = "auto"
    """How many runs train together on one frozen base; `off`: one by one; `auto`: all of a model and data set that can and
    fit, where a method has 400 steps or more over its seeds and rates."""
    mix_datasets: bool = False
    """Whether runs on different data sets may train in one cohort: one base for many customers."""
    train_limit: int | None = Field(default=None, ge=2)
    """Rows to train on, stratified by label, always the same ones."""
    test_limit: int | None = Field(default=None, ge=2)
    """Rows to test on, likewise."""
    train_evaluation_limit: int | None = Field(default=None, ge=2)
    """Train rows that the train metric of an epoch is taken on, stratified; left out, all of them."""
    task: TaskName = "auto"
    """`auto` finds classification, regression or tagging by the columns and labels, and `multilabel` where `label:` is a
    list; `choices` scores answers with a model's language head, which `language`, `chat` and `seq2seq` teach to write."""
    template: str | dict[str, str] | None = None
    """For `task: chat`, a named template or formats by role, with {content} in each; left out, the tokenizer's own."""
    system: Literal["keep", "merge"] = "keep"
    """For `task: chat`: `merge` puts what the system says before the user's first words, where a template takes no system."""
    packing: Annotated[
        Literal["auto", "off"], BeforeValidator(_switch, json_schema_input_type=Literal["auto", "off"] | bool)
    ] = "auto"
    """Whether short texts share a row of a batch, unseen by each other, where a model learns to write and it saves rows."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's, of matrices; a method may have its own, as for the next three: `{full: {weight_decay: 0.01}}`."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps in which the learning rate rises to its peak."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after its peak."""
    gradient_clip: float | None = Field(default=1.0, gt=0)
    """Largest norm of a step's gradient; null for none."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of each label that is spread over all classes (Szegedy et al., 2016)."""
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(ge=0, le=1e6)]] | None = None
    """Weight of each class in the loss, by label name; `balanced`: rows / (classes * rows of the class)."""
    early_stopping: int | None = Field(default=None, ge=1, le=LARGEST_COUNT)
    """Epochs without a better metric on the development split (the data's own, or a tenth of the train rows) after which a
    run stops; its best epoch's weights stay."""
    race: RaceSpec | None = None
    """Successive halving over the study's methods, and over ranks and rates if asked, in place of whole runs of all."""
    micro_batch_size: int | None = Field(default=None, ge=1, le=LARGEST_COUNT)
    """Rows of a run computed at once; a step adds up as many micro-batches as its batch needs, and no gradient changes."""
    gradient_checkpointing: bool = False
    """Compute each layer again in the backward pass instead of keeping what it needs: less memory, more time."""
    sample_seconds: float = Field(default=0.5, gt=0, le=86_400)
    """Interval of the background memory readings."""
    checkpoint_seconds: float = Field(default=60.0, ge=0, le=1e9)
    """From one checkpoint to the next within an epoch; each epoch ends with one anyway."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; `auto` takes a GPU where there is one."""
    trust_remote_code: bool = False
    """Run code that comes with a model's repository; never unless asked."""

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

    @field_validator("class_weights")
    @classmethod
    def _class_weights(cls, value: Any) -> Any:
        if isinstance(value, dict) and not any(value.values()):
            raise ValueError("should be above 0 for one class at least")
        return value

    @field_validator("race", mode="before", json_schema_input_type=bool | Literal["off"] | RaceSpec | None)
    @classmethod
    def _race(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return {} if value else None
        return None if value == "off" else value

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: list[int]) -> list[int]:
        if len(set(value)) != len(value):
            raise ValueError("each seed may stand once")
        if min(value) < 0:
            raise ValueError("seeds are not negative")
        return value

    @classmethod
    def read(cls, path: Path) -> "StudyConfig":
        """Read and check a study file; raises `UsageError` in one sentence."""
        values = read_yaml(path)
        if isinstance(values, dict) and set(values) == {"study", "resolved"}:
            values = values["study"]  # as a study's folder keeps it, with what was resolved beside it
        config: StudyConfig = cls.parse(values, str(path))
        return config.model_copy(update={"dataset": [_beside(spec, path) for spec in config.dataset]})

    def called(self, model: str) -> str:
        """Return what to call a model: its folder's name, or its whole path where another has that name too."""
        name = Path(model).name
        return name if sum(Path(other).name == name for other in self.model) == 1 else model

    def learning_rate_for(self, method: str) -> float | None:
        """Return the rate this study sets for a method, or None for the method's own default."""
        if isinstance(self.learning_rate, dict):
            return self.learning_rate.get(method)
        return None if isinstance(self.learning_rate, str) else self.learning_rate


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
