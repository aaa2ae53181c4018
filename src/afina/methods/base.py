"""Define what a method is, and keep the registry: one file a method, found in this folder by `afina/registry.py`."""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import Placed
from afina.backbone.quantise import packed
from afina.backbone.row import ArchitectureRow
from afina.backbone.storage.base import STORAGES
from afina.checked import MadeInPython
from afina.errors import AfinaError, UsageError
from afina.methods.peft_form import PeftForm
from afina.methods.rates import RateRule
from afina.mitigation.base import make_mitigation
from afina.optimisers.base import OptimiserKind, make_optimiser
from afina.precision import QUANTISED
from afina.registry import Registry, listing
from afina.settings import check_measure, checked_settings

__all__ = [
    "LONGEST_PROMPT",
    "METHODS",
    "Method",
    "Schedule",
    "check_prompt",
    "make_method",
    "method",
    "method_names",
    "probing_method",
    "registry",
]


LONGEST_PROMPT = 4_096
"""Positions, or keys and values of a layer, that a method may add; more would not be a prompt but most of the memory."""


def check_prompt(length: int, folder: Path) -> int:
    """Return the length of a prompt or prefix of another program's; raises `AfinaError` for one that ours may not have."""
    # Before anything is allocated: the length stands in a file that a stranger wrote.
    if not 1 <= length <= LONGEST_PROMPT:
        raise AfinaError(f"{folder}: its prompt has {length:,} vectors, and from 1 to {LONGEST_PROMPT:,} are taken.")
    return length


