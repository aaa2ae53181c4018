"""Find the encoding of a file of text: UTF-8, a byte order mark's, or one that its bytes make sure enough of.

Most files that are not UTF-8 come from a spreadsheet in Western Europe or Brazil. Read as each of that region's code
pages, the right one gives words: letters of one language's alphabet, no capital behind a small letter, no sign within a
word. Of other regions charset-normalizer tells the encoding, where one fits clearly better than the next.
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from afina.errors import UsageError

__all__ = ["Encoding", "check_encoding", "recognise"]

_BLOCK = 1 << 20
_SAMPLE = 64 << 10
"""Bytes of lines with more than ASCII that are looked at."""
_ENOUGH = 20_000
"""Lines that are not UTF-8 after which a file with none that is needs no further reading."""

_SURE = 0.15
"""Share of a language's frequent letters (charset-normalizer's coherence) from which little text is enough."""
_FEW = 8

_MARKS = ((codecs.BOM_UTF32_LE, "utf-32", "UTF-32"), (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
          (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"), (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
          (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"))  # fmt: skip
_WESTERN = (
    ("cp1252", "Windows-1252"),
    ("cp850", "code page 850 (DOS)"),
    ("mac_roman", "Mac Roman"),
    ("iso8859_15", "ISO 8859-15"),
)
_OTHERS = ("cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r", "cp866", "cp852", "cp932",
           "euc_jp", "gb18030", "big5", "cp949")  # fmt: skip
_ALPHABETS = tuple(map(frozenset, (
    "áàâãçéêíóôõúü", "áéíóúüñç", "àâæçéèêëîïôœùûü", "äöüßé", "àèéìíîòóùú", "éëïöüèáóíúê", "æøåéäöüà", "äöåšžé",
    "áéíóúýþæöð", "àçèéíïòóúü", "äöõüšž",
)))  # fmt: skip
"""Letters beyond a to z of Portuguese, Spanish, French, German, Italian, Dutch, Danish and Swedish, Finnish, Icelandic,
Catalan and Estonian."""
_FREQUENT = frozenset("ãçéáíóêõúâàñäöüßèåøæôœ")
_WORDS = frozenset("éàáóèòùâêæåíô")
"""Letters that are words by themselves."""
_JOINS = frozenset("’‘´·\u00ad–—…/ªº")
"""Signs that stand within words."""


@dataclass(frozen=True)
class Encoding:
    """Says how a file's bytes become text."""

    codec: str
    name: str
    """The name that people know it by."""
    note: str = ""
    """A sentence on what was assumed; empty for plain UTF-8."""
    broken: str = ""
    """The place that no encoding reads, or at which a file that is UTF-8 elsewhere is not: `line 7: the byte 0xe9 is not
    UTF-8`."""


@dataclass
class _Seen:
    """Counts what passed by: lines with more than ASCII that are UTF-8, those that are not, and a sample of the latter."""

    lines: int = 0
    good: int = 0
    bad: int = 0
    first: tuple[int, int] = (0, 0)
    """Line and byte of the first that is not UTF-8."""
    sample: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, line: bytes) -> None:
        self.lines += 1
        if line.isascii():
            return
        try:
            line.decode("utf-8")
            self.good += 1
        except UnicodeDecodeError as error:
            self.first = self.first if self.bad else (self.lines, line[error.start])
            self.bad += 1
            # As much of a line as there is room for: one line may be the whole file.
            if self.size < _SAMPLE:
                self.sample.append(line[: _SAMPLE - self.size])
                self.size += len(self.sample[-1])


def check_encoding(name: str) -> str:
    """Return Python's name of an encoding; raises `UsageError` for one that there is not."""
    try:
        if not codecs.lookup(name)._is_text_encoding:
            raise LookupError
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        raise UsageError(
            f"encoding: there is no '{name}'; write utf-8, cp1252, latin-1 or utf-16, for example."
        ) from None


def recognise(file: BinaryIO) -> Encoding:
    """Return the encoding of an open file, which is read to its end in blocks."""
    start = file.read(_BLOCK)

    # A byte order mark says it all. Those of UTF-32 come first, as they begin with those of UTF-16.
    for mark, codec, name in _MARKS:
        if start.startswith(mark):
            return Encoding(codec, name, "" if name == "UTF-8" else f"read as {name}")

    # UTF-16 without a mark shows by its zeros, which text in one byte a letter has not.
    if (wide := _without_mark(start)) is not None:
        return wide
    seen = _Seen()
    for block in _blocks(file, start):
        if block.isascii():
            seen.lines += block.count(b"\n")
            continue
        lines = block.split(b"\n")[:-1] if block.endswith(b"\n") else block.split(b"\n")
        # A block that is UTF-8 as a whole needs no look at its lines.
        if _is_utf8(block):
            seen.lines += len(lines)
            seen.good += sum(not line.isascii() for line in lines)
            continue
        for line in lines:
            seen.add(line)
        if seen.bad > _ENOUGH and not seen.good:
            break
    return _concluded(seen)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _blocks(file: BinaryIO, start: bytes) -> Iterator[bytes]:
    """Yield whole lines together; of a line longer than a block, as much as there is, cut between characters."""
    rest = b""
    while start:
        rest += start
        start = file.read(_BLOCK)
        end = rest.rfind(b"\n") + 1
        if not end and len(rest) >= 4 * _BLOCK:
            # At most three bytes of a character stand at the end without its others.
            end = max((place for place in range(len(rest) - 4, len(rest)) if rest[place] & 0xC0 != 0x80), default=0)
        if end:
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _without_mark(start: bytes) -> Encoding | None:
    """Recognise UTF-16 by the zeros that every other byte of Western text is."""
    head = start[: 1 << 16]
    odd, even = head[1::2].count(0), head[::2].count(0)
    for codec, many, few in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if len(head) > 3 and many > 0.3 * len(head) / 2 and few < 0.02 * len(head) / 2 + 1:
            return Encoding(codec, "UTF-16", "read as UTF-16, which its bytes show though no mark says so")
    return None


