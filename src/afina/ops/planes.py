"""Numbers of a few bits in planes: a word's highest bits are a row of the first part of a matrix, its lowest one of the last.

HQQ packs so: of rows (N, K) in p parts a word (N / p, K) holds p numbers, those at the same place of every part. Three bits
stand ten to a word of 32, after two that are unused; all others fill a byte.
"""

import torch
from torch import Tensor

__all__ = ["PARTS", "pack_planes", "plane_words", "unpack_planes"]

PARTS = {8: 1, 6: 1, 5: 1, 4: 2, 3: 10, 2: 4, 1: 8}
"""Numbers in a word by their bits; those of 5 and 6 bits have a byte each."""


def plane_words(rows: int, bits: int) -> tuple[int, torch.dtype]:
    """Return how many rows of words hold so many of numbers, and the words' type.

    Raises `ValueError` where the rows are no whole number of parts; those of three bits are filled up.
    """
    parts = PARTS[bits]
    if bits == 3:
        return -(-rows // parts), torch.int32
    if rows % parts:
        raise ValueError(f"{rows} rows of {bits} bits are no whole number of {parts} parts")
    return rows // parts, torch.uint8


def unpack_planes(words: Tensor, bits: int, rows: int) -> Tensor:
    """Read numbers: words (W, K) -> uint8 (rows, K)."""
    parts, step = PARTS[bits], _step(bits)
    codes = [((words >> (step * place)) & ((1 << step) - 1)).to(torch.uint8) for place in reversed(range(parts))]
    return torch.cat(codes)[:rows]


def pack_planes(codes: Tensor, bits: int) -> Tensor:
    """Write numbers: uint8 (rows, K) -> words (W, K); the inverse of `unpack_planes`."""
    parts, step = PARTS[bits], _step(bits)
    length, kind = plane_words(len(codes), bits)
    filled = torch.zeros(length * parts, codes.shape[1], dtype=torch.int32, device=codes.device)
    filled[: len(codes)] = codes
    words = torch.zeros(length, codes.shape[1], dtype=torch.int32, device=codes.device)
    for place, part in enumerate(filled.view(parts, length, -1).flip(0)):
        words |= part << (step * place)
    return words.to(kind)


def _step(bits: int) -> int:
    """Return the bits from one number of a word to the next."""
    return 8 if PARTS[bits] == 1 else bits
