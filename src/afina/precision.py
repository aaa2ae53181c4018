"""The names that `precision` takes: those of the files in `backbone/storage/`, which are not imported for them."""

from typing import TYPE_CHECKING, Literal

from afina.registry import listing

__all__ = ["EXACT", "QUANTISED", "Precision"]

_STORAGES = listing("afina.backbone.storage", "storage")

if TYPE_CHECKING:
    Precision = str
else:
    Precision = Literal["auto", *_STORAGES]
"""How a frozen model's weights are kept: one file a storage, whose name is a `precision`."""


def _that_says(attribute: str) -> str:
    """Return the name of the storage whose class sets an attribute true."""
    (name,) = (name for name, entry in _STORAGES.items() if entry.constants.get(attribute))
    return name


EXACT = _that_says("exact")
"""The default: weights as they are trained, which differences are measured against."""
QUANTISED = _that_says("usual")
"""The precision of a method that wants a quantised base, unless a study names another."""
