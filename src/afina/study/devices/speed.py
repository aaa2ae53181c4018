"""Say how long work takes at published speeds: between what is reached at best and at worst.

A product of matrices takes the longer of its arithmetic and of its reading and writing (Williams et al., 2009, the roofline);
all else takes what it reads and writes. At best calls are queued while the card computes; at worst each is waited for.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a machine is named before torch is imported
    from afina.measure.storages import Product, Work
    from afina.study.needs import Likely

__all__ = ["Rates", "Speed"]


@dataclass(frozen=True)
class Rates:
    """Operations a second in float32 and in 16 bits, bytes a second, and the seconds of one call."""

    float32: float
    half: float
    bandwidth: float
    call_seconds: float
    overlaps: bool
    """True if calls take no time while something is computed."""
    imitates: bool = False
    """True where products in bfloat16 are made in float32."""

    def times(self, cores: int) -> "Rates":
        """Return those of so many cores; memory and calls are no faster for them."""
        return replace(self, float32=cores * self.float32, half=cores * self.half)

    def seconds(self, work: "Work") -> float:
        """Return how long some work takes."""
        products = sum(count * self._product(product) for product, count in work.products.items())
        computing = products + work.moved_bytes / self.bandwidth
        calling = work.calls * self.call_seconds
        return max(computing, calling) if self.overlaps else computing + calling

    def _product(self, product: "Product") -> float:
        wide = product.dtype.itemsize >= 4 or (self.imitates and "bfloat16" in str(product.dtype))
        numbers = product.rows * product.inner + product.inner * product.columns + product.rows * product.columns
        moved = product.batch * numbers * product.dtype.itemsize
        return max(product.operations / (self.float32 if wide else self.half), moved / self.bandwidth)


@dataclass(frozen=True)
class Speed:
    """Says how fast a machine is at best and at worst."""

    fast: Rates
    slow: Rates

    def seconds(self, work: "Work") -> "Likely":
        """Return how long some work takes: a range, and its geometric middle."""
        from afina.study.needs import Likely

        low, high = self.fast.seconds(work), self.slow.seconds(work)
        return Likely(low, (low * high) ** 0.5, high)
