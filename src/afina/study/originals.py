"""Recognise by their contents the models and data that a study was begun with: others of the same name are noticed.

A model's digests are those of the files that loading it reads. They, and which files of the data had been read, are kept with
size, times and inode in `cache/digests.json`, so that what has not been touched is not read again.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from afina.backbone.model_files import model_path
from afina.config import StudyConfig
from afina.errors import UsageError
from afina.results.study_file import Resolved
from afina.study.data import data_key, study_data
from afina.study.events import Observer, Unread
from afina.study.plan import Run
from afina.study.untouched import files_of, signature
from afina.whole_file import write_json

__all__ = ["Originals", "check_data", "model_digests", "refuse_other_data", "refuse_other_models"]

_PARTS = {
    "weights": ("*.safetensors", "*.gguf"),
    "tokenizer": (
        "tokenizer*", "vocab*", "merges.txt", "*.model", "special_tokens_map.json", "added_tokens.json", "chat_template*",
        "*.jinja", "*.tiktoken",
    ),
    "configuration": ("*.json", "*.py"),
}  # fmt: skip
"""Files of a model's folder, by the part that is named when they have changed; a file counts where its name first fits."""
_NO_PART = ("trainer_state.json", "all_results.json", "train_results.json", "eval_results.json", "*.index.json")
_SETTLED_SECONDS = 2.0
"""A file changed later than this before it was read may change again within the same tick of its clock."""


class Originals:
    """The digests of files that were read before, by path."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "cache" / "digests.json"
        self._known: dict[str, Any] = {}
        try:
            stored = json.loads(self._path.read_bytes())
        except (OSError, ValueError, RecursionError):
            stored = None  # not yet there, or damaged: all is read again
        if isinstance(stored, dict):
            self._known = stored

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file's contents."""
        key, now = str(path.resolve()), signature([path])
        # Size and time of change are asked first: models of many gigabytes are read once, not at every start.
        known = self._known.get(key)
        if isinstance(known, dict) and known.get("signature") == now and isinstance(known.get("sha256"), str):
            return str(known["sha256"])
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self._remember(key, [path], {"signature": now, "sha256": sha256})
        return sha256

    def is_untouched(self, name: str, digest: str) -> bool:
        """Return whether a data set's files are untouched since it had this digest."""
        known = self._known.get(_data_key(name))
        files = files_of(Path(name))
        return bool(files) and known == {"signature": signature(files), "digest": digest}

    def knows(self, name: str) -> bool:
        """Return whether a data set is or was a file or folder here; others are looked at only where they are read anyway."""
        return Path(name).exists() or _data_key(name) in self._known

    def remember_data(self, name: str, digest: str) -> None:
        """Keep which files a data set was read from; of what is no file or folder nothing is kept."""
        if files := files_of(Path(name)):
            self._remember(_data_key(name), files, {"signature": signature(files), "digest": digest})

    def _remember(self, key: str, files: Iterable[Path], value: Mapping[str, Any]) -> None:
        # Such a file is read again next time, as its clock could not tell another change.
        settled = all(time.time() - path.stat().st_mtime > _SETTLED_SECONDS for path in files)
        self._known[key] = {**value} if settled else {**value, "signature": None}
        # At once, as a start that is broken off has read gigabytes by then.
        write_json(self._path, self._known)


def model_digests(name: str, originals: Originals) -> dict[str, str]:
    """Return a digest of each part of a model: weights, tokenizer, configuration; none of a model that is not here yet."""
    place = Path(model_path(name))
    if not place.exists():
        place = _in_the_hubs_cache(name) or place
    if place.is_file():
        return {"weights": originals.digest(place)}
    digests: dict[str, str] = {}
    files = sorted(path for path in place.glob("*") if path.is_file()) if place.is_dir() else []
    for part in _PARTS:
        part_digests = [(path.name, originals.digest(path)) for path in files if _part(path) == part]
        if part_digests:
            digests[part] = hashlib.sha256(json.dumps(part_digests).encode()).hexdigest()
    return digests


def refuse_other_models(
    directory: Path, before: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]
) -> None:
    """Raise `UsageError` where a model is another than it was when the study's folder was begun."""
    for model, parts in now.items():
        # Only parts that were known then: older folders lack some.
        was = before.get(model) or {}
        changed = [part for part in parts if was.get(part) not in (None, parts[part])]
        if changed:
            raise _other(directory, f"{' and '.join(changed)} of {model} have", was[changed[0]], parts[changed[0]])


def refuse_other_data(directory: Path, before: Resolved, key: str, now: str) -> None:
    """Raise `UsageError` where a data set's rows are others than they were when the study's folder was begun."""
    was = _digest(before, key)
    # A folder from before models were looked at has digests of other things.
    if was not in (None, now) and before.models is not None:
        raise _other(directory, f"rows of {key.rpartition(' / ')[2]} have", was, now)


def check_data(
    config: StudyConfig, directory: Path, originals: Originals, before: Resolved, runs: Iterable[Run], observer: Observer, *,
    on_validation: bool = False,
) -> None:  # fmt: skip
    """Raise `UsageError` where the data of runs that are finished, which need none, are others than they were then."""
    for model, index in dict.fromkeys((run.model, run.dataset) for run in runs):
        spec, key = config.dataset[index], data_key(config, model, index)
        was = _digest(before, key)
        # What is no file here, or was not touched, need not be read for this.
        if was is None or not originals.knows(spec.path) or originals.is_untouched(spec.path, was):
            continue
        try:
            now = study_data(config, spec, on_validation=on_validation).digest
        except UsageError as error:
            observer(Unread(dataset=spec.label_name, why=str(error)))
            continue
        refuse_other_data(directory, before, key, now)
        originals.remember_data(spec.path, now)


def _digest(before: Resolved, key: str) -> str | None:
    return before.data[key].digest if key in before.data else None


def _other(directory: Path, what: str, before: str, now: str) -> UsageError:
    return UsageError(
        f"{directory} was begun with others: the {what} changed since (digest {before[:12]} then, {now[:12]} now). Choose "
        "another --out to study what is there now, or put back what was there to go on with these results."
    )


def _part(path: Path) -> str | None:
    # Logs of training lie beside many models, and change nothing that loading reads.
    if any(path.match(pattern) for pattern in _NO_PART):
        return None
    return next((part for part, patterns in _PARTS.items() if any(path.match(own) for own in patterns)), None)


def _in_the_hubs_cache(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None  # no name that a hub's model could have: to load it says so
    return Path(cached).parent if isinstance(cached, str) else None


def _data_key(name: str) -> str:
    return f"data: {Path(name).resolve()}"
