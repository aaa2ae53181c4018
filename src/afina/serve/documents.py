"""Keep the indexes of documents from which models answer: which model has which, and each opened once, anew when it changed.

An adapter's folder may hold a `serve.yaml`; whoever starts the server may name an index for the base, or for any adapter.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from afina.checked import Checked
from afina.errors import UsageError
from afina.retrieval.index import FoundPassages, Index
from afina.retrieval.threshold import limit_of
from afina.serve.grounded import found_in_turn
from afina.yaml_file import read_yaml

__all__ = ["SETTINGS", "DocumentSettings", "Documents", "FoundInTurn", "settings_in"]

SETTINGS = "serve.yaml"
"""The file in an adapter's folder that names its index."""
_INDEX = "index.json"


class DocumentSettings(Checked):
    """Says from which documents a model answers."""

    index: str
    """Folder of the index, from the adapter's own folder on."""
    most: int = Field(default=5, ge=1, le=100)
    """Passages that a question is given."""
    threshold: Annotated[float, Field(allow_inf_nan=False)] | Literal["index", "none"] = "index"
    """Similarity of the best passage below which the documents do not tell: a number, none, or the index's own."""
    sources: bool = True
    """True to write what an answer cites below it, for whoever shows its text alone."""


@dataclass(frozen=True)
class FoundInTurn:
    """Holds what was found for a question, in the index as it stood then."""

    index: Index
    found: FoundPassages
    likeness: float | None
    tells: bool


def settings_in(folder: Path, served: Path | None = None) -> DocumentSettings | None:
    """Return what an adapter's `serve.yaml` says, with the index's whole path; None where there is none.

    Raises `UsageError` for an index that is not inside the adapter's folder, nor in the `served` folder of adapters: whose
    adapter it is does not choose what else of this machine is read.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return None
    settings: DocumentSettings = DocumentSettings.parse(read_yaml(path), SETTINGS)
    place = (folder / settings.index).resolve()
    inside = [root.resolve() for root in (folder, served) if root is not None]
    if not any(place.is_relative_to(root) for root in inside):
        raise UsageError(
            f"{SETTINGS}: the index {settings.index} is outside the folder of adapters; name it when the server is started "
            "(--index NAME=INDEX)."
        )
    if not (place / _INDEX).is_file():
        raise UsageError(f"{SETTINGS}: {settings.index} is no index; make one: afina rag index DOCS --out INDEX")
    return settings.model_copy(update={"index": str(place)})


@dataclass
class Documents:
    """Searches indexes on a thread of its own; all may be called from any thread."""

    named: Mapping[str, DocumentSettings] = field(default_factory=dict)
    """Settings by the names of models, which count before what an adapter's folder says."""
    device: str = "auto"
    _open: dict[str, tuple[tuple[int, int, int], Index]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # One thread: an encoder is asked by one at a time, and a question takes it some milliseconds.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="afina-documents")

    def check(self) -> None:
        """Open every index that is named, so that what is wrong is said before the first request."""
        for settings in self.named.values():
            limit_of(self._opened(settings.index), _threshold(settings))

    def search(self, settings: DocumentSettings, question: str, earlier: str | None) -> "Future[FoundInTurn]":
        """Search for a question of a conversation; raises later, by the future, what opening the index raises."""
        return self._thread.submit(self._search, settings, question, earlier)

    def _search(self, settings: DocumentSettings, question: str, earlier: str | None) -> FoundInTurn:
        index = self._opened(settings.index)
        limit = limit_of(index, _threshold(settings))
        passages = found_in_turn(index, question, earlier, settings.most)
        return FoundInTurn(
            index, passages, passages.best.get(limit.by), bool(passages.hits) and limit.tells(passages.best)
        )

    def _opened(self, place: str) -> Index:
        """Return an index as it stands now: one that was brought up to its documents is opened anew."""
        path = Path(place) / _INDEX
        if not path.is_file():
            Index(place)  # which says what is wrong
        state = path.stat()
        stamp = (state.st_mtime_ns, state.st_size, state.st_ino)
        known = self._open.get(place)
        if known is None or known[0] != stamp:
            # The one before is not closed: a request may still hold its passages; it goes with the last of them.
            known = stamp, Index(place, device=self.device)
            self._open[place] = known
        return known[1]

    def close(self) -> None:
        """End the thread, when what it does is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _threshold(settings: DocumentSettings) -> float | str | None:
    return None if settings.threshold == "none" else settings.threshold
