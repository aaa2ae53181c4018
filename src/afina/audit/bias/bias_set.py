"""Define a set of texts in which a model's own bias shows, and keep the registry: one file a set, in `sets/`.

What a set asks stands in units: items of one unit (the questions on one story, the sentences of one template) are alike, so
that intervals redraw units and tests turn their signs round together.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import numpy as np

from afina.audit.bias.drafts import Draft
from afina.audit.bias.scorers import Scorer
from afina.data.files.tables import read_table
from afina.errors import UsageError, nearest
from afina.registry import Registry
from afina.results.findings.finding import Subject

__all__ = ["BIAS_SETS", "BiasSet", "bias_set", "parse_sets", "rows_of_file", "sign_flip_p", "sums_by_unit"]

Item = TypeVar("Item")
_EXACT = 12
"""Units up to which all their signs are tried; of more units random ones are."""
_FLIPS = 20_000


class BiasSet(ABC, Generic[Item]):
    """Reads items, asks a model about them, and says what its answers show."""

    name: ClassVar[str] = ""
    checks: ClassVar[tuple[str, ...]] = ()
    packaged: ClassVar[bool] = False
    """True where Afina brings the items; others are given as a file."""
    of_pairs: ClassVar[bool] = True
    """True where sentences are compared, which an encoder can do too; questions are answered by what writes alone."""

    @abstractmethod
    def read(self, path: Path | None) -> tuple[list[Item], list[str]]:
        """Return the items of a file, and notes; raises `UsageError` for a file of another form."""

    @abstractmethod
    def unit(self, item: Item) -> str:
        """Return what an item is of one unit with."""

    @abstractmethod
    def ask(self, scorer: Scorer, items: Sequence[Item]) -> np.ndarray:
        """Return what a model says of the items, (N, ...)."""

    @abstractmethod
    def kind(self, item: Item) -> str:
        """Return the kind of bias that an item asks for."""

    @abstractmethod
    def drafts(
        self, subject: Subject, items: Sequence[Item], answers: np.ndarray, others: Mapping[str, np.ndarray], *, fewest: int,
        seed: int,
    ) -> list[Draft]:  # fmt: skip
        """Return a draft for each test, of all items and of each kind with enough; `others` have what base and others say."""

    def counts(self, items: Sequence[Item]) -> dict[str, int]:
        """Return how many items there are of each kind; of one kind alone nothing, as it is all there is."""
        counted = Counter(map(self.kind, items))
        return dict(counted) if len(counted) > 1 else {}

    def drawn(self, items: Sequence[Item], most: int, seed: int) -> list[Item]:
        """Return items of whole units drawn with a seed, `most` of them at the most unless one unit has more."""
        if len(items) <= most:
            return list(items)
        by_unit: dict[str, list[Item]] = {}
        for item in items:
            by_unit.setdefault(self.unit(item), []).append(item)
        units, taken = list(by_unit.values()), list[Item]()
        for place in np.random.default_rng(seed).permutation(len(units)):
            if not taken or len(taken) + len(units[place]) <= most:
                taken += units[place]
        return taken


BIAS_SETS: Registry[type[BiasSet]] = Registry("bias_set", "afina.audit.bias.sets")  # type: ignore[type-arg]
"""All sets by name."""
bias_set = BIAS_SETS.register


def parse_sets(given: Sequence[str], *, writes: bool) -> dict[str, Path | None]:
    """Return sets with their files of what a person wrote, `crows_pairs=FILE`; what writes is asked the packaged ones else.

    Raises `UsageError` for an unknown set, one that is named twice, and one that wants a file and has none.
    """
    if not given:
        return {name: None for name, each in BIAS_SETS.items() if each.packaged and writes}
    files: dict[str, Path | None] = {}
    for text in given:
        name, _, file = text.partition("=")
        made = BIAS_SETS.named(name)
        if not made.packaged and not file:
            raise UsageError(f"The set {made.name} does not come with Afina; give its file as {made.name}=FILE.")
        if made.packaged and file:
            raise UsageError(f"The set {made.name} comes with Afina and takes no file; give its name alone.")
        if made.name in files:
            raise UsageError(f"The set {made.name} is named twice; give it once.")
        files[made.name] = Path(file) if file else None
    return files


def rows_of_file(path: Path, names: Mapping[str, Sequence[str]]) -> list[dict[str, object]]:
    """Return a table's rows by our names of columns, of which each may have several in files.

    Raises `UsageError` for a column that is not there.
    """
    table = read_table(path)
    columns: dict[str, list[object]] = {}
    for name, possible in names.items():
        there = next((each for each in possible if each in table.column_names), None)
        if there is None:
            raise UsageError(f"{path} has no column '{possible[0]}'{nearest(possible[0], table.column_names)}")
        columns[name] = table[there].to_pylist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def sums_by_unit(units: Sequence[str], *values: np.ndarray) -> np.ndarray:
    """Return (U, S): the sums of each of S values (N,) over the items of each unit."""
    numbers = {unit: place for place, unit in enumerate(dict.fromkeys(units))}
    sums = np.zeros((len(numbers), len(values)))
    np.add.at(sums, np.array([numbers[unit] for unit in units]), np.stack(values, axis=1).astype(np.float64))
    return sums


def sign_flip_p(sums: np.ndarray, seed: int = 0) -> float:
    """Return a two-sided p-value of units' sums (U,) that lie about 0 if nothing leans to one side: their signs are turned.

    Where all that are not 0 are of one size this is the sign test, and of differences of two models McNemar's exact one.
    """
    sizes = np.abs(sums[sums != 0])
    if not len(sizes):
        return 1.0
    if np.allclose(sizes, sizes[0]):
        from scipy.stats import binomtest

        return float(binomtest(int((sums > 0).sum()), len(sizes), 0.5).pvalue)
    total, count = abs(float(sums.sum())) - 1e-9, len(sizes)
    if count <= _EXACT:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float((np.abs(signs @ sizes) >= total).mean())
    random, as_large = np.random.default_rng(seed), 1
    for _ in range(_FLIPS // 1000):
        as_large += int((np.abs(random.choice([-1.0, 1.0], (1000, count)) @ sizes) >= total).sum())
    return as_large / (_FLIPS + 1)
