"""Packing: short sequences side by side in one row of a batch, none wider for it than its longest sequence."""

import numpy as np

__all__ = ["pack"]


def pack(lengths: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each sequence's row and its place there (N,): first fit, the longest first.

    First fit decreasing takes at most 11/9 of the fewest rows possible, and one more (Johnson, 1973); a row of the result
    costs what one without packing does, and there are never more of them.
    """
    rows, places = np.zeros(len(lengths), dtype=np.int64), np.zeros(len(lengths), dtype=np.int64)
    used = np.zeros(len(lengths), dtype=np.int64)
    for index in np.argsort(-lengths, kind="stable"):
        row = int(np.argmax(used + lengths[index] <= width))
        rows[index], places[index] = row, used[row]
        used[row] += lengths[index]
    return rows, places
