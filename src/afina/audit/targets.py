"""Find what an audit is to look at: one adapter's folder, or the finished runs of a study that it can look at."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from afina.adapters.record import AdapterRecord, read_record
from afina.audit.kept_answers import KeptAnswers
from afina.errors import UsageError
from afina.predictor.loading import Loading
from afina.predictor.predictor import Predictor
from afina.results.result import Result
from afina.results.results_jsonl import lacks_adapter, read_results
from afina.tasks.base import Task, restore

__all__ = ["Looking", "Shared", "Target", "labelled", "study_of", "targets_of", "weights_digest"]


@dataclass(frozen=True)
class Target:
    """Names an adapter to look at, with its run's result where it is a study's."""

    path: Path
    result: Result | None
    label: str
    """Number and name, for lines of progress."""

    @property
    def record(self) -> AdapterRecord:
        return read_record(self.path)

    @property
    def weights(self) -> str:
        return weights_digest(self.path)


def weights_digest(adapter: Path) -> str:
    """Return a digest of an adapter's files of weights."""
    digest = hashlib.sha256()
    for path in sorted(adapter.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def targets_of(folder: Path, fits: Callable[[Task], bool], only: str) -> list[Target]:
    """Return what is to be looked at; `only` ends the sentences that refuse an adapter, or a study without one, that fits.

    Raises `UsageError` for a folder that is neither an adapter nor a study.
    """
    if not (folder / "study.yaml").is_file():
        if not any((folder / name).is_file() for name in ("afina.json", "adapter_config.json")):
            raise UsageError(f"{folder} is neither an adapter (no afina.json) nor a study (no study.yaml).")
        return [Target(folder, None, f"1 of 1: {folder.name}")]
    # An adapter that was deleted since is told by the report, and looked at by nobody.
    done = [
        result for result in read_results(folder)
        if result.is_finished and result.adapter and not lacks_adapter(folder, result)
    ]  # fmt: skip
    fitting = [each for each in done if fits(restore(read_record(folder / str(each.adapter)).task))]
    if not fitting:
        raise UsageError(f"{folder} has no finished run {only}")
    return [
        Target(folder / str(each.adapter), each, f"{number} of {len(fitting)}: {each.run}")
        for number, each in enumerate(fitting, start=1)
    ]


def study_of(path: Path) -> Path | None:
    """Return the study.yaml of the study in whose folder an adapter lies; None where it lies in none."""
    study = path.resolve().parents[2] / "study.yaml"  # study/runs/run/adapter
    return study if study.is_file() else None


def labelled(tell: Callable[[str], None], label: str) -> Callable[[str], None]:
    """Return a function that tells of progress with a label before it."""
    return lambda status: tell(f"{label}: {status}")


@dataclass(frozen=True)
class Looking:
    """Says how adapters are loaded, who is told of progress, and where answers are kept and read again."""

    loading: Loading = field(default_factory=Loading)
    tell: Callable[[str], None] = lambda status: None
    store: KeptAnswers = field(default_factory=KeptAnswers)


class Shared:
    """Loads adapters, each on the backbone of an earlier one where both can share it."""

    def __init__(self, loading: Loading) -> None:
        self.loading = loading
        self._first: dict[tuple[str, str], Predictor] = {}

    def load(self, target: Target) -> Predictor:
        """Load an adapter."""
        record = target.record
        # What has changed the base's own weights shares it with nobody.
        if record.make_method().owns_backbone:
            return self.loading.load(target.path)
        key = (record.model, record.precision)
        loaded = self.loading.load(target.path, beside=self._first.get(key))
        self._first.setdefault(key, loaded)
        return loaded
