"""Reckon with the work of a rehearsal: of shorter rows, several times over, of several parts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from afina.measure.storages import Product, Work

__all__ = ["added", "narrowed", "parts_of"]


def narrowed(work: Work, share: float) -> Work:
    """Return the work of batches whose rows have only a share of the tokens of these, whose sizes are the longest.

    The sizes that go by the tokens are known by what they are: the rows of the largest products, and in attention the width.
    """
    alone = Counter[int]()
    for product, count in work.products.items():
        if product.batch == 1:
            alone[product.rows] += count * product.operations
    tokens = alone.most_common(1)[0][0] if alone else 0
    widths = {product.rows for product in work.products if product.batch > 1 and product.rows == product.columns}
    products = Counter[Product]()
    for product, count in work.products.items():
        products[_shrunk(product, widths if product.batch > 1 else {tokens}, share)] += count
    return Work(products, round(work.moved_bytes * share), work.calls)


def _shrunk(product: Product, shrinks: set[int], share: float) -> Product:
    # Another size may be the same by chance: of attention's products two go by the width, of others one by the tokens.
    left, sizes = 2 if product.batch > 1 else 1, {}
    for name in ("rows", "columns", "inner"):
        if left and getattr(product, name) in shrinks:
            sizes[name], left = max(1, round(getattr(product, name) * share)), left - 1
    return replace(product, **sizes)


def added(*works: tuple[Work, float]) -> Work:
    """Return the work of all these, each done so often."""
    products, moved, calls = Counter[Product](), 0.0, 0.0
    for work, times in works:
        for product, count in work.products.items():
            products[product] += count * times  # type: ignore[assignment]
        moved, calls = moved + times * work.moved_bytes, calls + times * work.calls
    return Work(products, round(moved), round(calls))


def parts_of(work: Mapping[str, Work], *parts: str) -> Work:
    """Return the work of these parts together."""
    return added(*((work[part], 1.0) for part in parts if part in work))
