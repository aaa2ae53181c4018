"""JSON that others wrote: whatever is wrong with it is told in words."""

import json
from pathlib import Path
from typing import Any

from afina.errors import AfinaError

__all__ = ["json_problem", "read_json_object"]

_LARGEST = 1 << 26
"""Bytes; what describes a model or an adapter is a thousandth of it."""


def json_problem(error: ValueError | RecursionError) -> str:
    """Return why a text is no JSON, by what Python raised as it read it."""
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON ({error.msg})"
    # Any other `ValueError` is that of a number with more digits than Python lets programs read.
    return "the JSON is nested too deeply" if isinstance(error, RecursionError) else "a number has thousands of digits"


def read_json_object(path: Path, *, what_to_do: str = "get it again") -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises `FileNotFoundError` where there is none, and `AfinaError` for one that cannot be read, is not UTF-8 or JSON, nests
    too deeply, has numbers of thousands of digits or a key twice, or holds something else than an object.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise AfinaError(f"{path} has {path.stat().st_size:,} bytes, too many for a description; {what_to_do}.")
        values = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_once)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(str(path)) from None
    except RecursionError:
        raise AfinaError(f"{path} is damaged: it nests too deeply to be read; {what_to_do}.") from None
    except UnicodeDecodeError:
        raise AfinaError(f"{path} is damaged: it is not UTF-8 text; {what_to_do}.") from None
    except (OSError, ValueError) as error:  # of which JSON's and Unicode's are kinds
        reason = str(error).split(";")[0]  # Python goes on about a limit on digits that it lets programs raise
        raise AfinaError(f"{path} is damaged ({reason}); {what_to_do}.") from None
    if not isinstance(values, dict):
        raise AfinaError(f"{path} is damaged: it holds no object with keys, but {_kind(values)}; {what_to_do}.")
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:80]!r} is given twice")
    return values


def _kind(value: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")
