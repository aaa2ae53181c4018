"""Tell who asks by the key that they bring: what they may ask, and how often. Keys are compared by their digests."""

import hashlib
import hmac
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from afina.checked import Checked
from afina.errors import UsageError
from afina.serve.http.refusals import Refusal, busy
from afina.yaml_file import read_yaml

__all__ = ["Caller", "Keys", "lie_open", "read_keys"]


@dataclass(eq=False)
class Caller:
    """Somebody who asks."""

    name: str
    adapters: frozenset[str] | None = None
    """The models that they may ask, the base by its name among them; None for all."""
    admin: bool = False
    rate: float | None = None
    """Requests a minute."""
    _room: float = 0.0
    _last: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._room = max(self.rate or 0.0, 1.0)

    def may(self, model: str) -> bool:
        """Return whether a model is theirs to ask; one that is not is to them as if it were not there."""
        return self.adapters is None or model in self.adapters

    def count(self) -> None:
        """Count a request; raises `Refusal` for one too many a minute, which fills up again all the time."""
        if self.rate is None:
            return
        now = time.monotonic()
        # A bucket that fills up evenly: a minute's requests may come at once, and then as they fill up again.
        # Of less than one a minute there is room for one all the same, which takes longer to fill up.
        self._room = min(max(self.rate, 1.0), self._room + (now - self._last) * self.rate / 60)
        self._last = now
        if self._room < 1:
            raise busy(
                f"This key may ask {self.rate:g} times a minute; wait a little.", (1 - self._room) * 60 / self.rate
            )
        self._room -= 1


_ANYONE = "anyone"
"""The log's name for whoever has no key."""


def _unsendable(key: str) -> str:
    """Return why a key could never be what a request's header brings, or nothing: nobody would know it for theirs."""
    if key != key.strip():
        return "cannot begin or end with spaces or line ends, which no header keeps"
    return "" if key.isprintable() else "cannot hold line ends or other control characters, which no header takes"


class _Entry(Checked):
    """Holds one key of a file of keys."""

    secret = True

    name: str
    """The log's name for whoever has the key."""
    key: Annotated[str, Field(min_length=8)] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """The key's digest, where the file is not to hold the key itself."""
    adapters: list[str] | None = None
    """The models that it may ask, the base model by its name among them; all, unless given."""
    admin: bool = False
    """True if it may load and unload adapters, and read the metrics."""
    rate: Annotated[float, Field(gt=0)] | None = None
    """Requests a minute; as many as there are, unless given."""

    @model_validator(mode="after")
    def _one(self) -> "_Entry":
        if (self.key is None) == (self.sha256 is None):
            raise ValueError("give a key or its sha256, one of the two")
        if self.name == _ANYONE:
            raise ValueError(f"'{_ANYONE}' is the log's name for whoever has no key; take another")
        if self.key is not None and (why := _unsendable(self.key)):
            raise ValueError(f"a key {why}")
        return self


class Keys:
    """Knows all keys by their digests; where there is none, everybody may ask everything."""

    def __init__(self, rate: float | None = None) -> None:
        """Let those whose key says nothing of it ask `rate` times a minute."""
        self._rate = rate
        self._known: list[tuple[bytes, Caller]] = []
        self._taken: set[bytes | str] = set()
        """Digests and names that are given."""
        self._anyone = Caller(_ANYONE, rate=rate)
        self.closed = False
        """True if a key is needed to ask, whatever keys there are."""

    def add(self, digest: bytes, caller: Caller) -> None:
        """Enter a key by its digest; raises `UsageError` for one that another has, or a name that is taken."""
        # A set, as a file may have thousands.
        if not self._taken.isdisjoint((digest, caller.name)):
            raise UsageError(f"Two keys are the same, or both called '{caller.name}'; give each a name of its own.")
        self._taken |= {digest, caller.name}
        # The server's rate is for those whose key says nothing.
        if caller.rate is None and self._rate is not None:
            caller.rate, caller._room = self._rate, max(self._rate, 1.0)
        self._known.append((digest, caller))

    def __bool__(self) -> bool:
        return bool(self._known)

    @property
    def nobody(self) -> Caller:
        """Return who asks where no key is looked at."""
        return self._anyone

    def named(self) -> dict[str, frozenset[str]]:
        """Return by callers' names the models that they alone may ask, of those who may not ask all."""
        return {caller.name: caller.adapters for _, caller in self._known if caller.adapters is not None}

    @property
    def has_admin(self) -> bool:
        """Return whether some key may load and unload."""
        return any(caller.admin for _, caller in self._known)

    @property
    def guards(self) -> bool:
        """Return whether a key is needed to ask; an admin's alone, unless it is of a file, guards what is an admin's."""
        return self.closed or any(not caller.admin for _, caller in self._known)

    def who(self, header: str | None) -> Caller:
        """Return whose key a request's Authorization has; raises `Refusal` for none of ours."""
        scheme, _, given = (header or "").partition(" ")
        # Any other scheme is no key of ours.
        given = given.strip() if scheme.lower() == "bearer" else ""

        # Digests of one length are compared in constant time; the keys themselves are kept nowhere. Headers come as
        # Latin-1, whatever bytes they are.
        digest = hashlib.sha256(given.encode("latin-1", "replace")).digest()
        caller: Caller | None = None
        for known, other in self._known:  # all of them, however early one fits: time tells nothing
            if hmac.compare_digest(known, digest):
                caller = other
        # Where only an admin's key is known, all the rest stays open to everybody.
        if caller is None and self.guards:
            what = "This key is not known here." if given else "A key is needed: Authorization: Bearer KEY."
            raise Refusal(401, what, "invalid_api_key", kind="authentication_error")
        return caller or self._anyone


def read_keys(file: Path | None, api_key: str | None, admin_key: str | None, rate: float | None = None) -> Keys:
    """Return the keys of a file (a list of name, key or sha256, adapters, admin, rate) and those given alone.

    Raises `UsageError` for a file that is none such.
    """
    if rate is not None and not 0 < rate < 1e9:
        raise UsageError(f"--rate should be above 0, not {rate:g}.")
    keys = Keys(rate)
    entries = [] if file is None else read_yaml(file)
    # An empty list too: who names a file of keys wants nobody else to ask.
    if file is not None and not (isinstance(entries, list) and entries):
        raise UsageError(f"{file} should be a list of keys, each with a name and a key.")
    keys.closed = file is not None
    for place, given in enumerate(entries, start=1):
        entry = _Entry.parse(given, f"{file}, key {place}")
        # A digest in the file is as good as the key, and gives nothing away.
        digest = bytes.fromhex(entry.sha256) if entry.sha256 else _digest(entry.key)
        adapters = None if entry.adapters is None else frozenset(entry.adapters)
        keys.add(digest, Caller(entry.name, adapters, entry.admin, entry.rate))
    for name, key, is_admin in (("api-key", api_key, False), ("admin-key", admin_key, True)):
        if key is not None:
            if len(key) < 8:
                raise UsageError(f"--{name} is too short to keep anybody out; take 8 letters or more.")
            if why := _unsendable(key):
                raise UsageError(f"--{name}: a key {why}.")
            keys.add(_digest(key), Caller(name, admin=is_admin))
    return keys


def lie_open(file: Path) -> bool:
    """Return whether everybody on this machine may read the keys in a file; what a digest is of cannot be read from it."""
    if os.name != "posix" or not file.stat().st_mode & 0o004:
        return False
    return any(isinstance(entry, dict) and "key" in entry for entry in read_yaml(file))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
