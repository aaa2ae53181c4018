"""Audit an adapter, or every finished writing run of a study, for leaks of the rows that it was trained on."""

import importlib.metadata
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from afina.adapters.record import AdapterRecord
from afina.audit.canaries import CanaryManifest, read_manifest
from afina.audit.findings import Leak
from afina.audit.leak import Known, LeakMaterial, LeakSettings, examine
from afina.audit.tables import tables_of
from afina.audit.targets import Looking, Shared, labelled, study_of, targets_of
from afina.config import StudyConfig
from afina.data.columns import joined
from afina.data.files.tables import read_table
from afina.data.rows import Rows
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.results.findings.audited import Audited, Cells
from afina.results.findings.sentence import Sentence
from afina.study.data import study_data
from afina.tasks.base import restore
from afina.tasks.writing import writer_named
from afina.words.language import Words

__all__ = ["LeakAudit", "audit_leak"]


@dataclass(frozen=True, kw_only=True)
class LeakAudit(Audited):
    """Holds what was found for all audited adapters: the findings of every audit, and all that its own tests measured."""

    title = Sentence("What is given away of the training data")
    claims_not = (Sentence("Where these tests find no leak, that is no proof that nothing can be extracted."),)

    checks = ("membership", "recitation", "canaries")

    leaks: list[Leak] = field(default_factory=list)

    def further(self, words: Words) -> list[tuple[str, Cells]]:
        return tables_of(self.leaks, words)

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | {"leaks": [leak.as_dict() for leak in self.leaks]}


def audit_leak(
    target: str | Path, *, train: str | Path | None = None, held_out: str | Path | None = None,
    canaries: str | Path | None = None, columns: DatasetSpec | None = None, settings: LeakSettings | None = None,
    how: Looking | None = None,
) -> LeakAudit:  # fmt: skip
    """Look for leaks in an adapter that learned to write, or in every finished run of a study's folder.

    `train` and `held_out` are files of rows that it was trained on and rows that it was not, with their `columns`; by
    default they are the train and test rows of the adapter's study. `canaries` is the manifest of the canaries planted in
    the train rows. Raises `UsageError` for a target that is missing, cannot be read, or does not write texts.
    """
    settings, how = settings or LeakSettings(), how or Looking()
    loading, tell = how.loading, how.tell
    folder = Path(target)
    # Manifest first: a wrong one is cheaper to find than a model is to load.
    manifest = None if canaries is None else read_manifest(Path(canaries))
    if (train is None) != (held_out is None):
        raise UsageError("--train and --held-out go together: leaks show in what differs between the two.")
    targets = targets_of(folder, lambda task: task.writes, "of a task that writes; only what writes can recite.")
    known: Known = {}
    shared = Shared(loading)
    materials: dict[str, LeakMaterial] = {}
    leaks = []
    for target_of in targets:
        path, label = target_of.path, target_of.label
        tell(f"{label}: loading")
        # PEFT's files do not say in which template a row stood, and its loss in another one would prove nothing.
        if (path / "adapter_config.json").exists() and not (path / "afina.json").exists():
            raise UsageError(
                f"{path} does not say how what it learned was written (it has no afina.json); train it here."
            )
        record = target_of.record
        if not restore(record.task).writes:
            raise UsageError(
                f"{path} was trained for {record.task['name']}, not to write; only what writes can recite."
            )
        at = str(train) if train is not None else str(record.facts.get("source"))

        # Adapters of one data set look at the same rows, so that they can be compared.
        if at not in materials:
            materials[at] = _material(record, path, train, held_out, columns, manifest)
        loaded = shared.load(target_of)
        leaks.append(
            examine(
                loaded, materials[at], settings, known=known, result=target_of.result,
                trust_remote_code=loading.trust_remote_code, tell=labelled(tell, label),
                store=how.store,
            )
        )  # fmt: skip
    return LeakAudit(
        audit="leak", target=str(target), leaks=leaks, findings=[each for leak in leaks for each in leak.findings],
        notes=list(dict.fromkeys(note for leak in leaks for note in leak.notes)),
        facts={
            "settings": asdict(settings), "train": train and str(train), "held_out": held_out and str(held_out),
            "canaries": canaries and str(canaries), "device": loading.device,
            "versions": {name: importlib.metadata.version(name) for name in ("afina", "torch", "transformers")},
        },
    )  # fmt: skip


def _material(
    record: AdapterRecord, path: Path, train: str | Path | None, held_out: str | Path | None,
    columns: DatasetSpec | None, manifest: CanaryManifest | None,
) -> LeakMaterial:  # fmt: skip
    if train is not None and held_out is not None:
        source = record.facts.get("source")
        spec = columns or (DatasetSpec(**source) if source else DatasetSpec(path=str(train)))
        train_rows, other = (_read(Path(file), spec, record.task["name"]) for file in (train, held_out))
        return LeakMaterial(train_rows, other, manifest)
    # The adapter's own study, whose folder keeps the rows that it was trained on and those that it was not.
    study = study_of(path)
    if "source" not in record.facts or study is None:
        raise UsageError(f"{path} lies in no study's folder; say on what it was trained with --train and --held-out.")
    # Read again with the study's own settings, so that the split is the one of then.
    data = study_data(StudyConfig.read(study), DatasetSpec(**record.facts["source"]))
    return LeakMaterial(data.train, data.test, manifest)


def _read(path: Path, spec: DatasetSpec, task: str) -> Rows:
    """Read the rows of a file, without those that are empty."""
    table = read_table(path)
    if spec.joined:
        tables, spec = joined({"file": table}, spec, str(path), [])
        table = tables["file"]
    rows = writer_named(task).rows_of(table, spec, str(path))
    # Training leaves out what is empty, and what was not trained on cannot be given away.
    full = [row for row, text in enumerate(rows.text) if text and (rows.text_pair is None or rows.text_pair[row])]
    return Rows(
        [rows.text[row] for row in full], None if rows.text_pair is None else [rows.text_pair[row] for row in full],
        rows.label[full],
    )  # fmt: skip
