"""One thing given where several may be: a text's letters are never taken for several texts."""

from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any, overload

__all__ = ["one_or_more"]


@overload
def one_or_more(given: None) -> None: ...
@overload
def one_or_more(given: str | Iterable[str]) -> list[str]: ...
@overload
def one_or_more(given: str | Path | Iterable[str | Path]) -> list[str | Path]: ...
@overload
def one_or_more(given: int | Iterable[int]) -> list[int]: ...
def one_or_more(given: Any) -> Any:
    """Return a list: of one text, path or number alone, or of all that are given; None stays None."""
    if given is None:
        return None
    return [given] if isinstance(given, str | PurePath | int) else list(given)
