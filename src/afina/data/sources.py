"""Where rows come from: packaged sets, files, folders and the hub; checked, and with everything dropped counted."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.compute as compute

from afina.config import DatasetSpec
from afina.data.answers import answers_of, find_answers, right_answers
from afina.data.columns import ROW, find_columns, find_label, numbered, texts
from afina.data.files import SUFFIXES, is_table, label_names_of, read_table, read_text, say
from afina.data.images import PACKAGED_IMAGES, is_images, load_images
from afina.data.labels import check_classes, choose_task, classes, numbers, typed
from afina.data.presets import PACKAGED, PRESETS
from afina.data.rows import Rows, TextDataset, finished, stratified, stratified_rows
from afina.data.tags import find_tagged, is_tagged, read_tagged
from afina.data.written import READERS, read_written
from afina.errors import UsageError, nearest

__all__ = ["Rows", "TextDataset", "load_text_dataset", "read_answers", "read_texts", "stratified_rows"]

_MOST_STRATA = 200
"""Different labels up to which a single file is divided by label; more are quantities."""


@dataclass(frozen=True)
class _Parts:
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


def load_text_dataset(
    spec: DatasetSpec,
    *,
    task: str = "auto",
    train_limit: int | None = None,
    test_limit: int | None = None,
    trust_remote_code: bool = False,
) -> TextDataset:
    """Read, check and limit a data set.

    Limits are stratified by label and the same for every run. Raises `UsageError` in one sentence for what is wrong.
    """
    if is_images(spec):
        return load_images(spec, train_limit=train_limit, test_limit=test_limit)
    parts = _find(spec, trust_remote_code)
    parts = replace(parts, tables={name: numbered(table) for name, table in parts.tables.items()})
    asked = spec.task if spec.task != "auto" else task
    if asked in READERS:
        return read_written(
            parts.tables, parts.place, parts.spec, asked, parts.where, list(parts.notes), train_limit, test_limit
        )
    if asked == "tagging" or (asked == "auto" and is_tagged(parts.tables)):
        return _load_tagged(spec, parts, train_limit, test_limit)
    column = find_columns(parts.tables, parts.spec, parts.where)["label"]
    parts = _single_split(replace(parts, tables=typed(parts.tables, column, parts.where)), column)
    columns = find_columns(parts.tables, parts.spec, parts.where)
    if asked == "choices" and (own := find_answers(parts.tables, parts.spec, parts.where)) is not None:
        columns["choices"] = own
    notes = list(parts.notes)
    kept, first, second = _drop(parts, columns, notes)
    given = parts.label_names or label_names_of(parts.tables["train"], column)
    chosen = choose_task(kept, column, asked, parts.where, given)
    names = None
    answers: dict[str, list[list[str]]] = {}
    if "choices" in columns:
        answers = {name: answers_of(table, columns["choices"], parts.place(name)) for name, table in kept.items()}
        labels = {n: right_answers(table, column, answers[n], parts.place(n)) for n, table in kept.items()}
    elif chosen == "regression":
        labels = {name: numbers(table, column, parts.place(name)) for name, table in kept.items()}
        if (labels["train"] == labels["train"][0]).all():
            raise UsageError(f"{parts.where}: every train label is {labels['train'][0]:g}; there is nothing to learn.")
    else:
        names, labels = classes(kept, column, parts.where, given, notes)
    splits = {name: Rows(first[name], second.get(name), labels[name], choices=answers.get(name)) for name in kept}
    if names is not None:
        splits = {name: _drop_unlabelled(rows, name, notes) for name, rows in splits.items()}
        check_classes(names, {name: rows.label for name, rows in splits.items()}, parts.where)
        if chosen == "choices" and spec.answers is not None:
            if len(spec.answers) != len(names):
                raise UsageError(
                    f"answers: there are {len(spec.answers)} for {len(names)} labels ({', '.join(names)})."
                )
            names = tuple(spec.answers)
    return finished(spec, chosen, names, splits, notes, train_limit, test_limit)


def _load_tagged(spec: DatasetSpec, parts: _Parts, train_limit: int | None, test_limit: int | None) -> TextDataset:
    columns = find_tagged(parts.tables, parts.spec, parts.where)
    parts = _single_split(parts, columns[1])
    notes = list(parts.notes)
    places = {split: parts.place(split) for split in parts.tables}
    names, splits = read_tagged(parts.tables, columns, places, notes)
    return finished(spec, "tagging", names, splits, notes, train_limit, test_limit)


def read_texts(path: Path, text: str | None = None, text_pair: str | None = None) -> list[tuple[str, str | None]]:
    """Read texts (and second texts) to predict for: a table with a text column, or any other file line by line.

    There is one for each row of a table, and for each line, however empty.
    """
    if not is_table(path):
        if not path.is_file():
            raise UsageError(f"{path} does not exist.")
        notes: list[str] = []
        # Only line feeds end a line: splitlines() would also break a text at U+2028 and its like.
        lines = read_text(path, notes).replace("\r\n", "\n").removesuffix("\n").split("\n")
        say(path, notes, None)
        return [(line, None) for line in lines]
    table = read_table(path)
    spec = DatasetSpec(path=str(path), text=text, text_pair=text_pair)
    columns = find_columns({"train": table}, spec, str(path), with_label=False)
    first = texts(table, columns["text"], str(path))
    pair = columns.get("text_pair")
    second: list[Any] = texts(table, pair, str(path)) if pair else [None] * len(first)
    return list(zip(first, second, strict=True))


def read_answers(path: Path) -> list[list[str]] | None:
    """Read the answers of each row of a table to predict for; None where it has no column of them."""
    if not is_table(path):
        return None
    tables = {"train": read_table(path)}
    column = find_answers(tables, DatasetSpec(path=str(path)), str(path))
    return None if column is None else answers_of(tables["train"], column, str(path))


# -- finding the tables ----------------------------------------------------------------------------------------------


def _find(spec: DatasetSpec, trust_remote_code: bool) -> _Parts:
    name, path = spec.path, Path(spec.path)
    if name in PACKAGED or name in PRESETS:
        parts = _packaged(spec) if name in PACKAGED else _preset(spec, trust_remote_code)
        if path.exists():
            note = f"'{name}' is the data set known by that name; to read what is called so here, write ./{name}"
            return replace(parts, notes=(*parts.notes, note))
        return parts
    if path.is_dir():
        return _folder(spec, path)
    if is_table(path) or path.is_file():
        _refuse_split(spec)
        notes: list[str] = []
        table = read_table(path, notes)
        files = {"train": str(path), "test": str(path)}
        return _Parts({"train": table}, str(path), spec, notes=tuple(notes), files=files)
    if name.startswith((".", "/")) or name.count("/") > 1:
        raise UsageError(f"{name} does not exist.")
    return _hub(spec, trust_remote_code)


def _refuse_split(spec: DatasetSpec) -> None:
    if spec.split is not None:
        raise UsageError(
            f"split: names the files of a folder or the splits of a hub data set, and {spec.path} is neither."
        )


def _packaged(spec: DatasetSpec) -> _Parts:
    _refuse_split(spec)
    with resources.as_file(resources.files("afina.data") / f"{spec.path}.jsonl") as file:
        table = read_table(file)
    part = {split: table.filter(compute.equal(table["split"], split)) for split in ("train", "test")}
    return _Parts(part, spec.path, _fill(spec, **{key: key for key in ("text", "label") if key in table.column_names}))


def _fill(spec: DatasetSpec, **values: Any) -> DatasetSpec:
    """Fill in keys of a spec that the person left out."""
    own = spec.model_dump()
    return DatasetSpec(**{**own, **{key: value for key, value in values.items() if own[key] is None}})


def _folder(spec: DatasetSpec, path: Path) -> _Parts:
    wanted = {"train": ("train",), "test": ("test",), "validation": ("validation", "valid", "dev")}
    split: Mapping[str, str] = {str(part): file for part, file in (spec.split or {}).items()}
    chosen: dict[str, Path] = {}
    for part, stems in wanted.items():
        if part in split:
            chosen[part] = path / split[part]
            continue
        files = [
            path / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES if (path / f"{stem}{suffix}").is_file()
        ]
        if len(files) > 1:
            raise UsageError(f"{path} has both {files[0].name} and {files[1].name}; say which with split:.")
        if files:
            chosen[part] = files[0]
    for part in ("train", "test"):
        if part not in chosen:
            raise UsageError(f"{path} has no {part}.* ({', '.join(SUFFIXES)}); a folder needs a train and a test file.")
    notes: list[str] = []
    tables = {part: read_table(file, notes) for part, file in chosen.items()}
    return _Parts(tables, str(path), spec, notes=tuple(notes), files={part: str(file) for part, file in chosen.items()})


def _preset(spec: DatasetSpec, trust_remote_code: bool) -> _Parts:
    preset = PRESETS[spec.path]
    filled = _fill(
        spec,
        text=preset.text,
        text_pair=preset.text_pair,
        label=preset.label,
        config=preset.config,
        name=spec.path,
    )
    split = {"train": "train", "test": preset.test_split} | (spec.split or {})
    filled = filled.model_copy(update={"path": preset.hub, "split": split})
    return replace(_hub(filled, trust_remote_code), label_names=preset.label_names)


def _hub(spec: DatasetSpec, trust_remote_code: bool) -> _Parts:
    import datasets

    datasets.utils.logging.set_verbosity_error()
    # Its lines about each retry would stand between the progress lines; the error says it once.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    given: Mapping[str, str] = {str(part): name for part, name in (spec.split or {"test": "test"}).items()}
    splits = {"train": "train", **given}
    try:
        found = {part: datasets.load_dataset(spec.path, spec.config, split=name) for part, name in splits.items()}
    except Exception as error:  # datasets raises a dozen kinds, all of which mean that the data could not be had
        raise UsageError(_not_had(spec, error)) from None
    label = spec.label or find_label(found["train"].column_names)
    names = getattr(found["train"].features.get(label), "names", None) if label else None
    tables = {part: data.with_format("arrow")[:] for part, data in found.items()}
    return _Parts(tables, spec.path, spec, tuple(names) if names else None)


def _not_had(spec: DatasetSpec, error: Exception) -> str:
    """Say in one sentence why the hub did not give a data set, and what to do."""
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


def _single_split(parts: _Parts, column: str) -> _Parts:
    """Divide a single table 80/20, stratified, always the same way."""
    if "test" in parts.tables:
        return parts
    table = parts.tables["train"]
    if table.num_rows < 5:
        raise UsageError(f"{parts.where} has {table.num_rows} rows; at least 5 are needed to keep some for the test.")
    labels = np.array([str(value) for value in table[column].to_pylist()])
    order = stratified(labels if len(set(labels)) <= _MOST_STRATA else np.zeros(len(labels)), seed=0)
    test = np.sort(order[: max(1, round(0.2 * len(order)))])
    train = np.setdiff1d(np.arange(len(order)), test)
    counts = f"{len(train):,} rows to train on, {len(test):,} to test on"
    note = f"{parts.where} has no test part: {counts} (80/20, always the same)"
    tables = {**parts.tables, "train": table.take(train), "test": table.take(test)}
    return replace(parts, tables=tables, notes=(*parts.notes, note))


# -- rows ------------------------------------------------------------------------------------------------------------


def _drop(
    parts: _Parts, columns: Mapping[str, str], notes: list[str]
) -> tuple[dict[str, arrow.Table], dict[str, list[str]], dict[str, list[str]]]:
    """Leave out rows without a text or a label, and note how many; return labels, texts and second texts by split."""
    kept: dict[str, arrow.Table] = {}
    both: dict[str, dict[str, list[str]]] = {"text": {}, "text_pair": {}}
    for split, table in parts.tables.items():
        own = {key: texts(table, columns[key], parts.place(split)) for key in both if key in columns}
        filled = {key: np.array([bool(text.strip()) for text in column], dtype=bool) for key, column in own.items()}
        for key, there in filled.items():
            if not there.any():
                raise UsageError(f"{parts.where} ({split}): every text in column '{columns[key]}' is empty.")
        full = np.logical_and.reduce(list(filled.values()))
        labelled = np.asarray(table[columns["label"]].is_valid())
        if not labelled.any():
            raise UsageError(f"{parts.where} ({split}): every label in column '{columns['label']}' is missing.")
        if not (full & labelled).any():
            raise UsageError(f"{parts.where} ({split}): no row has both a text and a label.")
        for bad, what in ((~full, "an empty text"), (~labelled, "no label")):
            if bad.any():
                count = int(bad.sum())
                notes.append(f"{count:,} {split} {'row' if count == 1 else 'rows'} with {what} left out")
        keep = np.flatnonzero(full & labelled)
        kept[split] = table.select([columns[key] for key in ("label", "choices") if key in columns] + [ROW]).take(keep)
        for key, column in own.items():
            both[key][split] = column if len(keep) == len(column) else [column[row] for row in keep]
    return kept, both["text"], both["text_pair"]


def _drop_unlabelled(rows: Rows, split: str, notes: list[str]) -> Rows:
    unlabelled = rows.label < 0
    if unlabelled.any():
        notes.append(f"{int(unlabelled.sum()):,} {split} rows with the label -1 (no agreed label) left out")
        return rows.take(np.flatnonzero(~unlabelled))
    return rows