class Schedule:
    """Acts beside the optimiser's steps; the loop calls it and knows no more of it."""

    def after_step(self, step: int) -> None:
        """Act after the optimiser's step `step` (from 1), its gradients still in place."""

    def state(self) -> dict[str, Tensor]:
        """Return the tensors that a checkpoint has to hold."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""


@dataclass(frozen=True, kw_only=True)
class Method(MadeInPython):
    """A way of adapting a backbone; subclasses add their settings as fields and say what they can do."""

    name: ClassVar[str] = ""
    portuguese: ClassVar[str] = ""
    """The first line of its docstring in Portuguese."""
    mergeable: ClassVar[bool] = False
    """True where every branch has a `fold`."""
    owns_backbone: ClassVar[bool] = False
    """Trains the backbone's own weights, so it runs alone."""
    identity_start: ClassVar[bool] = True
    """True where a fresh adapter leaves the model's logits exactly as they are."""
    gradient_free: ClassVar[bool] = False
    """Fits on cached features instead of training by steps."""
    quantised: ClassVar[bool] = False
    """Wants a quantised base: `precision.QUANTISED`, unless the study's precision is another that quantises."""
    probe: ClassVar[bool] = False
    """True for the one method whose steps stand for any method's where precisions are timed; it has a rank."""
    head_alone: ClassVar[bool] = False
    """Trains nothing but the head, which every method trains that has one: what the others should at least reach."""
    paged: ClassVar[bool] = False
    """Keeps AdamW's moments in memory that a GPU short of its own may page out (bitsandbytes; plain AdamW on a CPU)."""
    peft: ClassVar[PeftForm | None] = None
    """Its form in PEFT's files; None where PEFT does not have it."""
    rates: ClassVar[RateRule] = RateRule(1e-3)
    """The rule that gives the rate of `learning_rate: auto`."""
    writer_rates: ClassVar[RateRule | None] = None
    """The same where the model speaks with its own language head; None where that makes no difference."""
    writer_settings: ClassVar[Mapping[str, Any]] = {}
    """Defaults that are others where a model learns to write."""

    learning_rate: float | None = None
    """Peak learning rate; left out, what `rates` says for the run's steps, model and task."""
    rate_factor: float = 1.0
    """A factor of that rate: `learning_rate: search` and races try several."""
    weight_decay: float = 0.0
    """AdamW's, of matrices; this and the next three are the study's unless a method is given its own."""
    warmup: float = 0.0
    """Share of the steps in which the rate rises to its peak."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """The shape of the rate's fall after that."""
    gradient_clip: float | None = 1.0
    """Largest norm of a step's gradient; None for no limit."""
    optimiser: str | dict[str, Any] = "adamw"
    """The optimiser: its name, or {name: {setting: value}}; this too is the study's unless a method has its own."""
    mitigate: str | dict[str, Any] | None = None
    """A mitigation of bias, of texts with one class each: `reweigh`, `balance`, `swap` or `thresholds`, or {name: {...}}."""
    length_normalisation: float = 0.0
    """Weight of T-Few's loss of that name, for `task: choices` (`tasks/choices.py`); nothing elsewhere."""
    unlikelihood: float = 0.0
    """Weight of T-Few's unlikelihood of wrong answers, likewise."""

    def __post_init__(self) -> None:
        # Every field of a subclass too, so that no method has to think of infinities.
        for entry in dataclasses.fields(self):
            check_measure(self.name, entry.name, getattr(self, entry.name))
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise UsageError(f"{self.name}: learning_rate should be above 0, not {self.learning_rate}.")
        if not 0 < self.rate_factor < math.inf:
            raise UsageError(f"{self.name}: rate_factor should be above 0, not {self.rate_factor}.")
        # Two ways to say one number: which of them was meant nobody could tell.
        if self.learning_rate is not None and self.rate_factor != 1:
            raise UsageError(f"{self.name}: rate_factor multiplies auto's rate; beside a learning_rate leave it out.")
        if self.weight_decay < 0 or not 0 <= self.warmup < 1:
            raise UsageError(
                f"{self.name}: weight_decay should be at least 0 and warmup from 0 up to 1, "
                f"not {self.weight_decay:g} and {self.warmup:g}."
            )
        if self.gradient_clip is not None and self.gradient_clip <= 0:
            raise UsageError(f"{self.name}: gradient_clip should be above 0 or null, not {self.gradient_clip:g}.")
        make_optimiser(self.optimiser, self.name)
        mitigation = None if self.mitigate is None else make_mitigation(self.mitigate, f"{self.name}: ")
        if mitigation is not None and mitigation.takes_steps and self.gradient_free:
            raise UsageError(
                f"{self.name}: it takes no steps, whose rows could be weighed or drawn, and is asked on no development "
                "split; take mitigate: swap."
            )
        for key, value in self.loss_weights().items():
            if value < 0:
                raise UsageError(f"{self.name}: {key} should be at least 0, not {value:g}.")

    @property
    def reads_model(self) -> bool:
        """Return whether the backbone runs at all: what is fitted on words needs its tokenizer alone."""
        return True

    def with_rate(self, *, steps: int, width: int, speaks: bool = False) -> Self:
        """Return the method with the learning rate of a run of so many steps on a model so wide; one that is set stays."""
        # A fitted model takes no steps, for which a rate could be.
        if self.learning_rate is not None or self.gradient_free:
            return self
        # Three digits: what a person reads in the study's file is what was trained with.
        factor = self.rate_factor * self.steps_by.rate_factor
        rate = float(f"{self.rule(speaks=speaks).rate(steps, width) * factor:.3g}")
        return dataclasses.replace(self, learning_rate=rate, rate_factor=1.0)

    @property
    def steps_by(self) -> OptimiserKind:
        """Return the optimiser that its settings name."""
        return make_optimiser(self.optimiser, self.name)

    def rule(self, *, speaks: bool) -> RateRule:
        """Return the rule of `auto`, where settings change it for these."""
        # A language head is there already, while a new one has to be learned first.
        return self.writer_rates if speaks and self.writer_rates is not None else self.rates

    def roles(self) -> tuple[str, ...]:
        """Return the roles that it acts at, its `targets` unless it says others; `all` stands for those that there are."""
        return tuple(getattr(self, "targets", ()))

    def missing_role(self, row: ArchitectureRow) -> str | None:
        """Return the first of its roles that an architecture has no module for, or None."""
        return next((role for role in self.roles() if role in row.lacks), None)

    def precision_on(self, study: str) -> str:
        """Return the precision of this method's base in a study whose precision is `study`.

        Raises `UsageError` for a method that trains the weights themselves, where they would be quantised.
        """
        storage = STORAGES.get(study)  # none of `auto`, which stands for one that trains them
        if self.owns_backbone and storage is not None and not storage.trains_weights:
            raise UsageError(
                f"{self.name} trains the model's own weights, which precision: {study} freezes in fewer bits; leave "
                f"{self.name} out, or set precision: bf16."
            )
        # A method that wants a quantised base takes the study's own kind, if it is one.
        return QUANTISED if self.quantised and packed(study) is None else study

    def loss_weights(self) -> dict[str, float]:
        """Return the weights of the terms that a task may add to its loss."""
        return {"length_normalisation": self.length_normalisation, "unlikelihood": self.unlikelihood}

    def in_every_layer(self) -> "Method":
        """Return the method as it is in the layers that have branches, for a model that has only such."""
        return self

    def sites(self, anatomy: Anatomy) -> list[Site]:
        """Return the sites at which this method acts on a model of this anatomy."""
        return []

    def branch(self, site: Site) -> Placed:
        """Make the branch for a site, with fresh weights from torch's current random state."""
        raise NotImplementedError(f"{self.name} has sites and no branch")

    def shared(self, sites: Sequence[Site]) -> nn.Module | None:
        """Make what all branches of one adapter share and none trains alone: kept and saved once, beside the branches."""
        return None

    def connect(self, branches: Mapping[str, Placed], shared: nn.Module | None) -> None:
        """Let branches of one adapter, by site name, have what they share; called once, before any branch starts."""

    def rate_factors(self, names: Iterable[str], anatomy: Anatomy) -> dict[str, float]:
        """Return by what the learning rate of some parameters differs, by their names among what a run trains."""
        return {}

    def steps_beside(self, branches: Mapping[str, Placed], total_steps: int) -> Schedule | None:
        """Return what acts beside the optimiser over `total_steps` steps, or None."""
        return None

    def peft_config(self, sites: Sequence[Site], total_steps: int | None, prefix: str) -> dict[str, Any]:
        """Return what PEFT's adapter_config.json has to say beyond its type and targets; `prefix` stands before modules."""
        return {}

    def joins(self, sites: Sequence[Site]) -> bool:
        """Return whether PEFT's file has words for these sites, slices of a fused projection joined (`adapters/fused.py`)."""
        if self.peft is None or not self.peft.direct:
            return False
        return bool(self.peft.fused) or all(site.part is None for site in sites)

    def stored(self) -> "Method":
        """Return the method that a saved adapter is loaded as, when its branches are stored in another form."""
        return self

    def remarks(self, written: Collection[str]) -> list[str]:
        """Return what follows from the settings that a person wrote and is not seen in them, a sentence each."""
        return []

    def settings(self) -> dict[str, Any]:
        """Return all settings as JSON-able values."""
        values = dataclasses.asdict(self)
        # Lists for tuples, as JSON and YAML have no tuples and what is compared is what was read.
        listed = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        # Left out where there is none, so that what is kept of a run is what it was before there were any.
        return {key: value for key, value in listed.items() if key != "mitigate" or value is not None}

    def changed_settings(self) -> dict[str, Any]:
        defaults = type(self)().settings()
        return {key: value for key, value in self.settings().items() if value != defaults.get(key)}


