"""Define what a study file says of a data set: where its rows are and what its columns mean."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from afina.checked import LARGEST_COUNT, TRUTHS, Checked, OneOrMore, as_list, as_text, once
from afina.separator import as_separator
from afina.task_name import TaskName

__all__ = ["DatasetSpec", "Length", "at_each_length"]

Length = Annotated[int, Field(ge=4, le=LARGEST_COUNT)]
"""Tokens that a text may have."""

_COLUMNS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
"""The JSON schema of one column or several."""


class DatasetSpec(Checked):
    """Says where the rows are and which columns mean what; columns left out are found by their usual names.

    What only some tasks read stands here too, since the readers of `data/` take it for whichever task asks (`prompt` for
    two, `messages` for chats and for audits). `Task.reads` says whose a key is, and refuses it to others.
    """

    path: Annotated[str, BeforeValidator(as_text, json_schema_input_type=str)]
    """A packaged name, a preset, a file, a folder with train.* and test.*, or a hub name."""
    config: str | None = None
    """The hub data set's configuration, e.g. `sst2` of `glue`."""
    text: Annotated[str | None, WithJsonSchema(_COLUMNS)] = None
    """The column of texts; of a list of columns the texts are joined, each on a line of its own."""
    joined: SkipJsonSchema[tuple[str, ...]] = ()
    """The columns of `text`, where that is a list."""
    text_pair: str | None = None
    """The column of second texts, where a row is a pair of them."""
    label: Annotated[str | None, WithJsonSchema(_COLUMNS)] = None
    """The column of labels: words, numbers, or tags of words; or a list of columns of 0 and 1, one for each label of which a
    row may have several."""
    flags: SkipJsonSchema[tuple[str, ...]] = ()
    """The columns of `label`, where that is a list."""
    separator: Annotated[str | None, BeforeValidator(as_separator), WithJsonSchema({"type": "string"})] = Field(
        default=None, min_length=1, max_length=1
    )
    """The separator of a text file's columns; left out, it is recognised."""
    decimal: Literal[".", ","] | None = None
    """The decimal mark of labels; left out, it is recognised where that is safe."""
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
    assistant: Annotated[list[str], OneOrMore] | None = None
    """For `task: chat`, the names of who answers, where a transcript or a chat has names; everybody else asks."""
    user: Annotated[list[str], OneOrMore] | None = None
    """For `task: chat`, the names of who asks."""
    negatives: str | None = None
    """For `task: retrieval`, the column of passages that do not answer a row's question, one a row or a list."""
    passages: str | None = None
    """For `task: retrieval`, a file of passages with an id each, of which `text_pair` then gives those that answer; left out,
    the passages are those of the rows."""
    target: str | None = None
    """The column of what is written: seq2seq's target, chat's answer."""
    groups: Annotated[list[str], OneOrMore] | None = None
    """For `task: classification`, columns whose values are groups of rows: the report says how labels are shared out among
    them. Columns that `audits` or `mitigate` name are counted without it."""
    task: TaskName = "auto"
    """Comes before the study's `task`."""
    metric: str | None = None
    """The metric that tables show first and choices go by; left out, the task's own, or a preset's."""
    split: dict[Literal["train", "validation", "test"], str] | None = None
    """File or hub split of each part; a single file is divided 80/20 with a fixed seed."""
    max_length: Length | None = None
    """Tokens that a text of it may have; left out, the study's."""
    name: str | None = None
    """The data set's name in tables; left out, the last part of its path."""

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


def at_each_length(values: Any) -> Any:
    """Return a study's keys with each data set once for each of several lengths, under a name of its own.

    Raises `ValueError` for a list that is none of lengths.
    """
    lengths = values.get("max_length") if isinstance(values, Mapping) else None
    if not isinstance(lengths, (list, tuple)):
        return values
    if not lengths or not all(type(length) is int and 4 <= length <= LARGEST_COUNT for length in lengths):
        raise ValueError(f"max_length should be a number of tokens from 4 to {LARGEST_COUNT:,}, or a list of them")
    if len(once(list(lengths))) == 1:
        return {**values, "max_length": lengths[0]}
    specs = [_spec(item) for item in as_list(values.get("dataset", ()))]
    return {
        **values,
        "max_length": max(lengths),
        "dataset": [
            spec.model_copy(update={"max_length": length, "name": f"{spec.label_name}, {length} tokens"})
            for spec in specs
            # A length of its own is the one that is meant.
            for length in ([spec.max_length] if spec.max_length is not None else lengths)
        ],
    }


def _spec(item: Any) -> DatasetSpec:
    if isinstance(item, DatasetSpec):
        return item
    return DatasetSpec.model_validate({"path": item} if isinstance(item, str) else item)
