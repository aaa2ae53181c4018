"""Keep with an adapter what its rows were like: `reference.npz` in its folder, of which no text can be read.

What is kept: of test rows (2,000 at most, drawn with a seed) the number of words, how rare and how new they are, the
language, what the adapter answered, how sure it was, and the right answer; of 512 of them a vector, on 64 directions drawn at
random; of the train rows (20,000 at most) the counts of words by hash in 4,096 buckets, a filter of the words there were, and
the shares of labels, lengths and languages. Whoever has the file can ask whether a certain word stood in the train rows.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from afina.corpus.languages import language_of
from afina.drift.seen import VECTORS, Seen, SeenAnswers
from afina.drift.vocabulary import WordSketch
from afina.errors import AfinaError, UsageError
from afina.whole_file import whole_file

__all__ = [
    "FILE",
    "AdapterReference",
    "KeptRows",
    "TextFigures",
    "figures_of",
    "languages_of",
    "mark_of",
    "read_reference",
    "read_seen",
    "save_seen",
]  # fmt: skip

FILE = "reference.npz"
"""The reference in an adapter's folder. What is uploaded is of other kinds of files, so that it stays."""
_VERSION = 1
_ROWS = 2000
_TRAIN_ROWS = 20_000
_SEED = 0


@dataclass(frozen=True)
class KeptRows:
    """Says which rows of a split are kept, by their numbers: the first of them with vectors."""

    rows: np.ndarray

    @classmethod
    def of(cls, count: int, most: int = _ROWS) -> "KeptRows":
        """Draw rows among `count`; those that come first are drawn at random too."""
        return cls(np.random.default_rng(_SEED).permutation(count)[:most])

    @property
    def with_vectors(self) -> np.ndarray:
        """Return the numbers of the rows of which vectors are kept."""
        return self.rows[:VECTORS]


@dataclass(frozen=True)
class TextFigures:
    """Holds what texts alone tell: the vocabulary of the train rows, and the test rows' figures in the order of `kept`."""

    vocabulary: WordSketch
    kept: KeptRows
    figures: Mapping[str, np.ndarray]
    """Fields of `Seen` by name."""
    train: Mapping[str, Any] = field(default_factory=dict)
    """Counts of what the train rows were, for whoever reads the reference."""

    def save(self, path: Path) -> None:
        """Write it into a file."""
        arrays = {**_named("vocabulary", self.vocabulary.arrays()), **_named("figures", self.figures)}
        _save(path, {**arrays, "kept": self.kept.rows}, {"train": self.train})

    @classmethod
    def read(cls, path: Path) -> "TextFigures":
        """Read what `save` wrote; raises `AfinaError` for anything else."""
        arrays, facts = _read(path)
        return cls(
            WordSketch(**_under("vocabulary", arrays)),
            KeptRows(arrays["kept"]),
            _under("figures", arrays),
            facts["train"],
        )


def figures_of(train: Sequence[str], test: Sequence[str], labels: Mapping[str, int] | None = None) -> TextFigures:
    """Return what the texts of train and test rows tell; `labels` are the train rows' by name."""
    learned = [train[row] for row in KeptRows.of(len(train), _TRAIN_ROWS).rows]
    vocabulary, chosen = WordSketch.of(learned), KeptRows.of(len(test))
    texts = [test[row] for row in chosen.rows]
    figures = {**vocabulary.measured(texts), "spoken": languages_of(texts)}
    some = learned[:_ROWS]
    spoken, counts = np.unique(languages_of(some), return_counts=True)
    lengths = vocabulary.measured(some)["length"]
    facts = {
        "rows": len(train), "labels": dict(labels or {}),
        "languages": dict(zip(spoken.tolist(), counts.tolist(), strict=True)),
        "words a text": {str(share): float(np.quantile(lengths, share)) for share in (0.05, 0.5, 0.95)},
    }  # fmt: skip
    return TextFigures(vocabulary, chosen, figures, facts)


def languages_of(texts: Sequence[str]) -> np.ndarray:
    """Return the languages (N,) of texts."""
    return np.array([language_of(text) for text in texts], dtype=str)