METHODS: Registry[type[Method]] = Registry("method", "afina.methods")
"""All methods by name."""


def method(name: str) -> Callable[[type[Method]], type[Method]]:
    """Enter a class into the registry of methods under the name that study files use."""

    def register(cls: type[Method]) -> type[Method]:
        # dataclass would print every setting; what differs from the defaults is what a person wrote.
        cls.__repr__ = _described  # type: ignore[assignment, method-assign]
        # Registered after, so that what the registry hands out is already so described.
        return METHODS.register(name)(cls)

    return register


def _described(made: Method) -> str:
    """Describe a method as it would be written: the class with what differs from its defaults."""
    return f"{type(made).__name__}({', '.join(f'{key}={value!r}' for key, value in made.changed_settings().items())})"


def registry() -> Mapping[str, type[Method]]:
    """Return all methods by name."""
    return METHODS


def probing_method(rank: int) -> Method:
    """Return the method, of a rank, of which a step stands for one of any where precisions are timed."""
    # Asked of the listing, not of classes: a study that only times need not import all methods.
    (name,) = (
        name for name, entry in listing(METHODS.package, METHODS.decorator).items() if entry.constants.get("probe")
    )
    return make_method(name, {"rank": rank})


def method_names() -> list[str]:
    """Return the names of all methods, sorted."""
    return list(METHODS)


def make_method(name: str, settings: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Method:
    """Make a method from what a study file says.

    `defaults` are the study's own values (rank, targets, ...); a method takes those it has a setting for. Raises
    `UsageError` for an unknown method or setting, naming the nearest, and for a value of the wrong type.
    """
    cls = METHODS.named(name)
    return cls(**checked_settings(cls, name, settings, defaults))
