"""Know machines by what people call them: `T4`, `RTX 3060 12GB`, `24GB`, `8GB RAM, 4 cores`.

One more card is one row of `cards.json`, with its maker's document.
"""

import difflib
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from afina.errors import UsageError, shown
from afina.study.devices.speed import Rates, Speed

__all__ = ["Device", "Room", "device_named"]

_GB = 2**30
_SYSTEM = 0.5e9, 2e9
"""The least and the most that a computer's system and its other programs are taken to have of its memory."""
_REACHED = Rates(0.9, 0.9, 0.9, 4e-6, overlaps=True), Rates(0.2, 0.2, 0.4, 3e-5, overlaps=False)
"""Shares of a card's peaks that steps are taken to reach, at best and at worst, and the seconds of a call."""
_CORE = Rates(1.5e11, 1.5e11, 5e10, 3e-6, overlaps=True), Rates(1e10, 5e9, 8e9, 4e-5, overlaps=False)
"""The same of a core of any processor of the last ten years, in operations a second; the bandwidth is that of all cores."""
_CORES = 4
"""Cores that a computer is taken to have of which only the memory is known."""


@dataclass(frozen=True)
class Room:
    """The least and the most memory that a run may take there."""

    least: float
    most: float


@dataclass(frozen=True)
class Device:
    """Describes a machine by what is published of it."""

    name: str
    kind: str
    """`cuda` or `cpu`."""
    memory_bytes: float
    bfloat16: bool = False
    """True if it computes in bfloat16 rather than imitating it."""
    speed: Speed | None = None
    """None where nothing is known of it but the memory."""
    watts: float | None = None
    """The power that it is made for."""
    source: str = ""
    """The document that says so."""

    @property
    def room(self) -> Room:
        """Return what a run may take: of a card all, as what its driver takes is counted with the run."""
        if self.kind == "cuda":
            return Room(self.memory_bytes, self.memory_bytes)
        least, most = _SYSTEM
        return Room(self.memory_bytes - most, self.memory_bytes - least)


def device_named(text: str) -> Device:
    """Return the machine that is called so; raises `UsageError` in one sentence that lists near names."""
    wanted = _plain(text)
    if match := re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)gb?(?:vram|gpu|card)?", wanted):
        return Device(text.strip(), "cuda", _sized(text, match[1]), bfloat16=True)
    if match := re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)gb?ram(?:(\d{1,9})(?:cores?|cpus?))?", wanted):
        cores = _CORES if match[2] is None else int(match[2])
        if not 1 <= cores <= 4096:
            raise UsageError(f"{shown(text)} has {cores} cores; write between 1 and 4096.")
        fast, slow = (own.times(cores) for own in _CORE)
        return Device(text.strip(), "cpu", _sized(text, match[1]), speed=Speed(fast, slow))
    rows = [row for row in _cards() if wanted in (_plain(row["name"]), f"{_model(row)}{row['memory_gb']}gb")]
    rows = rows or [row for row in _cards() if _model(row) == wanted]
    if not rows and wanted:
        rows = [row for row in _cards() if _plain(row["name"]).startswith(wanted)]
    if len(rows) == 1:
        return _card(rows[0])
    if rows:
        raise UsageError(f"{shown(text)} may be {_listed([row['name'] for row in rows], 'or')}; name one of them.")
    raise UsageError(_unknown(text))


def _sized(text: str, number: str) -> float:
    size = float(number)
    if not 0.5 <= size <= 100_000:
        raise UsageError(
            f"{shown(text)} is no memory that a machine has; write it as 24GB, or 8GB RAM for a computer's."
        )
    return size * _GB


def _card(row: dict[str, Any]) -> Device:
    # Without bfloat16 of its own it is computed in float32, and changed to and fro.
    peaks = {kind: 1e12 * row[kind] for kind in ("float32", "half")}
    fast, slow = (
        Rates(peaks["float32"] * own.float32, peaks["half"] * own.half, 1e9 * row["bandwidth"] * own.bandwidth,
              own.call_seconds, overlaps=own.overlaps, imitates=not row["bfloat16"])
        for own in _REACHED
    )  # fmt: skip
    memory = row["memory_gb"] * _GB * (15 / 16 if row["ecc"] else 1)
    return Device(row["name"], "cuda", memory, row["bfloat16"], Speed(fast, slow), row["watts"], row["source"])


def _unknown(text: str) -> str:
    """Say that nobody knows a name, and which are like it."""
    if re.search(r"\b(apple|mac|m[1-9])\b|macbook", text.casefold()):
        return (
            f"{shown(text)}: Afina computes on a Mac's processor, of which it knows no figures; write its memory and cores: "
            "'16GB RAM, 8 cores'."
        )
    names = {_plain(row["name"]): row["name"] for row in _cards()} | {_model(row): row["name"] for row in _cards()}
    near = difflib.get_close_matches(_plain(text), names, n=4, cutoff=0.5)
    like = list(dict.fromkeys(names[name] for name in near)) or [row["name"] for row in _cards()]
    form = "24GB for a card, '8GB RAM, 4 cores' for a computer"
    known = f"{'near it are' if near else 'it knows'} {_listed(like, 'and')}"
    return f"{shown(text)} is no machine that Afina knows; {known}; or write its memory: {form}."


def _listed(names: list[str], joint: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {joint} {names[-1]}"


def _plain(name: str) -> str:
    """Return a name as it is compared: small letters and digits, without its maker."""
    return re.sub(r"nvidia|geforce|tesla|[^a-z0-9.]", "", name.casefold())


def _model(row: dict[str, Any]) -> str:
    """Return a card's name without its memory."""
    return _plain(re.sub(r" \d+GB$", "", row["name"]))


@cache
def _cards() -> list[dict[str, Any]]:
    text = resources.files("afina.study.devices").joinpath("cards.json").read_text("utf-8")
    rows: list[dict[str, Any]] = json.loads(text)["cards"]
    return rows
