"""Find tables by one name: packaged sets, presets, files, folders and the hub."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.compute as compute

from afina.data.columns import find_label
from afina.data.files.compression import format_of
from afina.data.files.tables import FILES, read_table
from afina.data.images import PACKAGED_IMAGES
from afina.data.sources.layouts import parts_of
from afina.data.sources.preset_columns import preset_columns
from afina.data.sources.presets import PACKAGED, PARQUET, PRESETS, Preset
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError, nearest
from afina.hub import cached_only

__all__ = ["Parts", "find", "known_by_name"]


@dataclass(frozen=True)
class Parts:
    """Tables by split, the place to name in errors, and what is known of columns and labels."""

    tables: Mapping[str, arrow.Table]
    where: str
    spec: DatasetSpec
    label_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def place(self, split: str) -> str:
        """Return what to call a split in an error that names a row: its file, where it has one."""
        return self.files.get(split, f"{self.where} ({split})")


def find(spec: DatasetSpec, trust_remote_code: bool) -> Parts:
    name, path = spec.path, Path(spec.path)
    if name in PACKAGED or name in PRESETS:
        parts = _packaged(spec) if name in PACKAGED else _preset(spec, trust_remote_code)

        # The known name goes first, or a folder that happens to be called so would change a study.
        if path.exists():
            note = f"'{name}' is the data set known by that name; to read what is called so here, write ./{name}"
            return replace(parts, notes=(*parts.notes, note))
        return parts
    if path.is_dir():
        return _folder(spec, path)
    if format_of(path) in FILES or path.is_file():
        _refuse_split(spec)
        if not path.is_file():
            raise UsageError(f"{path} does not exist: neither in {Path.cwd()} nor beside the study file.")
        notes: list[str] = []
        table = read_table(path, notes, separator=spec.separator, encoding=spec.encoding, lines=True)
        files = {"train": str(path), "test": str(path)}
        return Parts({"train": table}, str(path), spec, notes=tuple(notes), files=files)

    # More than one slash, or one in front, is a path: the hub is not asked for what somebody has on the disk.
    if name.startswith((".", "/")) or name.count("/") > 1:
        raise UsageError(f"{name} does not exist: neither in {Path.cwd()} nor beside the study file.")
    return _hub(spec, trust_remote_code)


def known_by_name(name: str) -> bool:
    """Return whether a data set is read by its name alone, even where a file or folder is called so."""
    return name in PACKAGED or name in PACKAGED_IMAGES or name in PRESETS


def _refuse_split(spec: DatasetSpec) -> None:
    if spec.split is not None:
        raise UsageError(
            f"split: names the files of a folder or the splits of a hub data set, and {spec.path} is neither."
        )


def _packaged(spec: DatasetSpec) -> Parts:
    _refuse_split(spec)
    with resources.as_file(resources.files("afina.data") / "sets" / f"{spec.path}.jsonl") as file:
        table = read_table(file)
    part = {split: table.filter(compute.equal(table["split"], split)) for split in ("train", "test")}
    return Parts(part, spec.path, _fill(spec, **{key: key for key in ("text", "label") if key in table.column_names}))


def _fill(spec: DatasetSpec, **values: Any) -> DatasetSpec:
    """Fill in keys of a spec that the person left out."""
    given = spec.model_dump()
    # What the person said goes before what is known of the set.
    return DatasetSpec(**{**given, **{key: value for key, value in values.items() if given[key] is None}})


def _folder(spec: DatasetSpec, path: Path) -> Parts:
    notes: list[str] = []
    files = parts_of(path, spec, notes)
    tables = {part: table for part, (table, _) in files.items()}
    return Parts(tables, str(path), spec, notes=tuple(notes), files={part: file for part, (_, file) in files.items()})


def _preset(spec: DatasetSpec, trust_remote_code: bool) -> Parts:
    preset = PRESETS[spec.path]
    split = {"train": preset.train_split, "test": preset.test_split} | (spec.split or {})
    filled = spec.model_copy(
        update={
            "path": preset.hub,
            "split": split,
            "config": spec.config or preset.config,
            "name": spec.name or spec.path,
        }
    )
    parts = _hub(filled, trust_remote_code, revision=preset.revision, label=None if spec.label else preset.label)
    if not spec.label:
        parts = _named(parts, preset, spec.path)
    # Whoever names columns reads the set as it is, without the preset's composing.
    if spec.text or spec.label or spec.target or spec.choices or spec.messages:
        return parts
    made = {part: preset_columns(table, preset, parts.place(part)) for part, table in parts.tables.items()}
    columns = next(columns for _, columns in made.values())
    task = preset.task if spec.task == "auto" else spec.task
    metric = spec.metric or (preset.metric if task == preset.task else None)
    return replace(
        parts, tables={part: table for part, (table, _) in made.items()},
        spec=parts.spec.model_copy(update={**columns, "task": task, "metric": metric}),
    )  # fmt: skip


def _named(parts: Parts, preset: Preset, name: str) -> Parts:
    """Name a preset's labels: as the set on the hub does, whose order is the right one, or else as the preset does."""
    ours, hub = preset.label_names, parts.label_names
    # Numbers in place of names on the hub say nothing; ours do.
    if not ours or hub is None or hub == tuple(map(str, range(len(ours)))):
        return replace(parts, label_names=ours or None)
    if hub == ours:
        return parts
    note = f"the hub names the labels {', '.join(hub)}, where the preset '{name}' has {', '.join(ours)}: the hub's are taken"
    return replace(parts, notes=(*parts.notes, note))


