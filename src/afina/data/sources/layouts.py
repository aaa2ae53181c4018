"""Folders of tables: train and test files and their shards, as people, the hub and `datasets` lay them out."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as arrow

from afina.data.files.compression import COMPRESSED, format_of
from afina.data.files.tables import FILES, check_file, read_table, same_label_names
from afina.dataset_spec import DatasetSpec
from afina.errors import AfinaError, UsageError
from afina.json_files import read_json_object

__all__ = ["part_named", "parts_of"]

_STEMS = {
    "train": ("train", "training", "treino"),
    "test": ("test", "testing", "teste"),
    "validation": ("validation", "valid", "val", "dev", "development", "eval", "validacao"),
}
"""Names of files, by the part of the data that they hold."""
_SHARD = r"(?:[-_.]?\d+(?:-of-\d+)?(?:-[0-9a-f]+)?)?"
_KNOWN = (
    "train.csv and test.csv (or .tsv, .jsonl, .json, .parquet, .txt), train-00000-of-00001.parquet, the same in data/ or a \
folder for each part, or what save_to_disk writes"
)


def part_named(name: str) -> str | None:
    """Return the part that a name usually stands for: `train`, `test` or `validation`."""
    return next((part for part, stems in _STEMS.items() if name.lower() in stems), None)


def _declared(path: Path, config: str | None) -> dict[str, list[Path]]:
    """Return the parts that a hub folder's README.md declares, as `datasets` reads them; none where it declares none."""
    import yaml

    try:
        text = (path / "README.md").read_text(encoding="utf-8")
        front = yaml.safe_load(text.split("---")[1]) if text.startswith("---") else None
    # Nothing declared that can be read: the files' own names are looked at then.
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return {}
    configs = front.get("configs") if isinstance(front, dict) else None
    named = {str(own.get("config_name", "default")): own for own in configs or () if isinstance(own, dict)}
    if not named:
        return {}

    # Several configurations and none named `default`: which is meant is asked, not guessed.
    chosen = config or ("default" if "default" in named else next(iter(named)) if len(named) == 1 else None)
    if chosen not in named:
        raise UsageError(f"{path} has {len(named)} configurations ({', '.join(named)}); say which with config:.")
    files = named[chosen].get("data_files")
    entries = [{"split": "train", "path": files}] if isinstance(files, str) else files
    parts: dict[str, list[Path]] = {}
    for entry in entries if isinstance(entries, list) else ():
        part = part_named(str(entry.get("split"))) if isinstance(entry, dict) else None
        patterns = entry.get("path") if isinstance(entry, dict) else None
        globs = [patterns] if isinstance(patterns, str) else patterns if isinstance(patterns, list) else []
        matching = sorted({file for glob in globs for file in _matching(path, glob)})
        if part is not None and matching:
            parts[part] = matching
    return parts


def _matching(path: Path, pattern: Any) -> list[Path]:
    """Return a folder's files of a pattern; none of a pattern that leads out of it."""
    # A stranger's README could name any file of the machine.
    if not isinstance(pattern, str) or not pattern or pattern.startswith("/") or ".." in pattern.split("/"):
        return []
    return [file for file in path.glob(pattern) if file.is_file()]


def parts_of(path: Path, spec: DatasetSpec, notes: list[str]) -> dict[str, tuple[arrow.Table, str]]:
    """Return the parts of a folder, each with what to call it; raises `UsageError` that says which layouts are known.

    A folder without a test part is tested on its validation part; with train alone, a part of that is kept.
    """
    path = _snapshot(path)
    if spec.split is None and (saved := _saved(path)):
        return {part: (_read_saved(folder), str(folder)) for part, folder in saved.items()}
    chosen = _files(path, spec)
    if "train" not in chosen:
        raise UsageError(f"{path} has no train part{_holds(path)}; known are {_KNOWN}.")
    if "test" not in chosen and "validation" in chosen:
        notes.append(f"{path} has no test part: tested on its validation part")
        chosen["test"] = chosen.pop("validation")
    return {part: (_read(files, spec, notes), _called(files)) for part, files in chosen.items()}


def _called(files: list[Path]) -> str:
    return str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"


def _holds(path: Path) -> str:
    """Say what is there instead, where that helps."""
    tables = sorted(file.name for file in path.iterdir() if file.is_file() and format_of(file) in FILES)
    if not tables:
        return ""
    listed = ", ".join(tables[:5]) + (", ..." if len(tables) > 5 else "")
    return f" (it holds {listed}: give one of them by its path, or say which is which with split:)"


def _snapshot(path: Path) -> Path:
    """Return the one snapshot in a folder of the hub's cache, or the folder itself."""
    folders = [folder for folder in (path / "snapshots").glob("*") if folder.is_dir()] if path.is_dir() else []
    if len(folders) > 1:
        raise UsageError(
            f"{path} holds {len(folders)} snapshots ({folders[0].name[:8]}, ...); give the folder of one of them."
        )
    return folders[0] if folders else path


# -- files -----------------------------------------------------------------------------------------------------------


def _files(path: Path, spec: DatasetSpec) -> dict[str, list[Path]]:
    split: Mapping[str, str] = {str(part): file for part, file in (spec.split or {}).items()}
    if not split and "train" in (declared := _declared(path, spec.config)):
        return declared
    chosen: dict[str, list[Path]] = {part: [path / file] for part, file in split.items()}
    for (file,) in chosen.values():
        check_file(file, FILES)
    for part, stems in _STEMS.items():
        if part in chosen:
            continue
        # As people lay folders out, as the hub converts them, and as its default configuration is called.
        for folder in (path, path / "data", path / "default"):
            if files := _of_part(folder, stems):
                chosen[part] = files
                break
    return chosen


