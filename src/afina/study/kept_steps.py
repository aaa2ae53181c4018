"""Keep what a run's parameters were at some of its steps, with the norms of their gradients: `runs/RUN/checkpoints/`.

`afina inspect` shows how they moved. The checkpoint by which a killed run goes on is another file, which has all its state.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from afina.methods.base import Schedule
from afina.train.checkpoint import write_checkpoint

__all__ = ["CHECKPOINTS", "KeptSteps", "kept_after", "step_file"]

CHECKPOINTS = "checkpoints"
"""The folder's name, in a run's."""


def kept_after(count: int, total_steps: int) -> list[int]:
    """Return the steps after which parameters are kept: `count` evenly spaced ones up to the last, each once."""
    return sorted({int(step) for step in np.linspace(total_steps / count, total_steps, count).round()} - {0})


def step_file(folder: Path, step: int) -> Path:
    """Return the file of a step in a run's folder; 0 is before the first."""
    return folder / CHECKPOINTS / f"step-{step:07d}.safetensors"


class KeptSteps(Schedule):
    """Keeps parameters beside what a method does between steps."""

    def __init__(
        self, beside: Schedule | None, parameters: Mapping[str, nn.Parameter], folder: Path, steps: list[int]
    ) -> None:
        self._beside, self._parameters, self._folder, self._steps = beside, parameters, folder, set(steps)
        # Before any step: what is kept there is where all of them began.
        if not step_file(folder, 0).exists():
            self._keep(0)

    def after_step(self, step: int) -> None:
        if self._beside is not None:
            self._beside.after_step(step)
        if step in self._steps:
            self._keep(step)

    def state(self) -> dict[str, Tensor]:
        return {} if self._beside is None else self._beside.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        if self._beside is not None:
            self._beside.load_state(state)

    def _keep(self, step: int) -> None:
        # As the step took them: cut to the run's `gradient_clip`.
        norms = {
            name: float(value.grad.float().norm()) for name, value in self._parameters.items() if value.grad is not None
        }
        path = step_file(self._folder, step)
        write_checkpoint(path, dict(self._parameters), {"step": step, "gradient_norms": norms})
