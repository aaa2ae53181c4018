"""GGUF files as folders that transformers loads: made once, kept in the cache, and looked at again whenever they are used.

A folder is named after its file's SHA-256. Configuration and tokenizer are made from the file's header alone; the weights
only when a model is loaded. What was quantised is kept as bfloat16.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from afina.backbone.gguf_file import GgufFile, read_gguf
from afina.backbone.gguf_rows import gguf_row, model_settings, tensor_names
from afina.backbone.gguf_tensors import as_transformers
from afina.backbone.tensor_file import save_tensors
from afina.errors import AfinaError, UsageError
from afina.json_files import read_json_object

__all__ = ["cache_folder", "converted", "converted_before", "file_digest", "said_of"]

_FORM = 1
"""Raised when the same file would be made into another folder."""
_WEIGHTS, _RECORD = "model.safetensors", "gguf.json"


def cache_folder() -> Path:
    """Return where converted models are kept: `afina/models` in XDG_CACHE_HOME, by default ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "afina" / "models"


def file_digest(path: Path) -> str:
    """Return a file's SHA-256; a file that has not changed is read once a process."""
    # Time and size stand for the bytes, as a file of gigabytes takes seconds to read.
    facts = path.stat()
    return _digest(str(path.resolve()), facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: str, size: int, changed: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def converted(source: Path, *, weights: bool) -> Path:
    """Return the folder of a GGUF file, made if it is not there, its weights too if they are wanted.

    Raises `UsageError` for a file that is not read (its architecture, tokenizer or settings), `AfinaError` for a damaged
    one and for a cache that cannot be written.
    """
    if not source.is_file():
        raise UsageError(f"The model file {source} does not exist.")
    # By what is in the file, so that a copy or another name of it is not made again.
    folder = _place(file_digest(source))
    if _whole(folder, weights=weights):
        return folder
    try:
        # Looked at again under the lock: another process may have made it while this one waited.
        with _held(folder.parent):
            if not _whole(folder, weights=False):
                _make(source, folder)
            if weights and not _whole(folder, weights=True):
                _add_weights(source, folder)
    except OSError as error:
        raise AfinaError(
            f"{source} cannot be made ready in {folder.parent} ({error.strerror or error}); make room there, or set "
            "XDG_CACHE_HOME to a folder that can be written."
        ) from error
    return folder


def converted_before(digest: str, *, weights: bool) -> Path | None:
    """Return the folder of the file with this SHA-256 if it was made before and is whole."""
    folder = _place(digest)
    return folder if _whole(folder, weights=weights) else None


def said_of(folder: Path, name: str) -> str | None:
    """Return what a person should know of a model that was converted, or None for another folder."""
    record = _record(folder)
    # A file of plain numbers is what it says; only what was quantised needs a word.
    if record is None or not record.get("quantised"):
        return None
    kinds = ", ".join(f"{count} of {kind}" for kind, count in record["kinds"].items())
    return (
        f"the weights of {Path(name).name} were quantised (tensors: {kinds}); what they stand for is kept as bfloat16 in "
        f"{folder}"
    )


def _place(digest: str) -> Path:
    # Half of the digits are enough to tell files apart, and leave a folder's name readable.
    return cache_folder() / f"{digest[:32]}-{_FORM}"


def _record(folder: Path) -> dict[str, Any] | None:
    try:
        record = read_json_object(folder / _RECORD)
    # A record that is not there or cut off is that of a folder that was not finished.
    except (FileNotFoundError, AfinaError):
        return None
    return record if isinstance(record.get("files"), dict) else None


def _whole(folder: Path, *, weights: bool) -> bool:
    """Return whether all that was made is there as it was made; what is not is made again."""
    record = _record(folder)
    # A link may lead to where others write.
    if record is None or folder.is_symlink():
        return False
    files: Mapping[str, Any] = record["files"]
    wanted = [name for name in files if weights or name != _WEIGHTS]
    if weights and _WEIGHTS not in files:
        return False
    # By digest and not by name and size: a file that was cut or changed in the cache is made again.
    paths = [folder / name for name in wanted]
    return all(path.is_file() and file_digest(path) == files[path.name] for path in paths)


@contextlib.contextmanager
def _held(cache: Path) -> Iterator[None]:
    """Hold the cache for this process, and sweep out what killed ones left in it."""
    cache.mkdir(parents=True, exist_ok=True)
    # Not through a link: whoever can write into the cache could have the lock made elsewhere.
    lock = os.open(cache / ".lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Under the lock nobody else is at work, so that what is half made is left by one that was killed.
        for left in cache.glob(".making-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(lock)


def _make(source: Path, folder: Path) -> None:
    """Write configuration and tokenizer into a folder that appears as a whole."""
    from transformers import AutoConfig, GenerationConfig

    from afina.backbone.gguf_tokenizer import end_tokens, gguf_tokenizer

    file = read_gguf(source)
    row, settings, tokenizer = gguf_row(file), model_settings(file), gguf_tokenizer(file)
    # Before anything is written: a file with a tensor that is not known is refused at once.
    tensor_names(file)
    marks = {"bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id}
    ends = end_tokens(file)
    try:
        config = AutoConfig.for_model(
            row.model_type, dtype="bfloat16" if file.quantised else _plain_dtype(file), **marks,
            eos_token_id=ends[0] if ends else None, **settings,
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, ZeroDivisionError) as error:
        # The first line only: the libraries' messages go on with what is of no use to who reads them.
        raise UsageError(f"{source} describes no {row.model_type} model: {str(error).splitlines()[0]}") from None
    making = folder.parent / f".making-{os.getpid()}"
    making.mkdir()
    config.save_pretrained(making)
    tokenizer.save_pretrained(making)
    GenerationConfig(**marks, eos_token_id=(ends if len(ends) > 1 else ends[0]) if ends else None).save_pretrained(
        making
    )
    _check_reading(file, tokenizer, making)
    digests = {path.name: file_digest(path) for path in sorted(making.iterdir())}
    record = {"source": source.name, "kinds": file.kinds, "quantised": bool(file.quantised), "files": digests}
    _write(making / _RECORD, record)
    # The same name may stand for what an earlier version made, or be a link.
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    making.rename(folder)


_PROBE = " In 1984 two  lamps\n\ncost don't: R$ 3,50!?\t(João's) 北京 e\u0301🙂"
"""A text with all that tokenizers read differently: digits, spaces, marks, contractions, accents, other scripts."""


def _check_reading(file: GgufFile, tokenizer: Any, folder: Path) -> None:
    """Raise `UsageError` where transformers reads a tokenizer as another one, as it does for some architectures."""
    from transformers import AutoTokenizer

    read = AutoTokenizer.from_pretrained(folder)
    probe = _PROBE + "".join(tokenizer.all_special_tokens)
    if read(probe)["input_ids"] != tokenizer(probe)["input_ids"] or read.get_vocab() != tokenizer.get_vocab():
        raise UsageError(
            f"{file.path} has a tokenizer that transformers takes for {type(read).__name__}, which gives other tokens; "
            "give the model as a folder with safetensors."
        )


def _plain_dtype(file: GgufFile) -> str:
    likeliest = max(file.kinds, key=lambda kind: file.kinds[kind], default="F32")
    # As the file has most of them: single norms are often kept in float32.
    return {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}.get(likeliest, "float32")


def _add_weights(source: Path, folder: Path) -> None:
    """Write the tensors under transformers' names, and their digest into the folder's record."""
    tensors = _tensors(read_gguf(source), folder)
    making = folder.parent / f".making-{os.getpid()}"
    making.mkdir()
    save_tensors(tensors, making / _WEIGHTS, metadata={"format": "pt"})
    # Libraries make files of weights for their owner alone.
    (making / _WEIGHTS).chmod(0o644)
    record = _record(folder)
    assert record is not None
    record["files"][_WEIGHTS] = file_digest(making / _WEIGHTS)

    # Weights first, then the record that names them: without its line they are as good as not there.
    (making / _WEIGHTS).rename(folder / _WEIGHTS)
    _write(making / _RECORD, record)
    (making / _RECORD).rename(folder / _RECORD)
    making.rmdir()


def _tensors(file: GgufFile, folder: Path) -> dict[str, Any]:
    """Return all of a model's tensors; raises `UsageError` where the file has more, fewer or others."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        # Only the shapes are wanted, for which no memory is needed.
        model = AutoModelForCausalLM.from_config(config)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}

    # A language head that is the embeddings' own is no tensor of the file.
    if config.tie_word_embeddings:
        shapes.pop("lm_head.weight", None)
    row, tensors = gguf_row(file), {}
    for name, called in tensor_names(file).items():
        try:
            tensors[called] = as_transformers(row, name, file.read(name), config)
        except UsageError as error:
            raise UsageError(f"{file.path}: {error}") from None
    missing, strangers = sorted(shapes.keys() - tensors.keys()), sorted(tensors.keys() - shapes.keys())
    if missing or strangers:
        what = f"lacks {missing[0]}" if missing else f"has {strangers[0]}, which no such model has"
        raise UsageError(f"{file.path} is no whole {row.model_type} model: it {what}.")
    for name, value in tensors.items():
        if tuple(value.shape) != shapes[name]:
            raise UsageError(
                f"{file.path} is no sound model: {name} is {tuple(value.shape)}, its settings want {shapes[name]}."
            )
        if not torch.isfinite(value).all():
            raise AfinaError(f"{file.path} is damaged: {name} holds numbers that are none (NaN or infinite).")
    return tensors


def _write(path: Path, record: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1), encoding="utf-8")