def _of_part(folder: Path, stems: tuple[str, ...]) -> list[Path]:
    """Return a part's file or shards, in the folder or in one of its own that has the part's name."""
    if not folder.is_dir():
        return []
    tables = sorted(
        file
        for file in folder.iterdir()
        if file.is_file() and not file.name.startswith(".") and format_of(file) in FILES
    )
    for stem in stems:
        named = [file for file in tables if re.fullmatch(stem + _SHARD, _stem(file), re.IGNORECASE)]
        inside = folder / stem
        if not named and inside.is_dir():
            named = sorted(
                file for file in inside.iterdir() if file.is_file() and format_of(file) in FILES and file.name[0] != "."
            )
        if named:
            return _one_kind(named)
    return []


def _stem(file: Path) -> str:
    # Compressed tables have two endings.
    name = file.name[: -len(file.suffix)] if file.suffix.lower() in COMPRESSED else file.name
    suffix = next((suffix for suffix in FILES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def _one_kind(files: list[Path]) -> list[Path]:
    """Return shards; raises where a part is there twice, as one file and another, or where a shard is missing."""
    numbered = [re.search(r"(\d+)-of-(\d+)", file.name) for file in files]
    if len(files) > 1 and (
        len({format_of(file) for file in files}) > 1 or len({_stem(file) for file in files}) < len(files)
    ):
        raise UsageError(f"{files[0].parent} has both {files[0].name} and {files[1].name}; say which with split:.")
    if len(files) > 1 and any(not re.search(r"\d", _stem(file)) for file in files):
        raise UsageError(f"{files[0].parent} has both {files[0].name} and {files[1].name}; say which with split:.")
    # Shards say how many they are; fewer of them would be a part of the data, without a word.
    totals = {int(found[2]) for found in numbered if found}
    if len(totals) > 1 or (totals and max(totals) != len(files)):
        raise UsageError(
            f"{files[0].parent} has {len(files)} of the {max(totals)} shards of {files[0].name}; all of them are needed."
        )
    return files


def _read(files: list[Path], spec: DatasetSpec, notes: list[str]) -> arrow.Table:
    tables = [read_table(file, notes, separator=spec.separator, encoding=spec.encoding, lines=True) for file in files]
    return _together(tables, [str(file) for file in files])


def _together(tables: list[arrow.Table], names: list[str]) -> arrow.Table:
    for table, name in zip(tables[1:], names[1:], strict=True):
        if set(table.column_names) != set(tables[0].column_names):
            raise UsageError(
                f"{name} has the columns {', '.join(table.column_names)}, and {names[0]} has "
                f"{', '.join(tables[0].column_names)}."
            )
    for column in tables[0].column_names if len(tables) > 1 else ():
        # Shards whose labels have other names by the same numbers cannot be put together.
        same_label_names(dict(zip(names, tables, strict=True)), column, f"column '{column}'")
    try:
        return arrow.concat_tables(tables, promote_options="permissive") if len(tables) > 1 else tables[0]
    except arrow.ArrowException as error:
        raise UsageError(
            f"{names[0]} and its other shards do not fit together ({str(error).splitlines()[0]})."
        ) from None


# -- save_to_disk ----------------------------------------------------------------------------------------------------


def _saved(path: Path) -> dict[str, Path]:
    """Return the parts of what `save_to_disk` wrote: of a DatasetDict each in a folder, of a Dataset the folder itself."""
    if (path / "dataset_dict.json").is_file():
        stated = _json(path / "dataset_dict.json").get("splits")
        names = [name for name in stated if isinstance(name, str)] if isinstance(stated, list) else []
        return _by_part(path, names)
    if (path / "state.json").is_file() and (path / "dataset_info.json").is_file():
        return {"train": path}
    return {}


def _by_part(path: Path, names: list[str]) -> dict[str, Path]:
    by_part = {
        part: next((path / name for name in names if name.lower() in stems), None) for part, stems in _STEMS.items()
    }
    parts = {part: folder for part, folder in by_part.items() if folder is not None}
    if "train" not in parts:
        raise UsageError(f"{path} has no train part, but {', '.join(names) or 'none'}.")
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")
    return parts


def _json(path: Path) -> dict[str, object]:
    what_to_do = "save the data set again with save_to_disk"
    try:
        return read_json_object(path, what_to_do=what_to_do)
    except FileNotFoundError:
        raise UsageError(f"{path} is not there; {what_to_do}.") from None
    except AfinaError as error:
        raise UsageError(str(error)) from None


def _read_saved(folder: Path) -> arrow.Table:
    stated = _json(folder / "state.json").get("_data_files")
    names = [entry.get("filename") for entry in stated if isinstance(entry, dict)] if isinstance(stated, list) else []
    # Names alone: a path in a stranger's file may lead anywhere.
    files = [folder / name for name in names if isinstance(name, str) and Path(name).name == name]
    if not files or len(files) != len(names):
        raise UsageError(f"{folder / 'state.json'} names no data files; save the data set again with save_to_disk.")
    return _together([read_table(file) for file in files], [str(file) for file in files])
