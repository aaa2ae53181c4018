"""Register what an adapter may be exported to; one more is one file in `targets/`.

A target's fields are its options: `afina export --help` lists them, and one that a target does not take is refused. Such a
file is read each time that the command line starts, so that what is heavy is imported where it is used.
"""

import dataclasses
import importlib.util
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from afina.errors import UsageError, nearest, shown
from afina.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from afina.data.rows import Rows
    from afina.export.costs import Cost
    from afina.export.parity import Parity
    from afina.predictor.load import Told
    from afina.predictor.predictor import Predictor

__all__ = [
    "TARGETS", "ExportTarget", "Option", "check_apart", "export_target", "folder_of", "make_target", "options", "unmergeable",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ExportTarget:
    """Writes an adapter in one form; subclasses add their options as fields, each with its `help`."""

    name: ClassVar[str] = ""
    needs: ClassVar[Mapping[str, str]] = {}
    """Packages that it does not go without, and what installs each."""
    lossy: ClassVar[bool] = False
    """True if it may leave something out: its distance from the adapter is then reported, and not judged."""
    consumes: ClassVar[bool] = False
    """True if writing changes the adapter that it is given, so that it needs a copy to itself."""

    library: ClassVar[str | None] = None
    """The library that the hub loads it by."""
    has_base: ClassVar[bool] = False
    """True if its files contain the base model's weights."""
    ways: ClassVar[Mapping[str, str]] = {}
    """The lines by runtime that load and ask the export, for its card, with $places (`card.form.lines`)."""

    def ways_of(self, adapter: "Predictor") -> Mapping[str, str]:
        """Return the ways to load what is written of this adapter."""
        return self.ways

    def rounded_to(self, precision: str) -> str | None:
        """Return the quantised precision whose weights the exported model has, for an adapter of this one; None for no."""
        return None

    def write(self, adapter: "Predictor", folder: Path) -> Mapping[str, float] | None:
        """Write into `folder`; return by module the share of the change that is left out, where it is `lossy`.

        Raises `UsageError` for an adapter that has no such form.
        """
        raise NotImplementedError(f"{self.name} writes nothing")

    def foresee(self, adapter: "Told") -> None:
        """Raise `UsageError` for an adapter that has no such form, as far as its folder says, before its base is loaded."""

    def check(self, tested: "Predictor") -> None:
        """Raise `UsageError` for an adapter that has no such form, before any work is done."""

    def reading(self, tested: "Predictor", data: str | None, sample: "Rows | None") -> "ExportTarget":
        """Return the target with the rows that it needs besides the `sample` to compare on.

        Raises `UsageError` where there are none, or where the sample does not say what the target judges by.
        """
        return self

    def outside(self, tested: "Predictor", folder: Path) -> tuple[Any, Any]:
        """Return model and tokenizer of what was written, as another program would load them."""
        raise NotImplementedError(f"{self.name} cannot be compared")

    def compare(
        self, tested: "Predictor", exact: "Predictor", folder: Path, rows: "Rows | None"
    ) -> "tuple[Parity, float | None]":
        """Open what was written as another program does, and return how near it is to the adapter.

        Beside it how much the adapter's branches change what its base gives, where that was looked at.
        """
        from afina.export.parity import check_parity

        return check_parity(tested, exact, *self.outside(tested, folder), rows), None

    def cost(self, tested: "Predictor", folder: Path, batch: "Mapping[str, np.ndarray]") -> "Cost | None":
        """Return what answering a batch takes where it runs (`costs.py`); None where that is not measured."""
        return None

    def remark(self, tested: "Predictor", exact: "Predictor", parity: "Parity") -> str | None:
        """Say what became of the base, where that is not seen from the figures."""
        return None


TARGETS: Registry[type[ExportTarget]] = Registry("export target", "afina.export.targets", "export_target")
"""All targets by name."""

export_target = TARGETS.register


@dataclass(frozen=True)
class Option:
    """Describes an option of one target or of several, as the command line has it."""

    name: str
    kind: Any
    default: Any
    help: str


def options() -> Iterator[Option]:
    """Yield the options of all targets, each once."""
    by_name: dict[str, list[tuple[str, Any, Any, str]]] = {}
    for name, cls in TARGETS.items():
        hints = typing.get_type_hints(cls)
        for entry in dataclasses.fields(cls):
            by_name.setdefault(entry.name, []).append((name, hints[entry.name], entry.default, entry.metadata["help"]))
    for key, places in by_name.items():
        takers: dict[str, list[str]] = {}
        for name, _, _, words in places:
            takers.setdefault(words, []).append(name)
        text = " ".join(f"For --to {' and '.join(names)}: {words}" for words, names in takers.items())
        yield Option(key, places[0][1], places[0][2], text)


def make_target(to: str, settings: Mapping[str, Any]) -> ExportTarget:
    """Return a target with its options, None standing for the default of each.

    Raises `UsageError` for a target that there is not, an option that it does not take, and what it needs and is not there.
    """
    name = TARGETS.canonical(to)
    if name not in TARGETS:
        raise UsageError(f"--to is {', '.join(TARGETS)}, not {shown(to)}{nearest(to[:80], TARGETS)}")
    cls, given = TARGETS[name], {key: value for key, value in settings.items() if value is not None}
    known = {entry.name for entry in dataclasses.fields(cls)}
    if strange := [key for key in given if key not in known]:
        takers = [other for other, kind in TARGETS.items() if strange[0] in {f.name for f in dataclasses.fields(kind)}]
        who = f"; it is for --to {' and '.join(takers)}" if takers else ""
        raise UsageError(f"--to {name} takes no --{strange[0].replace('_', '-')}{who}.")
    for package, install in cls.needs.items():
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"To export to {name}, {package} has to be there: pip install {install}.")
    return cls(**given)


def folder_of(adapter: Path, to: str, out: Path | None, *, force: bool = False) -> Path:
    """Return the folder that an export makes.

    Raises `UsageError` for one that is there, with `force` only for one that is no export of Afina's: its card is not ours.
    """
    target = out or adapter.with_name(f"{adapter.resolve().name}-{to}")
    if target.exists() and not force:
        raise UsageError(f"{target} exists already; choose another --out, or --force to export over it.")
    if target.exists() and not _is_ours(target):
        raise UsageError(f"{target} is no export of Afina's, and is not written over; choose another --out.")
    return target


def check_apart(target: Path, reads: Iterable[str | Path | None]) -> None:
    """Raise `UsageError` where something that an export reads lies in the folder whose place it is to take."""
    for place in reads:
        if place is not None and Path(place).exists() and Path(place).resolve().is_relative_to(target.resolve()):
            raise UsageError(f"{place} is read for the export, and would go with {target}; choose another --out.")


def _is_ours(folder: Path) -> bool:
    """Return whether a folder is an export: it has a card of ours, and is no adapter of a study."""
    from afina.card.blocks import parse  # what a card says is known with numpy
    from afina.card.write import read_card

    try:
        card = read_card(folder)
        return card is not None and "export" in parse(card).digests.get("blocks", {})
    except UsageError:
        return False


def unmergeable(method: str, form: str, to: str) -> UsageError:
    """Return what is said of a method whose branches are no change of weights: that a graph takes them."""
    return UsageError(
        f"{method} has no {form} form, which --to {to} writes: what it adds depends on each input. Use it here, or export it "
        "--to onnx or openvino, whose graphs hold its branches."
    )
