"""Keep adapters at hand by name: loaded when first asked for, in versions that are counted, of folders that may change.

A request takes a version and gives it back; it has that one to its end, whatever becomes of the folder meanwhile. A version
that no longer stands for its name goes from memory when the last request has given it back.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, RLock
from typing import NamedTuple

from afina.adapters.format import format_of
from afina.errors import AfinaError, UsageError
from afina.predictor.load import load
from afina.predictor.predictor import Predictor
from afina.serve.bases import Bases
from afina.serve.documents import DocumentSettings, settings_in
from afina.serve.folders import Stamp, check_ordinary, is_adapter, named_in, stamp_of

__all__ = ["UNNAMED", "Does", "NoSuchAdapter", "Shelf", "Version"]


class NoSuchAdapter(AfinaError):
    """Nothing of this name can be asked; where a folder has it, the sentence says what is wrong with that."""


class _BeingWritten(NoSuchAdapter):
    """A folder that changed each time that it was read."""


class Does(NamedTuple):
    """Says what an adapter can be asked for, None where that is not known."""

    writes: bool | None = None
    labels: bool | None = None
    """True for what answers a text with labels, a number or tags of its own, which an adapter that writes may do too."""


@dataclass(eq=False)
class Version:
    """An adapter as its folder was when it was loaded."""

    name: str
    number: int
    """Counts the versions of all names, so that no two are the same."""
    stamp: Stamp
    predictor: Predictor | None
    """None once it went from memory."""
    documents: DocumentSettings | None = None
    """The documents from which it answers, where its folder names some."""
    users: int = 0
    retired: bool = False

    @property
    def bytes(self) -> int:
        """Return what its weights take."""
        return 0 if self.predictor is None else sum(own.nbytes for own in self.predictor.adapter.parameters())

    def loaded(self) -> Predictor:
        """Return what answers; only of one that somebody has taken."""
        assert self.predictor is not None, "a version is taken before it is asked"
        return self.predictor


@dataclass(eq=False)
class _Place:
    folder: Path
    stamp: Stamp
    seen: Stamp
    """The folder's contents at the last look: they count only once two looks in a row agree."""
    current: Version | None = None
    problem: tuple[Stamp, str] | None = None
    """The contents that could not be loaded, and why."""
    given: bool = False
    """True if a person named it; otherwise it comes from the folder of adapters."""
    missed: bool = False
    """True if the last look did not find it."""
    hidden: bool = False
    """True if a person took it away; it comes back when its folder changes."""
    does: tuple[Stamp, Does] | None = None
    """The contents that were looked at, and what they do; None before."""


