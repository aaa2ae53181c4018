"""The names that `precision` takes: those of the files in `backbone/storage/`, which are not imported for them."""

from typing import TYPE_CHECKING, Literal

from afina.registry import listing

__all__ = ["Precision"]

if TYPE_CHECKING:
    Precision = str
else:
    Precision = Literal["auto", *listing("afina.backbone.storage", "storage")]