def _hub(spec: DatasetSpec, trust_remote_code: bool, *, revision: str | None = None, label: str | None = None) -> Parts:
    """Read a set from the hub; `label` is the column whose classes' names are asked for."""
    import datasets

    datasets.utils.logging.set_verbosity_error()

    # Its lines about each retry would stand between the progress lines; the error says it once.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    given: Mapping[str, str] = {str(part): name for part, name in (spec.split or {"test": "test"}).items()}
    splits = {"train": "train", **given}
    try:
        with cached_only():
            loaded = _loaded(spec, splits, revision)
    except Exception as error:  # datasets raises a dozen kinds, all of which mean that the data could not be had
        raise UsageError(_not_had(spec, error)) from None
    label = label or spec.label or find_label(loaded["train"].column_names)
    feature = loaded["train"].features.get(label) if label else None
    # Words with tags have a list's feature, whose inner one has the names.
    names = getattr(getattr(feature, "feature", feature), "names", None)
    tables = {part: data.with_format("arrow")[:] for part, data in loaded.items()}
    return Parts(tables, spec.path, spec, tuple(names) if names else None)


def _loaded(spec: DatasetSpec, splits: Mapping[str, str], revision: str | None) -> dict[str, Any]:
    """Return each split, by the hub's own conversion where the set is kept as a script."""
    import datasets

    # In the conversion a config is a folder, of which `datasets` knows no name.
    if revision == PARQUET:
        chosen = {"revision": PARQUET} | ({} if spec.config is None else {"data_dir": spec.config})
        return {part: datasets.load_dataset(spec.path, split=name, **chosen) for part, name in splits.items()}
    try:
        return {part: datasets.load_dataset(spec.path, spec.config, split=name) for part, name in splits.items()}
    except RuntimeError as error:
        # Any other error is not answered by looking elsewhere.
        if "scripts are no longer supported" not in str(error):
            raise
    return _loaded(spec, splits, PARQUET)


def _not_had(spec: DatasetSpec, error: Exception) -> str:
    """Say in one sentence why the hub did not give a data set, and what to do."""
    # One line, as the libraries' messages have whole pages.
    first = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    if "nknown split" in first or "onfig name" in first:
        return f"{spec.path} on the hub: {first} (say which with split: or config:)"
    if spec.name in PRESETS:
        start, known = f"The preset '{spec.name}' is read from the hub ({spec.path})", ""
    else:
        start = f"'{spec.path}' is no packaged data set, preset, file or folder"
        known = nearest(spec.path, [*PACKAGED, *PACKAGED_IMAGES, *PRESETS])
    if isinstance(error, ConnectionError):
        return f"{start}, and the hub cannot be reached from here (offline); give a local file or folder{known}"
    return f"{start}, and could not be had from the hub ({first}){known}"
