"""Personal data in texts: e-mail addresses, telephone numbers, and Brazil's CPF and CNPJ by their check digits."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

__all__ = ["KINDS", "find_personal", "is_cnpj", "is_cpf", "mask_personal"]

KINDS = ("email", "cpf", "cnpj", "phone")

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,24}(?![\w-])")
_CPF = re.compile(r"(?<![\w.-])\d{3}\.?\d{3}\.?\d{3}[-/ ]?\d{2}(?![\w-]|\.\d)")
_CNPJ = re.compile(r"(?<![\w.-])[\dA-Z]{2}\.?[\dA-Z]{3}\.?[\dA-Z]{3}/?[\dA-Z]{4}-?\d{2}(?![\w-]|\.\d)")
# Ten or eleven digits with Brazil's area code, or any number with a country's code; bare digits alone are no telephone.
_PHONE = re.compile(
    r"(?<![\w.,/-])(?:(?:\+?55[ .-]?)?(?:\(0?[1-9]\d\)[ .-]?|0?[1-9]\d[ .-])(?:9[ .]?)?[2-9]\d{3}[ .-]?\d{4}"
    r"|(?:\+?1[ .-]?)?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4}"
    r"|\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,5})(?![\w/]|[.,-]\d)"
)


def is_cpf(text: str) -> bool:
    """Return whether the digits are a CPF: eleven, the last two right (weights 10 to 2, then 11 to 2, modulo 11)."""
    # Eleven equal digits pass the check and are nobody's number.
    digits = [int(letter) for letter in text if letter.isdigit()]
    return len(digits) == 11 and len(set(digits)) > 1 and all(
        digits[place] == _check(digits[:place], range(place + 1, 1, -1)) for place in (9, 10)
    )  # fmt: skip


def is_cnpj(text: str) -> bool:
    """Return whether these are a CNPJ: fourteen signs, the last two right; letters (since 2026) count code - 48."""
    values = [ord(letter) - 48 for letter in text if letter.isascii() and letter.isalnum()]
    return len(values) == 14 and len(set(values)) > 1 and all(
        # Weights run from 2 to 9 and begin again, from the right.
        values[place] == _check(values[:place], (2 + (place - 1 - i) % 8 for i in range(place))) for place in (12, 13)
    )  # fmt: skip


def _check(values: list[int], weights: Iterator[int] | range) -> int:
    rest = sum(value * weight for value, weight in zip(values, weights, strict=True)) % 11
    # A rest of ten or eleven is written as zero.
    return 0 if rest < 2 else 11 - rest


def _matches(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield kind, start and end; where two overlap, the kind that is named first."""
    # Without a sign or a digit there is none of it: most texts are done here.
    if not ("@" in text or any(letter.isdigit() for letter in text)):
        return
    taken: list[tuple[int, int]] = []  # in their order, so that only what stands beside a match is asked
    for kind, pattern, check in (
        ("email", _EMAIL, None),
        ("cpf", _CPF, is_cpf),
        ("cnpj", _CNPJ, is_cnpj),
        ("phone", _PHONE, _is_phone),
    ):
        for match in pattern.finditer(text):
            start, end = match.span()

            # Numbers of other things look alike; check digits tell a CPF from an order's number.
            place = bisect_left(taken, (start, end))
            apart = all(end <= low or start >= high for low, high in taken[max(0, place - 1) : place + 1])
            if apart and (check is None or check(match[0])):
                taken.insert(place, (start, end))
                yield kind, start, end


def _is_phone(text: str) -> bool:
    # Fifteen digits are the most that a number has by its standard (E.164).
    return 8 <= sum(letter.isdigit() for letter in text) <= 15


def find_personal(text: str) -> Counter[str]:
    """Count what a text holds, by `KINDS`."""
    return Counter(kind for kind, _, _ in _matches(text))


def mask_personal(text: str) -> str:
    """Return the text with `[EMAIL]`, `[CPF]`, `[CNPJ]` or `[PHONE]` in place of each."""
    pieces, at = [], 0
    for kind, start, end in sorted(_matches(text), key=lambda match: match[1]):
        pieces += [text[at:start], f"[{kind.upper()}]"]
        at = end
    return "".join((*pieces, text[at:]))
