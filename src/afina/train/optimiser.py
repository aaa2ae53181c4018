"""Step what a run trains with its optimiser (`optimisers/`) and the usual learning-rate schedules."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from afina.methods.base import Method
from afina.optimisers.base import Group, OptimiserKind, Trained, make_optimiser

__all__ = ["By", "Course", "Optimiser", "rate_factor", "steps_by"]


def rate_factor(step: int, total: int, *, schedule: str, warmup: float) -> float:
    """Return the factor on the peak rate at `step` (from 1) of `total`: linear warm-up, then the schedule's decay."""
    # By the whole run's steps, so that a run that goes on finds the rate of its step.
    rise = int(warmup * total)
    done = step - 1
    if done < rise:
        # The first step has a rate already: a step at zero would be lost.
        return (done + 1) / rise
    left = 1 - (done - rise) / max(1, total - rise)
    return {"linear": left, "cosine": 0.5 * (1 + math.cos(math.pi * (1 - left))), "constant": 1.0}[schedule]


class Course(NamedTuple):
    """Says how the rate changes over a run's steps."""

    schedule: str = "linear"
    warmup: float = 0.0
    """Share of the steps in which it rises."""


class By(NamedTuple):
    """Says what takes the steps, and what it has to know."""

    kind: OptimiserKind | None = None
    """AdamW if left out."""
    layers: Mapping[str, int] = MappingProxyType({})
    """The layer of each parameter that lies in one, or `OUTSIDE`."""
    seed: int = 0
    """The seed of what it draws."""


_USUAL, _ADAMW = Course(), By()


class Optimiser:
    """Updates named parameters by an optimiser, with gradients clipped by their common norm."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        learning_rate: float,
        total_steps: int,
        course: Course = _USUAL,
        weight_decay: float = 0.0,
        gradient_clip: float | None = 1.0,
        rate_factors: Mapping[str, float] | None = None,
        by: By = _ADAMW,
    ) -> None:
        """Take named parameters; `rate_factors` multiply `learning_rate` for the parameters that they name.

        What takes turns (`optimisers/blocks.py`) switches off the gradients of those whose turn it is not. Raises
        `UsageError` where a library is not installed.
        """
        self.parameters = dict(parameters)
        self.learning_rate, self.total_steps = learning_rate, total_steps
        self.course, self.gradient_clip = course, gradient_clip
        self.kind = by.kind or make_optimiser("adamw")

        # Biases, scales and norms are vectors, and are not decayed, as in the original BERT.
        # Weight decay is for matrices: pulling biases and scales to zero would change what a fresh adapter does.
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.parameters.items():
            # Parameters of one rate and one decay are stepped together, which takes one call of the device's.
            groups.setdefault(((rate_factors or {}).get(name, 1.0), parameter.ndim > 1), []).append(parameter)
        own_groups: list[Group] = [
            {"params": own, "weight_decay": weight_decay if decays else 0.0, "factor": factor}
            for (factor, decays), own in groups.items()
        ]
        trained = Trained(self.parameters, by.layers, by.seed, total_steps)
        self.parts = self.kind.build(own_groups, learning_rate, trained)
        self.kind.begin(self.parts, 1)

    def step(self, step: int) -> None:
        """Take step `step` (from 1) with the gradients that are there."""
        factor = rate_factor(step, self.total_steps, schedule=self.course.schedule, warmup=self.course.warmup)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.learning_rate * factor * group["factor"]
        # Each member's own gradient is clipped by itself: what it learns may not depend on who trains beside it.
        if self.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.parameters.values(), self.gradient_clip)
        for part in self.parts:
            part.step()
        self.kind.begin(self.parts, step + 1)

    def clear(self) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Return moments and step counts by parameter name, for a checkpoint."""
        return {
            f"{name}/{key}": torch.as_tensor(value)  # some count their steps in plain numbers
            for name, parameter in self.parameters.items()
            for part in self.parts
            for key, value in part.state.get(parameter, {}).items()
            if value is not None
        }

    def load_state(self, state: Mapping[str, Tensor], step: int = 0) -> None:
        """Restore what `state` returned after step `step`."""
        self.kind.begin(self.parts, step + 1)
        parts = {id(own): part for part in self.parts for group in part.param_groups for own in group["params"]}
        for name, parameter in self.parameters.items():
            restored: dict[str, Any] = {
                key.rpartition("/")[2]: _restored(value, parameter.device)
                for key, value in state.items()
                if key.rpartition("/")[0] == name
            }
            if restored:
                part = parts[id(parameter)]
                part.state[parameter] = (
                    _as_paged(part, parameter, restored) if getattr(part, "is_paged", False) else restored
                )


def steps_by(method: Method, device: str) -> OptimiserKind:
    """Return the optimiser of a method on a device: where nothing else was asked for, a paged one for those that want it."""
    plain = method.optimiser == "adamw"
    return make_optimiser("paged_adamw") if plain and method.paged and device == "cuda" else method.steps_by


def _restored(value: Tensor, device: torch.device) -> Tensor | int:
    """Return what was kept on its device; a whole number by itself as the number that it was."""
    return int(value) if value.ndim == 0 and value.dtype == torch.int64 else value.to(device, copy=True)


def _as_paged(part: Any, parameter: nn.Parameter, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parameter's state with its moments copied into memory that may be paged out."""
    return {
        key: part.get_state_buffer(parameter, dtype=value.dtype).copy_(value) if key in ("state1", "state2") else value
        for key, value in state.items()
    }
