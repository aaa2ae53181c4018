"""Define what the observer of `Study.run` is told: one class an event.

An event's figures are its attributes, and its keys as well: `event["kind"]` is the class's name in small letters, and a line
of events.jsonl is the mapping as it stands. A kind or figure that there is not is an error where it is written.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from afina.data.tokens.preview import Learned
from afina.results.result import Epoch as Entry
from afina.results.result import Result
from afina.study.plan import Run

__all__ = [
    "KINDS", "Again", "Audit", "Begin", "Cohort", "Embed", "End", "Epoch", "Evaluate", "Event", "Failed", "Finished",
    "Judged", "Left", "Less", "Missing", "Observer", "Precision", "Prepare", "Prepared", "Profile", "Profiling", "Remade",
    "Remarks", "Resumed", "Search", "Spread", "Step", "Teach", "Teaching", "Together", "Tried", "Unaudited", "Unit",
    "Unread", "Untried",
]  # fmt: skip

KINDS: dict[str, type["Event"]] = {}
"""Every event's class by its kind."""


@dataclass(frozen=True, kw_only=True)
class Event(Mapping[str, Any]):
    """Something that happened; figures that have their defaults are no keys."""

    kind: ClassVar[str] = ""
    search: bool = False
    """True in a trial of `learning_rate: search`."""
    beside: bool = False
    """True where other units of the study are carried out at the same time."""

    def __init_subclass__(cls) -> None:
        # By its class alone, so that a kind can be misspelt nowhere.
        cls.kind = cls.__name__.lower()
        KINDS[cls.kind] = cls

    def figures(self) -> dict[str, Any]:
        """Return the keys beside `kind`, in their order."""
        # The fields of the base come first, and last here.
        ordered = sorted(fields(self), key=lambda field: field.name in Event.__dataclass_fields__)
        # What has its default is not written: most events are of no search.
        return {
            field.name: getattr(self, field.name) for field in ordered if getattr(self, field.name) != field.default
        }

    def __getitem__(self, key: str) -> Any:
        return self.kind if key == "kind" else self.figures()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(("kind", *self.figures()))

    def __len__(self) -> int:
        return 1 + len(self.figures())


Observer = Callable[[Event], None]
"""Is told what happens."""


@dataclass(frozen=True, kw_only=True)
class Begin(Event):
    """A study begins, or goes on."""

    runs: int


@dataclass(frozen=True, kw_only=True)
class End(Event):
    """It is over, or was broken off."""


@dataclass(frozen=True, kw_only=True)
class Remarks(Event):
    """A person should know these things of the study's settings, a sentence each."""

    remarks: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Prepare(Event):
    """A data set is read and tokenised for a model."""

    model: str
    dataset: str


@dataclass(frozen=True, kw_only=True)
class Prepared(Event):
    """It is read; with what was assumed or changed, a sentence each."""

    notes: Sequence[str]
    learned: Learned | None
    """Counts of the tokens that are trained, where the model learns to write text."""
    cut: Mapping[str, int]
    """Number of texts that were cut, by split."""


@dataclass(frozen=True, kw_only=True)
class Unread(Event):
    """The data of finished runs cannot be read any more."""

    dataset: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Missing(Event):
    """A finished run's adapter is gone; it is trained again where its whole folder is."""

    run: str
    again: bool
    result: Result


@dataclass(frozen=True, kw_only=True)
class Remade(Event):
    """A damaged cache is made again."""

    path: str


@dataclass(frozen=True, kw_only=True)
class Precision(Event):
    """Steps of a model are timed to choose its precision."""

    model: str


@dataclass(frozen=True, kw_only=True)
class Teaching(Event):
    """A teacher is asked about a data set's rows, unless it was before."""

    teacher: str
    dataset: str


@dataclass(frozen=True, kw_only=True)
class Teach(Event):
    """So many rows of a split are asked about."""

    split: str
    done: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Search(Event):
    """Learning rates are tried first."""

    trials: int


@dataclass(frozen=True, kw_only=True)
class Untried(Event):
    """Some rates of a method could not be tried."""

    of: int
    model: str
    dataset: str
    label: str
    rates: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Tried(Event):
    """The rates of a finished run that could not be tried have been by now; it is trained again at the best."""

    run: str


@dataclass(frozen=True, kw_only=True)
class Unit(Event):
    """A run alone, or the runs of a cohort, are next; so many runs are done."""

    runs: Sequence[Run]
    done: int


@dataclass(frozen=True, kw_only=True)
class Spread(Event):
    """Several units are carried out at the same time, on as many machines as have room; so many runs are done."""

    runs: Sequence[Run]
    units: int
    done: int


@dataclass(frozen=True, kw_only=True)
class Profiling(Event):
    """A run's first steps are taken alone, to find what its method costs."""

    run: Run


@dataclass(frozen=True, kw_only=True)
class Profile(Event):
    """One more of these steps is done."""

    done: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Together(Event):
    """Steps of so many members in one pass are timed."""

    members: int


@dataclass(frozen=True, kw_only=True)
class Cohort(Event):
    """A cohort's members begin, so many `together` in one pass."""

    members: int
    together: int


@dataclass(frozen=True, kw_only=True)
class Step(Event):
    """Training goes on; told a few times a second."""

    step: int
    steps: int
    training: int
    """Members that still train."""
    seconds: float
    losses: Mapping[str, float]
    """Losses by run, where the device need not be waited for."""


@dataclass(frozen=True, kw_only=True)
class Resumed(Event):
    """Training goes on from a checkpoint."""

    step: int
    steps: int
    training: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Evaluate(Event):
    """So many rows of a split are evaluated."""

    split: str
    done: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Embed(Event):
    """So many rows of a split are embedded."""

    split: str
    done: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Epoch(Event):
    """A run's epoch is evaluated; the keys of its history's entry are the event's."""

    run: str
    metric: str
    """The one that is shown first."""
    entry: Entry
    step: int = 0
    """Steps that it has taken by then; 0 of what takes none."""

    def figures(self) -> dict[str, Any]:
        """Return the keys beside `kind`, the entry's in place of the entry."""
        figures = super().figures()
        return {"run": figures.pop("run"), "metric": figures.pop("metric"), **figures.pop("entry"), **figures}


@dataclass(frozen=True, kw_only=True)
class Judged(Event):
    """A candidate of a race is judged."""

    run: str
    metric: str
    value: float
    place: int
    of: int


@dataclass(frozen=True, kw_only=True)
class Left(Event):
    """A run leaves its cohort before the end."""

    run: str
    why: str
    """`stopped early`, `left the race` or `diverged`."""
    error: str | None
    before: bool = False
    """True if it left before a start that went on from a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Again(Event):
    """A process was killed and is started once more."""

    why: str


@dataclass(frozen=True, kw_only=True)
class Less(Event):
    """Memory ran out, and it goes on with so many rows computed at once."""

    why: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """A run failed: `run` in a cohort, else the one that is at work."""

    run: str | None = None
    error: str


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """A run's result is listed, of one that failed or left a race too."""

    result: Result


@dataclass(frozen=True, kw_only=True)
class Audit(Event):
    """An audit looks at the finished runs; what it does by now is the status, empty where it begins."""

    audit: str
    status: str


@dataclass(frozen=True, kw_only=True)
class Unaudited(Event):
    """An audit could not be made; the next start tries it again."""

    audit: str
    why: str
