"""Define what an optimiser is, and keep the registry: one file an optimiser, found in this folder by `afina/registry.py`.

An optimiser is a frozen dataclass of its settings that builds torch optimisers over what a run trains. It says too what it
keeps of them, so that a plan knows before anything is built.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from afina.errors import UsageError
from afina.registry import Registry
from afina.settings import check_measure, make_named

__all__ = [
    "OPTIMISERS",
    "OUTSIDE",
    "Group",
    "OptimiserKind",
    "Trained",
    "divided",
    "drawn",
    "make_optimiser",
    "optimiser",
]

OUTSIDE = -1
"""The number of no layer: weights of the base that lie in none, such as its embeddings."""
Group = dict[str, Any]
"""Parameters (`params`) with their `weight_decay` and the `factor` on the run's rate, as torch's optimisers take them."""


@dataclass(frozen=True)
class Trained:
    """Describe what a run trains, as an optimiser needs to know it; parameters on `meta` will do to count by."""

    parameters: Mapping[str, nn.Parameter]
    layers: Mapping[str, int] = field(default_factory=dict)
    """The layer of each that lies in one, or `OUTSIDE`; a head is in neither."""
    seed: int = 0
    total_steps: int = 1
    device: str = "cpu"

    def matrices(self) -> list[nn.Parameter]:
        """Return the weights (m, n) that lie in a layer; no embeddings, and no head."""
        return [
            value
            for name, value in self.parameters.items()
            if value.ndim == 2 and self.layers.get(name, OUTSIDE) != OUTSIDE
        ]

    def numbers(self) -> int:
        return sum(value.numel() for value in self.parameters.values())


@dataclass(frozen=True, kw_only=True)
class OptimiserKind:
    """An optimiser; subclasses add their settings as fields, and say what they keep."""

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    """The name that results call it by."""
    rate_factor: ClassVar[float] = 1.0
    """The factor of `learning_rate: auto`, which is a rule for AdamW (`benchmarks/optimisers.py`)."""
    as_adamw: ClassVar[bool] = False
    """True if its steps are AdamW's but for rounding, so that AdamW's rate is its own."""
    by_turns: ClassVar[bool] = False
    """True if only some of what a run trains has gradients at a time."""
    every: ClassVar[str] = ""
    """The setting that says after how many steps a costly part of a step comes again; empty where all steps are alike."""

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            check_measure(self.name, entry.name, value)
            if value is not None and not value > 0:
                raise UsageError(f"{self.name}: {entry.name} should be above 0, not {value}.")

    def build(self, groups: Sequence[Group], rate: float, trained: Trained) -> list[torch.optim.Optimizer]:
        """Return the torch optimisers that share the parameters among them."""
        raise NotImplementedError

    def state_bytes(self, trained: Trained) -> int:
        """Return the bytes of what it keeps from step to step."""
        raise NotImplementedError

    def gradient_bytes(self, trained: Trained) -> int:
        """Return the bytes of the gradients that are there at one time."""
        return 4 * trained.numbers()

    def step_bytes(self, trained: Trained) -> int:
        """Return the bytes that a step takes while it computes, beyond what is kept."""
        return 0

    def check(self, method: str, trained: Trained) -> None:
        """Raise `UsageError` where it can do nothing with what a method trains, or not on this device."""

    def begin(self, parts: Sequence[torch.optim.Optimizer], step: int) -> None:
        """Make ready for step `step` (from 1), before its gradients are computed."""

    def settings(self) -> dict[str, Any]:
        """Return all settings as JSON-able values."""
        return dataclasses.asdict(self)


OPTIMISERS: Registry[type[OptimiserKind]] = Registry("optimiser", "afina.optimisers")
"""All optimisers by name."""
optimiser = OPTIMISERS.register


def make_optimiser(given: Any, who: str = "") -> OptimiserKind:
    """Make an optimiser from what a study file says: its name, or {name: {setting: value}}.

    Raises `UsageError` for an unknown one or an unknown setting, naming the nearest; `who` begins its sentence.
    """
    return make_named(OPTIMISERS, given, f"{who}: optimiser: " if who else "optimiser: ")


def divided(groups: Sequence[Group], chosen: Sequence[nn.Parameter]) -> tuple[list[Group], list[Group]]:
    """Return the groups of the parameters that are `chosen`, and those of all others; empty ones are left out."""
    ours = set(map(id, chosen))
    inside: list[Group] = []
    outside: list[Group] = []
    for group in groups:
        for place, wanted in ((inside, True), (outside, False)):
            if members := [value for value in group["params"] if (id(value) in ours) is wanted]:
                place.append(group | {"params": members})
    return inside, outside


def drawn(*numbers: int) -> torch.Generator:
    """Return a source of random numbers that these numbers alone decide; on the CPU, so that all devices draw the same."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