@dataclass(frozen=True)
class AdapterReference:
    """Holds what an adapter's rows were like when it was made."""

    adapter: str
    """The mark of the adapter's weights (`mark_of`)."""
    seen: Seen
    vocabulary: WordSketch
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Sources of the rows, and counts of what the train rows were."""

    @classmethod
    def of(
        cls, folder: Path, texts: TextFigures, answers: SeenAnswers, vectors: np.ndarray, truth: np.ndarray | None,
        facts: Mapping[str, Any],
    ) -> "AdapterReference":  # fmt: skip
        """Make it of an adapter's folder and what it answered to the kept test rows, in their order."""
        seen = Seen(**texts.figures, vectors=vectors, **vars(answers), truth=truth)
        return cls(mark_of(folder), seen, texts.vocabulary, {**facts, "train": dict(texts.train)})

    @property
    def mark(self) -> str:
        """Return what tells the words of its train rows from others': new words are told by them."""
        return hashlib.sha256(self.vocabulary.bits.tobytes() + self.vocabulary.counts.tobytes()).hexdigest()

    def save(self, folder: Path) -> Path:
        """Write it into an adapter's folder and return its path; after a kill it is there whole or not at all."""
        arrays = {**_named("seen", self.seen.arrays()), **_named("vocabulary", self.vocabulary.arrays())}
        _save(folder / FILE, arrays, {"adapter": self.adapter, **self.facts})
        return folder / FILE


def read_reference(folder: Path) -> AdapterReference:
    """Return the reference of an adapter's folder; raises `UsageError` where it has none, or another adapter's."""
    path = folder / FILE
    if not path.is_file():
        raise UsageError(
            f"{folder} has no {FILE} to compare with; make one of rows that it was not trained on: "
            f"afina watch {folder} --make-reference ROWS."
        )
    arrays, facts = _read(path)
    try:
        reference = AdapterReference(
            facts.pop("adapter"), Seen(**_under("seen", arrays)), WordSketch(**_under("vocabulary", arrays)), facts
        )
    except (KeyError, TypeError) as error:
        raise _damaged(path, error) from None
    if reference.adapter != mark_of(folder):
        raise UsageError(
            f"{path} was made with another adapter than the one there now, whose answers it says nothing of; make it anew: "
            f"afina watch {folder} --make-reference ROWS --force."
        )
    return reference


def save_seen(path: Path, seen: Seen) -> None:
    """Write what was kept of rows into a file."""
    _save(path, seen.arrays(), {})


def read_seen(path: Path) -> Seen:
    """Return what `save_seen` wrote; raises `AfinaError` for anything else."""
    arrays, _ = _read(path)
    try:
        return Seen(**arrays)
    except TypeError as error:
        raise _damaged(path, error) from None


def mark_of(folder: Path) -> str:
    """Return what tells an adapter's weights from others; raises `UsageError` where there are none."""
    path = folder / "adapter_model.safetensors"
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise UsageError(f"{folder} has no adapter_model.safetensors; give the folder of an adapter.") from None


# -- the file ----------------------------------------------------------------------------------------------------------


def _named(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}.{key}": values for key, values in arrays.items()}


def _under(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {key.removeprefix(f"{name}."): own for key, own in arrays.items() if key.startswith(f"{name}.")}


def _save(path: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    # As bytes, for an .npz file without objects needs no pickle.
    written = np.frombuffer(json.dumps({"version": _VERSION, **facts}, ensure_ascii=False).encode(), dtype=np.uint8)
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, facts=written, **arrays)  # type: ignore[arg-type]


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        # numpy leaves a file open that it opened itself and cannot read.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(arrays.pop("facts").tobytes())
        version = facts.pop("version")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from None
    if version != _VERSION:
        raise AfinaError(f"{path} is of version {version}, and this Afina reads {_VERSION}; make it anew.")
    return arrays, facts


def _damaged(path: Path, error: Exception) -> AfinaError:
    return AfinaError(f"{path} is damaged ({type(error).__name__}); make it anew with --make-reference and --force.")
