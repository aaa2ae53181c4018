"""study.yaml in a study's folder: the study as it was given, and what was resolved of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from afina.errors import UsageError
from afina.results.json_object import Digest, JsonObject, Key, checked
from afina.results.result import Rate, Untried
from afina.yaml_file import read_yaml

__all__ = ["ChosenPrecision", "KnownData", "Resolved", "SettledRun", "StudyFile", "read_study_file"]


class SettledRun(JsonObject):
    """The settings that a start of the study settled for a run; those from before rates were settled lack `rate`."""

    __slots__ = ()

    method: Key[str] = Key("")
    settings: Key[Mapping[str, Any]] = Key()
    rate: Key[Rate] = Key()
    untried: Key[Untried | None] = Key(None, read=Untried)


class KnownData(JsonObject):
    """A data set as a model reads it: the digest of its rows, counts and notes."""

    __slots__ = ()

    digest: Key[Digest | None] = Key(None)
    train_rows: Key[int | None] = Key(None)
    test_rows: Key[int | None] = Key(None)
    validation_rows: Key[int | None] = Key(None)
    """Rows of the development split, where one is chosen on."""
    languages: Key[Mapping[str, int]] = Key({})
    """Counts of texts in each language, of a sample of the train texts."""
    texts_cut: Key[Mapping[str, int]] = Key({})
    notes: Key[Sequence[Any]] = Key(())


class ChosenPrecision(JsonObject):
    """Records the precision that `auto` became for a model, and the timed steps that decided."""

    __slots__ = ()

    precision: Key[str] = Key()
    reason: Key[str] = Key("")
    step_seconds: Key[Mapping[str, float]] = Key({})


def _precisions(values: Mapping[str, Any]) -> dict[str, ChosenPrecision]:
    return {model: ChosenPrecision(own) for model, own in values.items()}


def _data(values: Mapping[str, Any]) -> dict[str, KnownData]:
    return {name: KnownData(own) for name, own in values.items()}


def _runs(values: Mapping[str, Any]) -> dict[str, SettledRun]:
    return {run: SettledRun(own) for run, own in values.items()}


class Resolved(JsonObject):
    """The things that were settled when the study ran."""

    __slots__ = ()

    versions: Key[Mapping[str, str]] = Key({})
    hardware: Key[Mapping[str, Any]] = Key({})
    device: Key[str | None] = Key(None)
    precision: Key[Mapping[str, ChosenPrecision]] = Key({}, read=_precisions)
    """The chosen precision, by model."""
    data: Key[Mapping[str, KnownData]] = Key({}, read=_data)
    """Data sets as a model reads them, by model and data set (`study.data.data_key`)."""
    models: Key[Mapping[str, Mapping[str, Digest]] | None] = Key(None)
    """Digests of a model's parts, by model and part; None in a folder from before they were taken."""
    fitted: Key[Mapping[str, Mapping[str, Any]]] = Key({})
    """Keys of the study that `fit: true` changed, by model; none changes what is learned."""
    runs: Key[Mapping[str, SettledRun]] = Key({}, read=_runs)


class StudyFile(JsonObject):
    """Holds the whole file."""

    __slots__ = ()

    study: Key[Mapping[str, Any]] = Key()
    resolved: Key[Resolved | None] = Key(None, read=Resolved)


def read_study_file(directory: Path) -> StudyFile:
    """Read the study.yaml of a study's folder; raises `UsageError` for what it lacks."""
    path = directory / "study.yaml"
    what_to_do = "put back what was there, or choose another folder for a study (--out)"
    try:
        values = read_yaml(path)
    except UsageError as error:
        raise UsageError(f"{str(error).rstrip('.')}; {what_to_do}.") from None
    return checked(StudyFile, values, str(path), what_to_do)
