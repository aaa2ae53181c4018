"""Where rows come from: packaged sets, files, folders and the hub; checked, and with everything dropped counted."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.compute as compute

from afina.config import DatasetSpec
from afina.data.files import SUFFIXES, label_names_of, read_table
from afina.data.presets import PACKAGED, PRESETS
from afina.errors import UsageError, nearest

__all__ = ["Rows", "TextDataset", "load_text_dataset", "read_texts", "stratified_rows"]

_TEXT = ("text", "sentence", "content", "review", "body", "message", "premise", "sentence1", "question1", "question")
_PAIRS = {"premise": "hypothesis", "sentence1": "sentence2", "question1": "question2", "text": "text_pair"}
_LABEL = ("label", "labels", "class", "category", "target", "score", "stars", "sentiment")
_MOST_CLASSES = 200


@dataclass(frozen=True)
class Rows:
    """Parallel columns: texts, second texts or None, and labels (int64 class indices, or float64)."""

    text: list[str]
    text_pair: list[str] | None
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.text)

    def take(self, rows: np.ndarray) -> "Rows":
        pair = None if self.text_pair is None else [self.text_pair[row] for row in rows]
        return Rows([self.text[row] for row in rows], pair, self.label[rows])


@dataclass(frozen=True)
class TextDataset:
    """A data set ready to learn from."""

    name: str
    task: str
    label_names: tuple[str, ...] | None
    train: Rows
    test: Rows
    validation: Rows | None
    notes: tuple[str, ...]
    """What was dropped or noticed, one sentence each."""
    digest: str
    """SHA-256 over the texts and labels that are used."""


@dataclass(frozen=True)
class _Parts:
    """Tables by split, the place to name in errors, and what is known of columns and labels."""

    tables: Mapping[str, arrow.Table]
    where: str
    spec: DatasetSpec
    label_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


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
    parts = _single_split(_find(spec, trust_remote_code))
    columns = _columns(parts)
    notes = list(parts.notes)
    kept = {name: _drop(table, columns, name, parts.where, notes) for name, table in parts.tables.items()}
    chosen = _choose_task(kept["train"], columns["label"], task, parts)
    if chosen == "regression":
        names, labels = None, {name: _numbers(t, columns["label"], parts.where, name) for name, t in kept.items()}
    else:
        names, labels = _classes(kept, columns["label"], parts, notes)
    splits = {name: _rows(table, columns, labels[name]) for name, table in kept.items()}
    if names is not None:
        splits = {name: _drop_unlabelled(rows, name, notes) for name, rows in splits.items()}
        names, splits = _check_classes(names, splits, parts.where)
    splits["train"] = _limit(splits["train"], train_limit, names, "train_limit")
    splits["test"] = _limit(splits["test"], test_limit, names, "test_limit")
    if overlap := len(set(_keys(splits["train"])) & set(_keys(splits["test"]))):
        notes.append(f"{overlap:,} texts stand in both train and test")
    return TextDataset(
        name=spec.label_name, task=chosen, label_names=names, train=splits["train"], test=splits["test"],
        validation=splits.get("validation"), notes=tuple(notes), digest=_digest(splits),
    )  # fmt: skip


def read_texts(path: Path, text: str | None = None, text_pair: str | None = None) -> list[tuple[str, str | None]]:
    """Read texts (and second texts) to predict for: a table with a text column, or any other file line by line."""
    if path.suffix.lower() not in SUFFIXES:
        if not path.is_file():
            raise UsageError(f"{path} does not exist.")
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise UsageError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8.") from None
        return [(line, None) for line in lines if line.strip()]
    table = read_table(path)
    columns = _columns(_Parts({"train": table}, str(path), DatasetSpec(path=str(path), text=text, text_pair=text_pair)), False)
    first = _strings(table, columns["text"])
    second: list[Any] = _strings(table, columns["text_pair"]) if "text_pair" in columns else [None] * len(first)
    return list(zip(first, second, strict=True))


# -- finding the tables ----------------------------------------------------------------------------------------------


def _find(spec: DatasetSpec, trust_remote_code: bool) -> _Parts:
    name, path = spec.path, Path(spec.path)
    if name in PACKAGED:
        return _packaged(spec)
    if name in PRESETS:
        return _preset(spec, trust_remote_code)
    if path.is_dir():
        return _folder(spec, path)
    if path.suffix.lower() in SUFFIXES or path.is_file():
        table = read_table(path)
        return _Parts({"train": table}, str(path), spec)
    if name.startswith((".", "/")) or name.count("/") > 1:
        raise UsageError(f"{name} does not exist.")
    return _hub(spec, trust_remote_code)


def _packaged(spec: DatasetSpec) -> _Parts:
    with resources.as_file(resources.files("afina.data") / f"{spec.path}.jsonl") as file:
        table = read_table(file)
    part = {s: table.filter(compute.equal(table["split"], s)) for s in ("train", "test")}
    return _Parts(part, spec.path, _fill(spec, text="text", label="label"))


def _fill(spec: DatasetSpec, **values: Any) -> DatasetSpec:
    """Fill in keys of a spec that the person left out."""
    own = spec.model_dump()
    return DatasetSpec(**{**own, **{key: value for key, value in values.items() if own[key] is None}})


def _folder(spec: DatasetSpec, path: Path) -> _Parts:
    wanted = {"train": ("train",), "test": ("test",), "validation": ("validation", "valid", "dev")}
    tables: dict[str, arrow.Table] = {}
    for part, stems in wanted.items():
        if spec.split and part in spec.split:
            tables[part] = read_table(path / spec.split[part])
            continue
        files = [path / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES if (path / f"{stem}{suffix}").is_file()]
        if len(files) > 1:
            raise UsageError(f"{path} has both {files[0].name} and {files[1].name}; say which with split:.")
        if files:
            tables[part] = read_table(files[0])
    for part in ("train", "test"):
        if part not in tables:
            raise UsageError(f"{path} has no {part}.* ({', '.join(SUFFIXES)}); a folder needs a train and a test file.")
    return _Parts(tables, str(path), spec)


def _preset(spec: DatasetSpec, trust_remote_code: bool) -> _Parts:
    preset = PRESETS[spec.path]
    filled = _fill(
        spec, text=preset.text, text_pair=preset.text_pair, label=preset.label, config=preset.config,
        split={"train": "train", "test": preset.test_split}, name=spec.path,
    ).model_copy(update={"path": preset.hub})  # fmt: skip
    return replace(_hub(filled, trust_remote_code), label_names=preset.label_names)


def _hub(spec: DatasetSpec, trust_remote_code: bool) -> _Parts:
    import datasets

    datasets.utils.logging.set_verbosity_error()
    splits = spec.split or {"train": "train", "test": "test"}
    try:
        found = {part: datasets.load_dataset(spec.path, spec.config, split=name) for part, name in splits.items()}
    except Exception as error:  # datasets raises a dozen kinds, all of which mean that the data could not be had
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        known = nearest(spec.path, [*PACKAGED, *PRESETS])
        raise UsageError(
            f"The data set '{spec.name or spec.path}' is neither a packaged name, a file nor a folder, and could not be had from "
            f"the hub ({first[:120]}){known}"
        ) from None
    label = spec.label or next((name for name in _LABEL if name in found["train"].column_names), None)
    names = getattr(found["train"].features.get(label), "names", None) if label else None
    tables = {part: data.with_format("arrow")[:] for part, data in found.items()}
    return _Parts(tables, spec.path, spec, tuple(names) if names else None)


def _single_split(parts: _Parts) -> _Parts:
    """Divide a single table 80/20, stratified, always the same way."""
    if "test" in parts.tables:
        return parts
    table = parts.tables["train"]
    if table.num_rows < 5:
        raise UsageError(f"{parts.where} has {table.num_rows} rows; at least 5 are needed to keep some for the test.")
    column = _columns(parts)["label"]
    labels = np.array([str(value) for value in table[column].to_pylist()])
    order = _stratified(labels if len(set(labels)) <= _MOST_CLASSES else np.zeros(len(labels)), seed=0)
    test = np.sort(order[: max(1, round(0.2 * len(order)))])
    train = np.setdiff1d(np.arange(len(order)), test)
    note = f"{parts.where} is one file: {len(train):,} rows to train on, {len(test):,} to test on (80/20, always the same)"
    tables = {"train": table.take(train), "test": table.take(test)}
    return replace(parts, tables=tables, notes=(*parts.notes, note))


# -- columns and rows ------------------------------------------------------------------------------------------------


def _columns(parts: _Parts, with_label: bool = True) -> dict[str, str]:
    table, spec = parts.tables["train"], parts.spec
    names = table.column_names
    found = {
        "text": spec.text or next((name for name in _TEXT if name in names), None),
        "label": spec.label or next((name for name in _LABEL if name in names), None),
    }
    found["text_pair"] = spec.text_pair or (_PAIRS.get(found["text"] or "") if spec.text is None else None)
    if spec.text_pair is None and found["text_pair"] not in names:
        found["text_pair"] = None
    if not with_label:
        del found["label"]
    for key in ("text", "label")[: 1 + with_label]:
        if found[key] is None:
            raise UsageError(f"{parts.where} has no column that looks like a {key}; say which with {key}: ({', '.join(names)}).")
    for split, part in parts.tables.items():
        for key, name in found.items():
            if name is not None and name not in part.column_names:
                raise UsageError(
                    f"{parts.where} ({split}) has no column '{name}' for {key}{nearest(name, part.column_names)}"
                )
    return {key: name for key, name in found.items() if name is not None}


def _strings(table: arrow.Table, column: str) -> list[str]:
    return [str(value) if value is not None else "" for value in table[column].to_pylist()]


def _drop(table: arrow.Table, columns: Mapping[str, str], split: str, where: str, notes: list[str]) -> arrow.Table:
    """Leave out rows without a text or a label, and say how many."""
    texts = np.array([bool(text.strip()) for text in _strings(table, columns["text"])], dtype=bool)
    if "text_pair" in columns:
        texts &= np.array([bool(text.strip()) for text in _strings(table, columns["text_pair"])], dtype=bool)
    if not texts.any():
        raise UsageError(f"{where} ({split}): every text in column '{columns['text']}' is empty.")
    labelled = ~np.asarray(table[columns["label"]].is_null())
    if not labelled.any():
        raise UsageError(f"{where} ({split}): every label in column '{columns['label']}' is missing.")
    for bad, what in ((~texts, "an empty text"), (~labelled, "no label")):
        if bad.any():
            notes.append(f"{int(bad.sum()):,} {split} rows with {what} were left out")
    return table.filter(arrow.array(texts & labelled))


def _choose_task(train: arrow.Table, column: str, task: str, parts: _Parts) -> str:
    asked = parts.spec.task if parts.spec.task != "auto" else task
    kind = train[column].type
    if asked == "regression":
        return asked
    if asked == "auto" and arrow.types.is_floating(kind) and parts.label_names is None:
        values = np.asarray(train[column], dtype=np.float64)
        if (values != np.round(values)).any():
            return "regression"
    distinct = len(compute.unique(train[column]))
    if distinct > _MOST_CLASSES or (distinct == train.num_rows and distinct > 2):
        raise UsageError(
            f"{parts.where}: column '{column}' has {distinct:,} different labels in {train.num_rows:,} rows; "
            "name another label: column, or set task: regression if they are quantities."
        )
    return "classification"


def _numbers(table: arrow.Table, column: str, where: str, split: str) -> np.ndarray:
    values = table[column].to_pylist()
    result = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            result[row] = float(value)
        except (TypeError, ValueError):
            result[row] = np.nan
        if not np.isfinite(result[row]):
            raise UsageError(f"{where} ({split}), row {row + 1}: the label {value!r} is not a number, as regression needs.")
    return result


def _classes(
    tables: Mapping[str, arrow.Table], column: str, parts: _Parts, notes: list[str]
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Return label names and class indices; -1 stands for rows that their source left without a label."""
    names = parts.label_names or label_names_of(tables["train"], column)
    values = {split: table[column].to_pylist() for split, table in tables.items()}
    if names is not None and all(isinstance(value, int) for part in values.values() for value in part):
        return names, {split: np.array(part, dtype=np.int64) for split, part in values.items()}
    every = {value for part in values.values() for value in part}
    numeric = all(isinstance(value, (int, float)) for value in every)
    if numeric:
        order = sorted(value for value in every if value != -1)
    else:
        order = list(names) if names and {str(v) for v in every} <= set(names) else sorted(every, key=str)
    index = {value: place for place, value in enumerate(order)} | ({-1: -1} if numeric else {})
    shown = tuple(str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in order)
    return shown, {split: np.array([index[v] for v in part], dtype=np.int64) for split, part in values.items()}


