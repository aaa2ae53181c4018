"""Make models smaller."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afina.compress.compress import Compressed

__all__ = ["compress"]


def compress(
    model: str | Path,
    out: str | Path,
    *,
    data: str | None = None,
    rows: int = 128,
    max_length: int = 128,
    text: str | None = None,
    seed: int = 0,
    force: bool = False,
    tell: Callable[[str], None] = lambda what: None,
    **ways: Any,
) -> "Compressed":
    """Make a model smaller by one way (`drop_layers=2`, `width=0.5`, ...) and write it into the folder `out`.

    `data` has texts to judge by: a file, or a data set. What is written loads in plain transformers, and is compared with
    what was made before the folder stands there. Raises `UsageError` for a model or amount that it cannot be done with.
    """
    from afina.compress.compress import Texts, compress_model
    from afina.compress.way import make_way

    way = make_way(ways, seed)
    return compress_model(str(model), Path(out), way, Texts(data, rows, max_length, text), force=force, tell=tell)
