"""Step with AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101) and the usual learning-rate schedules."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from afina.errors import UsageError

__all__ = ["Course", "Optimiser", "rate_factor"]


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


_USUAL = Course()


class Optimiser:
    """Updates named parameters by AdamW, with gradients clipped by their common norm."""

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
        paged: bool = False,
    ) -> None:
        """Take named parameters; `rate_factors` multiply `learning_rate` for the parameters that they name.

        With `paged` the moments lie in memory that a GPU short of its own may page out; raises `UsageError` where
        bitsandbytes is not installed.
        """
        self.parameters = dict(parameters)
        self.learning_rate, self.total_steps = learning_rate, total_steps
        self.course, self.gradient_clip = course, gradient_clip

        # Biases, scales and norms are vectors, and are not decayed, as in the original BERT.
        # Weight decay is for matrices: pulling biases and scales to zero would change what a fresh adapter does.
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.parameters.items():
            # Parameters of one rate and one decay are stepped together, which takes one call of the device's.
            groups.setdefault(((rate_factors or {}).get(name, 1.0), parameter.ndim > 1), []).append(parameter)
        own_groups = [
            {"params": own, "weight_decay": weight_decay if decays else 0.0, "factor": factor}
            for (factor, decays), own in groups.items()
        ]
        self.paged = paged
        self.adamw: Any = (
            _paged_adamw(own_groups, learning_rate)
            if paged
            else torch.optim.AdamW(own_groups, lr=learning_rate, fused=True)
        )

    def step(self, step: int) -> None:
        """Take step `step` (from 1) with the gradients that are there."""
        factor = rate_factor(step, self.total_steps, schedule=self.course.schedule, warmup=self.course.warmup)
        for group in self.adamw.param_groups:
            group["lr"] = self.learning_rate * factor * group["factor"]
        # Each member's own gradient is clipped by itself: what it learns may not depend on who trains beside it.
        if self.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.parameters.values(), self.gradient_clip)
        self.adamw.step()

    def clear(self) -> None:
        self.adamw.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Return moments and step counts by parameter name, for a checkpoint."""
        return {
            f"{name}/{key}": torch.as_tensor(value)  # of the paged form the step count is a plain number
            for name, parameter in self.parameters.items()
            for key, value in self.adamw.state.get(parameter, {}).items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for name, parameter in self.parameters.items():
            state_dict: dict[str, Any] = {
                key.rpartition("/")[2]: value.to(parameter.device, copy=True)
                for key, value in state.items()
                if key.rpartition("/")[0] == name
            }
            if state_dict:
                self.adamw.state[parameter] = self._as_paged(parameter, state_dict) if self.paged else state_dict

    def _as_paged(self, parameter: nn.Parameter, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return a parameter's state with its moments copied into memory that may be paged out."""
        moments: dict[str, Any] = {"step": int(state["step"])}
        for key, value in state.items():
            if key != "step":
                moments[key] = self.adamw.get_state_buffer(parameter).copy_(value)
        return moments


def _paged_adamw(groups: list[dict[str, Any]], learning_rate: float) -> Any:
    try:
        from bitsandbytes.optim import PagedAdamW32bit
    except ImportError:
        raise UsageError("Paged AdamW needs bitsandbytes: pip install 'afina[quantised]'.") from None
    return PagedAdamW32bit(groups, lr=learning_rate, weight_decay=0.0)