@dataclass
class Shelf:
    """Holds the adapters of a folder by name; all may be called from any thread."""

    bases: Bases
    folder: Path | None = None
    precision: str | None = None
    """That in which all are taken, whatever they were trained in."""
    tell: Callable[[str], None] = lambda sentence: None
    freed: Callable[[Predictor], None] = lambda predictor: None
    """Called with what goes from memory, for whoever else holds it."""
    _places: dict[str, _Place] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)
    _versions: int = 0
    _lock: RLock = field(default_factory=RLock)
    _loading: Lock = field(default_factory=Lock)

    def names(self) -> list[str]:
        """Return the names that can be asked for."""
        with self._lock:
            return sorted(name for name, place in self._places.items() if not place.hidden)

    def there(self) -> list[Version]:
        """Return the versions that stand for their names now and are in memory."""
        with self._lock:
            return [place.current for place in self._places.values() if place.current is not None]

    def current(self, name: str) -> Version | None:
        """Return the version that a name stands for, without taking it; None where none is in memory."""
        with self._lock:
            place = self._places.get(name)
            return None if place is None else place.current

    def does(self, name: str) -> Does:
        """Return what an adapter can be asked for, as its folder says, no weights read."""
        with self._lock:
            place = self._places.get(name)
            if place is None:
                return Does()
            if place.does is not None and place.does[0] == place.stamp:
                return place.does[1]
            folder, stamp = place.folder, place.stamp
        try:
            check_ordinary(folder)
            form = format_of(folder)
            record = form.record(folder)
            writes = form.base(record).speaks
            does = Does(writes, not writes or bool(record.task.get("label_names")))
        except Exception:  # what is wrong with it is said to whoever asks for it
            does = Does()
        place.does = stamp, does
        return does

    def look(self) -> None:
        """Look at the folders again: take up what is new, note what has changed, let go of what is not there."""
        by_name = named_in(self.folder) if self.folder is not None else {}
        with self._lock:
            for name, folders in by_name.items():
                self._see(name, folders)
            for name, place in list(self._places.items()):
                if place.given:
                    self._see_change(place)
                elif name in by_name:
                    place.missed = False
                elif not place.missed:
                    place.missed = True  # a folder that takes another's place is not there for a moment
                else:
                    self._retire(place.current)
                    del self._places[name]
                    self.tell(f"{name} is no longer there.")

    def _see(self, name: str, folders: list[Path]) -> None:
        """Take up a name that stands in the folder; one that two adapters have stays with the one that had it first."""
        place = self._places.get(name)
        # Names go into answers, logs and terminals: what is no text there, or moves a cursor, is nobody's name.
        if not name.isprintable():
            self._say_once(f"{str(folders[0])!r} has a name that cannot be written and is not served; rename it.")
        elif name == self.bases.name:
            self._say_once(f"{folders[0]} has the name of the base model and is not served; rename it.")
        # The one that had the name keeps it: a second folder must not change what a name stands for.
        elif len(folders) > 1 and (place is None or place.folder not in folders):
            both = " and ".join(map(str, folders))
            self._say_once(f"{both} are both called {name}, and neither is served; rename one.")
        elif place is None:
            stamp = stamp_of(folders[0])
            self._places[name] = _Place(folders[0], stamp, stamp)
        elif not place.given:
            if place.folder not in folders:
                place.folder = folders[0]
            self._see_change(place)

    def _see_change(self, place: _Place) -> None:
        """Note contents that have changed and are settled."""
        now = stamp_of(place.folder)
        # Seen alike twice: a folder that is still being written to changes between two looks.
        if now != place.stamp and now == place.seen:
            place.stamp, place.hidden = now, False
        place.seen = now

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self.tell(sentence)

    def ready(self, name: str) -> Version | None:
        """Take the version of a name where that takes no time, None where it has to be loaded first."""
        with self._lock:
            place = self._places.get(name)
            if place is None or place.hidden or place.current is None or place.current.stamp != place.stamp:
                return None
            place.current.users += 1
            return place.current

    def knows(self, name: str) -> bool:
        """Return whether a name can be asked for; one that is new to it is looked for in the folder."""
        if name not in self.names():
            with suppress(OSError):  # a folder that is out of reach for a while: what was there stays
                self.look()
        return name in self.names()

    def take(self, name: str) -> Version:
        """Take the version that a name stands for now, to be given back; raises `NoSuchAdapter` where there is none."""
        if (there := self.ready(name)) is not None:
            return there
        if not self.knows(name):
            raise NoSuchAdapter(f"There is no model '{name}' here.")
        with self._loading:
            if (there := self.ready(name)) is not None:
                return there
            with self._lock:
                place = self._places.get(name)
                if place is None or place.hidden:
                    raise NoSuchAdapter(f"There is no model '{name}' here.")
            try:
                self._load(name, place)
            except _BeingWritten:  # until it stands still the name stands for what it did
                with self._lock:
                    if place.current is None:
                        raise
                    place.current.users += 1
                    return place.current
        return self.take(name)

    def give_back(self, version: Version) -> None:
        """Give a version back; it goes from memory if it is an old one and this was its last user."""
        with self._lock:
            version.users -= 1
            self._free(version)

    def put(self, name: str, folder: Path) -> None:
        """Take up a folder under a name that a person chose, and load it; what had the name is retired.

        Raises `UsageError` for a name that is the base model's or a folder that is no adapter, `NoSuchAdapter` for one that
        cannot be loaded, after which the name stands for what it did.
        """
        if name == self.bases.name:
            raise UsageError(f"'{name}' is the base model's name; choose another.")
        if not is_adapter(folder):
            raise UsageError(f"{folder} is no adapter: it has neither afina.json nor adapter_config.json.")
        with self._loading:
            stamp = stamp_of(folder)
            place = _Place(folder, stamp, stamp, given=True)
            self._load(name, place)
            with self._lock:
                # Loaded before it takes the name: if it cannot be, the old version still stands.
                before = self._places.get(name)
                self._retire(before.current if before else None)
                self._places[name] = place

    def drop(self, name: str) -> None:
        """Let go of a name; requests that have its version keep it. Raises `NoSuchAdapter` where there is none."""
        with self._lock:
            place = self._places.get(name)
            if place is None or place.hidden:
                raise NoSuchAdapter(f"There is no model '{name}' here.")
            self._retire(place.current)
            if place.given:
                del self._places[name]
            else:
                place.current, place.hidden = None, True

    # -- what happens under the locks

    def _load(self, name: str, place: _Place) -> None:
        """Load a place's folder as it is now, all of it of one time, and retire what stood for it."""
        with self._lock:
            stamp, problem = place.stamp, place.problem
        # What was wrong with these very contents is said again without reading them again.
        if problem is not None and problem[0] == stamp:
            raise NoSuchAdapter(problem[1])

        # Its files are looked at before and after reading: one that changed meanwhile would be half of each.
        for left in reversed(range(_TRIES)):
            stamp = stamp_of(place.folder)
            try:
                predictor, documents = self._read(name, place.folder), settings_in(place.folder, self.folder)
            except Exception as error:  # a foreign file may make anything go wrong in there
                # Where nobody is writing to it, it is as wrong as it will be.
                if not left or (stamp and stamp_of(place.folder) == stamp):
                    raise self._refused(name, place, stamp, error) from None
            else:
                if stamp_of(place.folder) == stamp:
                    break
            if not left:
                raise _BeingWritten(f"'{name}' is being written to; ask again when it is whole.")
            time.sleep(_PAUSE)  # its files may be of two times
        with self._lock:
            before, place.problem = place.current, None
            place.stamp = place.seen = stamp
            self._versions += 1
            version = Version(name, self._versions, stamp, predictor, documents)
            # Of a name that a person took away meanwhile nothing stays in memory.
            place.current = None if place.hidden else version
            self._retire(version if place.hidden else before)
        for note in predictor.notes:
            self._say_once(f"{name}: {note.rstrip('.')}")
        self.tell(f"{name} is loaded: {predictor.record.method}, {predictor.task.name}.")

    def _refused(self, name: str, place: _Place, stamp: Stamp, error: Exception) -> NoSuchAdapter:
        """Remember what is wrong with a folder's contents, and return what is said of it to whoever asks."""
        # A path of this machine is nothing for whoever asks over a network.
        sentence = f"'{name}' cannot be loaded: {str(error).replace(str(place.folder), name)}"
        with self._lock:
            place.stamp = place.seen = stamp
            place.problem = stamp, sentence
        self.tell(f"{place.folder} cannot be loaded: {error}")
        return NoSuchAdapter(sentence)

    def _read(self, name: str, folder: Path) -> Predictor:
        """Load a folder onto the base; raises `AfinaError` in a sentence for one that does not stand on it."""
        check_ordinary(folder)
        form = format_of(folder)
        record = form.record(folder)
        if form.method(record).owns_backbone:
            raise UsageError(
                f"{folder} has changed the whole model, and here one model serves all; serve what it became by itself."
            )
        if record.model != UNNAMED and not self.bases.is_called(record.model):
            raise UsageError(
                f"{folder} adapts {record.model}, not {self.bases.name}, which is served here; if that is the same model "
                f"elsewhere, say so by --same {record.model}."
            )
        if record.model == UNNAMED:
            self._say_once(f"{name} names no base model, and is taken for one of {self.bases.name}.")
        else:
            form.check_base(folder, record)
        standing = self.bases.standing(form.base(record))
        return load(folder, model=standing.backbone.name, precision=self.precision, beside=standing)

    def _retire(self, version: Version | None) -> None:
        if version is not None:
            version.retired = True
            self._free(version)

    def _free(self, version: Version) -> None:
        if version.retired and version.users <= 0 and version.predictor is not None:
            self.freed(version.predictor)
            version.predictor = None


_TRIES, _PAUSE = 10, 0.1
"""Number of attempts to read a folder that is being written to, and the seconds between them."""
UNNAMED = "(unnamed)"
"""A record's base where the folder names none."""
