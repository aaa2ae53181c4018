"""Open a house: find out which base its adapters are of, load it, and look at what stands in the folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from afina.adapters.format import Base, format_of
from afina.adapters.record import AdapterRecord
from afina.backbone.load import stored_at
from afina.backbone.model_files import device_named
from afina.errors import AfinaError, UsageError, nearest
from afina.precision import EXACT
from afina.serve.adapters import UNNAMED, NoSuchAdapter, Shelf
from afina.serve.bases import Bases
from afina.serve.documents import Documents, DocumentSettings
from afina.serve.folders import check_ordinary, named_in
from afina.serve.http.house import House, ServeLimits, folder_of_adapters
from afina.serve.http.journal import Journal, check_log
from afina.serve.http.keys import lie_open, read_keys

__all__ = ["Opening", "open_house"]


@dataclass(frozen=True, kw_only=True)
class Opening:
    """Says what is to be served, and to whom."""

    base: str | None = None
    """The model; None where the adapters name it."""
    adapters: Path | None = None
    """The folder of adapters."""
    precision: str | None = None
    device: str = "auto"
    preload: bool = False
    """Load all adapters before the first request, and do not start if one cannot be loaded."""
    same: tuple[str, ...] = ()
    api_key: str | None = None
    admin_key: str | None = None
    keys: Path | None = None
    rate: float | None = None
    log: str | None = "-"
    log_text: bool = False
    limits: ServeLimits = field(default_factory=ServeLimits)
    indexes: Mapping[str, str] = field(default_factory=dict)
    """Indexes of documents by the names of models that answer from them; the base's is ""."""


def open_house(how: Opening, tell: Callable[[str], None] = lambda sentence: None) -> House:
    """Load the base and take up the adapters; raises `UsageError` in one sentence for what cannot be served.

    `tell` is called with what happens to adapters, then and later, from any thread.
    """
    keys = read_keys(how.keys, how.api_key, how.admin_key, how.rate)
    if how.keys is not None and lie_open(how.keys):
        tell(
            f"The keys in {how.keys.name} can be read by everybody on this machine; chmod 600 it, or write each key's sha256."
        )
    if how.log not in (None, "-"):
        check_log(Path(str(how.log)))
    folder = folder_of_adapters(how.adapters)
    records = _records(folder, tell)
    model = how.base or _base_of(records, how.adapters)
    precision = how.precision or _precision_of(records, model)
    bases = Bases(model, precision, device_named(how.device), same=how.same)
    shelf = Shelf(bases, folder, how.precision, tell)
    shelf.look()
    for record, _ in records:
        if record.model != UNNAMED and not bases.is_called(record.model):
            tell(
                f"An adapter of {record.model} will be refused: {bases.name} is served (--same says that they are one)."
            )
    # A name that is misspelt would be 404 to whoever has the key, and nobody would know why.
    for name, models in keys.named().items():
        for other in sorted(models - {bases.name, *shelf.names()}):
            tell(f"The key {name} may ask '{other}', which is not here yet.")
    documents = Documents(
        {name or bases.name: DocumentSettings(index=index) for name, index in how.indexes.items()}, how.device
    )
    for name in documents.named:
        if name != bases.name and name not in shelf.names():
            raise UsageError(f"--index: there is no adapter '{name}' here{nearest(name, shelf.names())}")
    documents.check()
    _load_first(bases, [form for _, form in records])
    if how.preload:
        for name in shelf.names():
            try:
                shelf.give_back(shelf.take(name))
            except NoSuchAdapter as error:
                raise UsageError(str(error)) from None
    return House(bases, shelf, keys, Journal(how.log, with_text=how.log_text), how.limits, documents)


def _records(folder: Path | None, tell: Callable[[str], None]) -> list[tuple[AdapterRecord, Base]]:
    """Return what the adapters of a folder say of themselves; what cannot be read is told, and is none."""
    records: list[tuple[AdapterRecord, Base]] = []
    for places in named_in(folder).values() if folder is not None else ():
        for place in places:
            try:
                check_ordinary(place)
                form = format_of(place)
                record = form.record(place)
                records.append((record, form.base(record)))
            except (AfinaError, OSError) as error:
                tell(f"{place} cannot be served: {error}")
    return records


def _base_of(records: list[tuple[AdapterRecord, Base]], folder: Path | None) -> str:
    """Return the model that all adapters name; raises `UsageError` where they name several, or none."""
    names = sorted({record.model for record, _ in records})
    if folder is None:
        raise UsageError("Say which model is to be served, BASE, or which adapters, by --adapters DIR.")
    if not names:
        raise UsageError(f"No adapter in {folder} says which model it adapts; give it as BASE.")
    if len(names) > 1:
        raise UsageError(
            f"The adapters in {folder} are of several models ({', '.join(names)}); give one of them as BASE."
        )
    return names[0]


def _precision_of(records: list[tuple[AdapterRecord, Base]], model: str) -> str:
    """Return the precision that the model's weights are stored in, or all adapters were trained in, else the exact one."""
    if (stored := stored_at(model)) is not None:
        return stored
    kinds = {record.precision for record, _ in records}
    return kinds.pop() if len(kinds) == 1 else EXACT


def _load_first(bases: Bases, forms: list[Base]) -> None:
    """Load the base in the form that most adapters want; where there is none, as what writes, if it does."""
    if forms:
        bases.backbone(max(forms, key=forms.count))
        return
    try:
        bases.backbone(Base(speaks=True, tags=False))
    except UsageError:
        bases.backbone(Base(speaks=False, tags=False))  # what is wrong with both is said of this one