def _concluded(seen: _Seen) -> Encoding:
    if not seen.bad:
        return Encoding("utf-8", "UTF-8")
    line, byte = seen.first
    where = f"line {line}: the byte 0x{byte:02x} is not UTF-8"
    # A few bad lines among many good ones are damage, and no other encoding.
    if seen.good > 0.02 * seen.bad:
        return Encoding(
            "utf-8", "UTF-8", broken=f"{where}, though {seen.good:,} other lines are; mend that line, or save"
        )
    sample = b"\n".join(seen.sample)
    recognised = _western(sample) or _elsewhere(sample)
    if isinstance(recognised, str):
        return Encoding(
            "utf-8", "UTF-8", broken=f"{where}{recognised}; say which encoding it is with encoding:, or save"
        )
    codec, name = recognised
    shown = " ".join(seen.sample[0].decode(codec, "replace").split())
    example = shown if len(shown) <= 50 else _around(seen.sample[0], codec)
    return Encoding(codec, name, f"read as {name}, since it is not UTF-8 (line {line}: {example!r})")


def _around(line: bytes, codec: str) -> str:
    text = line.decode(codec, "replace")
    place = next((at for at, letter in enumerate(text) if not letter.isascii()), 0)
    return f"...{' '.join(text[max(0, place - 20) : place + 25].split())}..."


def _western(sample: bytes) -> tuple[str, str] | None:
    """Return the code page in which a sample reads best, Windows-1252 where others are no better."""
    best, chosen = 0.0, None
    for codec, name in _WESTERN:
        try:
            text = sample.decode(codec)
        except UnicodeDecodeError:
            continue
        if (score := _read_as(text)) > best:
            best, chosen = score, (codec, name)
    # Of equal ones the first, which is the commonest.
    return chosen


def _read_as(text: str) -> float:
    """Return how well what is not ASCII reads, from 0 for what is no Western text to 1 for frequent letters alone."""
    # Spaces around it, so that each letter has a neighbour on both sides.
    odd, letters = 0, []
    text = f" {text} "
    for place, letter in enumerate(text):
        if letter.isascii():
            continue
        before, after = text[place - 1], text[place + 1]
        if letter.isalpha() and letter not in "ªº":
            letters.append(letter.lower())
            alone = not (before.isalnum() or after.isalnum()) and letter.lower() not in _WORDS
            odd += alone or before.isdigit() or after.isdigit() or (letter.isupper() and before.islower())
        elif not letter.isprintable() and letter not in "\u00a0\u00ad":
            odd += 1
        elif letter == "\u00a0":
            odd += before.isspace() or after.isspace() or (before.isalpha() and after.isalpha())
        elif "\u2500" <= letter <= "\u259f" or (before.isalpha() and after.isalpha() and letter not in _JOINS):
            odd += 1
    known = max(sum(letter in alphabet for letter in letters) for alphabet in _ALPHABETS)
    every = sum(not letter.isascii() for letter in text)
    if odd > 0.02 * every or known < 0.97 * len(letters):
        return 0.0
    frequent = sum(letter in _FREQUENT for letter in letters)
    return (frequent + 0.5 * (every - len(letters)) + 0.2 * (len(letters) - frequent)) / every


def _elsewhere(sample: bytes) -> tuple[str, str] | str:
    """Return what charset-normalizer is sure of, or what to say where it is not."""
    from charset_normalizer import from_bytes

    # By its measure of disorder: what reads as noise is not the encoding.
    fitting = [match for match in from_bytes(sample, cp_isolation=list(_OTHERS)) if match.chaos < 0.1]
    if not fitting:
        return ", and no encoding that is known fits the file"
    best, *others = sorted(fitting, key=lambda match: (-match.coherence, match.chaos))
    # Two encodings that read the same text alike are no doubt.
    close = [match for match in others if match.coherence > best.coherence - 0.15 and str(match) != str(best)]
    if close:
        names = " or ".join(match.encoding for match in (best, *close[:2]))
        return f", and the file may be {names}"
    if best.coherence < _SURE and sum(not letter.isascii() for letter in str(best)) < _FEW:
        return ", and there is too little of it to tell what it is"
    return best.encoding, best.encoding.replace("cp125", "Windows-125")
