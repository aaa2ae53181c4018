"""Tokenised splits in one .npz file, so that a study tokenises its rows once."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from afina.data.tokens.tokens import KINDS, Tokens
from afina.whole_file import whole_file

__all__ = ["load_tokens", "save_tokens", "write_arrays"]


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write one .npz file, whole or not at all."""
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def save_tokens(path: Path, splits: Mapping[str, Tokens]) -> None:
    """Write tokenised splits to one .npz file, atomically."""
    names = {cls: kind for kind, cls in KINDS.items()}
    arrays: dict[str, np.ndarray] = {}
    facts: dict[str, dict[str, int | str]] = {}
    for name, tokens in splits.items():
        parts, counts = tokens.parts()
        arrays |= {f"{name}.{field}": value for field, value in parts.items()}
        # The kind by name, so that classes may move without losing files.
        facts[name] = {"kind": names[type(tokens)], **counts}
    # As bytes, for an .npz file without objects needs no pickle.
    arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    write_arrays(path, arrays)


def load_tokens(path: Path) -> dict[str, Tokens]:
    """Read what `save_tokens` wrote."""
    # numpy leaves a file open that it opened itself and cannot read.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        facts = json.loads(file["facts"].tobytes())
        splits = {}
        for name, value in facts.items():
            made = KINDS[value.pop("kind")]
            fields = {
                field.removeprefix(f"{name}."): file[field] for field in file.files if field.startswith(f"{name}.")
            }
            splits[name] = made(**fields, **value)
        return splits
