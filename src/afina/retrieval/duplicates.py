"""Find chunks whose text stands before them already, word for word or nearly: each is kept once, with all its places."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from afina.corpus.near_duplicates import PERMUTATIONS, first_of_each, signature
from afina.retrieval.edition import Edition, EditionWriter, text_digest

__all__ = ["SIGNATURES", "mark_duplicates"]

SIGNATURES = "signatures.npz"
_SHORTEST = 200
"""Characters; of shorter texts (rows of a table) a word may be the whole difference."""
_NUMBERS = re.compile(r"\d+")


def mark_duplicates(
    writer: EditionWriter, standing: Edition | None, folder: Path, near: float,
    tell: Callable[[str, int, int | None], None],
) -> int:  # fmt: skip
    """Note in a new edition which chunks are the same as earlier ones, or from similarity `near` on nearly; return of how
    many only nearly.

    Texts with other numbers are never nearly the same: 3 mg is not 30 mg.
    """
    once = writer.once()
    if not near or len(once) < 2:
        return 0
    known = _known(standing)
    # A connection that writes is read here through the same methods: nothing is committed yet.
    edition = Edition(folder, base=writer.base)
    digests: list[bytes] = []
    signatures = np.zeros((len(once), PERMUTATIONS), np.uint16)
    numbers: list[int] = []
    for place, (number, digest) in enumerate(once):
        if place % 1000 == 0:
            tell("looking for duplicates", place, len(once))
        # A signature follows from the text alone, so that only what is new is read.
        if digest in known:
            signatures[place], numeral = known[digest]
        else:
            text = edition.text_of(number)
            # Short texts have a signature of their own, which none is like.
            signatures[place] = signature(text) if len(text) >= _SHORTEST else _own(digest)
            numeral = hash_of_numbers(text)
        digests.append(digest)
        numbers.append(numeral)
    # As plain arrays, which are read without running anything.
    np.savez(folder / SIGNATURES, digests=np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16),
             signatures=signatures, numbers=np.array(numbers, np.uint64))  # fmt: skip
    first = first_of_each(signatures, near)
    pairs = [
        (once[later][0], once[earlier][0])
        for later, earlier in enumerate(first.tolist())
        # Nearly the same words with other numbers say something else.
        if earlier != later and numbers[earlier] == numbers[later]
    ]
    writer.near(pairs)
    return len(pairs)


def _known(standing: Edition | None) -> dict[bytes, tuple[np.ndarray, int]]:
    """Return the signatures that an earlier edition has, by their texts' digests."""
    if standing is None or not (standing.folder / SIGNATURES).is_file():
        return {}
    with np.load(standing.folder / SIGNATURES) as file:
        digests, signatures, numbers = file["digests"], file["signatures"], file["numbers"].tolist()
    return {digest.tobytes(): (signatures[row], numbers[row]) for row, digest in enumerate(digests)}


def _own(digest: bytes) -> np.ndarray:
    """Return a signature that is like no other text's."""
    # Drawn from the digest, so that it is the same at every run.
    seed = int.from_bytes(digest[:8], "little")
    return np.random.default_rng(seed).integers(0, 1 << 16, PERMUTATIONS, dtype=np.uint16)


def hash_of_numbers(text: str) -> int:
    """Return 64 bits that tell the numbers in a text, in their order, from others."""
    return int.from_bytes(text_digest(" ".join(_NUMBERS.findall(text)))[:8], "little")
