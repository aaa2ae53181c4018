"""Read a tensor whole that several processes may hold a part each of."""

from typing import Any

from torch import Tensor

__all__ = ["whole"]


def whole(value: Tensor) -> Tensor:
    """Return a tensor as it is, or of one that is divided among processes all of it; all of them have to ask at once."""
    # By its method and not its class, whose module takes a second to import.
    gather: Any = getattr(value, "full_tensor", None)
    return value if gather is None else gather()