def _rows(table: arrow.Table, columns: Mapping[str, str], labels: np.ndarray) -> Rows:
    pair = _strings(table, columns["text_pair"]) if "text_pair" in columns else None
    return Rows(_strings(table, columns["text"]), pair, labels)


def _drop_unlabelled(rows: Rows, split: str, notes: list[str]) -> Rows:
    unlabelled = rows.label < 0
    if unlabelled.any():
        notes.append(f"{int(unlabelled.sum()):,} {split} rows with the label -1 (no agreed label) were left out")
        return rows.take(np.flatnonzero(~unlabelled))
    return rows


def _check_classes(
    names: tuple[str, ...], splits: dict[str, Rows], where: str
) -> tuple[tuple[str, ...], dict[str, Rows]]:
    present = np.unique(splits["train"].label)
    if len(present) < 2:
        raise UsageError(f"{where}: train has only one class ('{names[int(present[0])]}'); at least two are needed.")
    unseen = [label for label in np.unique(splits["test"].label) if label not in present]
    if unseen:
        count = int(np.isin(splits["test"].label, unseen).sum())
        listed = ", ".join(f"'{names[int(label)]}'" for label in unseen[:5])
        raise UsageError(f"{where}: the label {listed} stands in {count:,} test rows and in no train row.")
    return names, splits


