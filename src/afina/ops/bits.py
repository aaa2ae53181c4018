"""Numbers of a few bits side by side in 32-bit words: packed, and read back.

The stream begins with a word's lowest bits. Of bits that do not divide 32, such as 3, a number may begin in one word and end
in the next; words are signed where files keep them, so that every shift is followed by a mask.
"""

from math import gcd

import torch
from torch import Tensor

__all__ = ["pack", "unpack", "words_for"]

_WORD = 32


def words_for(count: int, bits: int) -> int:
    """Return how many 32-bit words hold `count` numbers of so many bits; raises `ValueError` where the last is not full."""
    words, rest = divmod(count * bits, _WORD)
    if rest:
        raise ValueError(f"{count} numbers of {bits} bits fill no whole words")
    return words


def unpack(words: Tensor, bits: int) -> Tensor:
    """Read numbers of 2 to 8 bits: int32 words (W, ...) -> uint8 numbers (W * 32 / bits, ...).

    Raises `ValueError` where the words are no whole number of blocks.
    """
    in_block, first, offset = _block(bits)
    blocks, rest = divmod(len(words), in_block)
    if rest:
        raise ValueError(f"{len(words)} words hold no whole number of blocks of {in_block}")
    grouped = words.view(blocks, in_block, *words.shape[1:])
    codes = torch.empty(blocks, len(first), *words.shape[1:], dtype=torch.uint8, device=words.device)
    for place, (word, shift) in enumerate(zip(first, offset, strict=True)):
        low = min(bits, _WORD - shift)
        value = (grouped[:, word] >> shift) & ((1 << low) - 1)
        if low < bits:  # the rest begins the next word
            value |= (grouped[:, word + 1] & ((1 << (bits - low)) - 1)) << low
        codes[:, place] = value.to(torch.uint8)
    return codes.view(-1, *words.shape[1:])


def pack(codes: Tensor, bits: int) -> Tensor:
    """Write numbers of 2 to 8 bits: (N, ...) -> int32 words (N * bits / 32, ...); the inverse of `unpack`.

    Raises `ValueError` where the numbers are no whole number of blocks.
    """
    in_block, first, offset = _block(bits)
    blocks, rest = divmod(len(codes), len(first))
    if rest:
        raise ValueError(f"{len(codes)} numbers of {bits} bits are no whole number of blocks of {len(first)}")
    grouped = codes.view(blocks, len(first), *codes.shape[1:]).long()
    words = torch.zeros(blocks, in_block, *codes.shape[1:], dtype=torch.int64, device=codes.device)
    for place, (word, shift) in enumerate(zip(first, offset, strict=True)):
        value = grouped[:, place]
        words[:, word] |= (value << shift) & 0xFFFFFFFF
        if shift + bits > _WORD:
            words[:, word + 1] |= value >> (_WORD - shift)
    signed = torch.where(words >= 1 << 31, words - (1 << 32), words)
    return signed.to(torch.int32).view(-1, *codes.shape[1:])


def _block(bits: int) -> tuple[int, list[int], list[int]]:
    """Return the words of the smallest whole block, and for each number in it its first word and its place in that."""
    if not 2 <= bits <= 8:
        raise ValueError(f"numbers of {bits} bits are not packed; of 2 to 8 they are")
    shared = gcd(bits, _WORD)
    starts = [place * bits for place in range(_WORD // shared)]
    return bits // shared, [start // _WORD for start in starts], [start % _WORD for start in starts]
