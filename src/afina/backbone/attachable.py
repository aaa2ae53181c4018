"""Declare what can be attached to a backbone."""

from collections.abc import Sequence
from typing import Protocol

from afina.backbone.anatomy import Site
from afina.backbone.branch import Placed
from afina.backbone.head import Head

__all__ = ["Attachable"]


class Attachable(Protocol):
    """Declares what an adapter shows to the backbone."""

    head: Head

    def placed(self) -> Sequence[tuple[Site, Placed]]: ...