# -- limits and digests ----------------------------------------------------------------------------------------------


def _stratified(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return an order of the rows any first part of which holds the classes in their proportions."""
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = np.empty(len(order))
    for label in np.unique(labels):
        places = np.flatnonzero(labels[order] == label)
        rank[places] = (np.arange(len(places)) + 0.5) / len(places)
    return order[np.argsort(rank, kind="stable")]


def stratified_rows(labels: np.ndarray, limit: int, *, classes: bool) -> np.ndarray:
    """Return `limit` row numbers in ascending order, every class in its proportion; always the same ones."""
    return np.sort(_stratified(labels if classes else np.zeros(len(labels)), seed=0)[:limit])


def _limit(rows: Rows, limit: int | None, names: tuple[str, ...] | None, key: str) -> Rows:
    if limit is None or limit >= len(rows):
        return rows
    classes = len(np.unique(rows.label)) if names is not None else 1
    if limit < classes:
        raise UsageError(f"{key}: {limit} rows cannot hold all {classes} classes; set at least {classes}.")
    chosen = rows.take(stratified_rows(rows.label, limit, classes=names is not None))
    if names is not None and key == "train_limit" and len(np.unique(chosen.label)) < classes:
        raise UsageError(f"{key}: {limit} rows in proportion leave out a rare class; set it higher.")
    return chosen


def _keys(rows: Rows) -> list[tuple[str, str]]:
    return list(zip(rows.text, rows.text_pair or [""] * len(rows), strict=True))


def _digest(splits: Mapping[str, Rows]) -> str:
    digest = hashlib.sha256()
    for name, rows in sorted(splits.items()):
        digest.update(f"{name} {len(rows)}\0".encode())
        for text, pair in _keys(rows):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0" + pair.encode("utf-8", "surrogatepass") + b"\0")
        digest.update(np.ascontiguousarray(rows.label).tobytes())
    return digest.hexdigest()
