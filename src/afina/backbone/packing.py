"""Say which adapters leave a text the same when others stand before and behind it in its row of the batch."""

from collections.abc import Iterable

from afina.backbone.anatomy import Anatomy
from afina.backbone.branch import Placed
from afina.backbone.head import Head

__all__ = ["unpackable"]


def unpackable(anatomy: Anatomy, head: Head, branches: Iterable[Placed]) -> str | None:
    """Return why texts cannot share rows of a batch under these branches and this head, or None where they can.

    They can where the model looks backwards only and takes positions from outside: transformers' masks then keep texts
    apart whose positions begin anew.
    """
    if not (anatomy.row.causal and anatomy.row.packs):
        return f"{anatomy.model_type} cannot keep texts of one row apart"
    if not head.per_token:
        return "each text has one answer"
    if not all(branch.per_token for branch in branches):
        return "it acts at each text's start or end"
    return None
