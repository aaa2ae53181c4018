"""Teach soft targets: T^2 KL(softmax(teacher / T) || softmax(student / T)).  Hinton et al., 2015, arXiv:1503.02531.

Where text is written the teacher is known by its likeliest tokens at each place (`ops/soft_targets.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from afina.distil.signal import Said, Signal, signal
from afina.errors import UsageError
from afina.ops.soft_targets import TopTokens, soft_token_losses, top_tokens
from afina.tasks.base import Task

__all__ = ["Soft"]


@signal("soft")
@dataclass(frozen=True, kw_only=True)
class Soft(Signal):
    """Teaches the probabilities that a teacher gives: how sure it is, and what else it thought of."""

    title = "soft targets"

    temperature: float | None = None
    """The number that logits are divided by; left out, 2 for labels (as in transformers' own example of distillation) and
    1 for tokens (Muralidharan et al., 2024, arXiv:2407.14679)."""
    top: int = 64
    """Likeliest tokens that are kept of each place, where text is written; all others are one class."""

    def at(self, task: Task) -> float:
        """Return the temperature for a task."""
        return self.temperature or (1.0 if task.writes else 2.0)

    def check(self, task: Task) -> None:
        super().check(task)
        if self.temperature is not None and not task.tempered:
            raise UsageError(
                f"distil: soft: a number has no temperature (task: {task.name}); leave temperature out, or set the task."
            )

    def keeps(self, task: Task) -> dict[str, Any]:
        if not task.writes:
            return {"answers": None}
        return {name: [self.top, self.at(task)] for name in ("ids", "shares", "rest")}

    def kept(self, said: Said) -> dict[str, Tensor]:
        if not said.task.writes:
            return {"answers": said.answers().float()}
        head = said.language.multiplied(self.at(said.task))
        top = top_tokens(said.states(), head, self.top, said.words or None)
        # Half precision is a thousandth of a share: less than a teacher's own rounding in bf16.
        return {"ids": top.ids.int(), "shares": top.shares.half(), "rest": top.rest}

    def loss(self, said: Said, taught: Mapping[str, Tensor], trained: Mapping[str, Tensor]) -> Tensor:
        if not said.task.writes:
            return said.task.soft_loss(said.answers(), taught["answers"], self.at(said.task))
        shares = taught["shares"].float()
        # They were rounded: with the rest they are one again.
        shares = shares * ((1 - taught["rest"]) / shares.sum(dim=1).clamp(min=1e-9))[:, None]
        top = TopTokens(taught["ids"].long(), shares, taught["rest"])
        states = said.head.looked_at(said.hidden)
        total: Tensor = torch.sum(soft_token_losses(states, top, said.language.multiplied(self.at(said.task))))
        return total

    def told(self, task: Task) -> str:
        return f"soft targets (temperature {self.at(task):g})" if task.tempered else self.title
