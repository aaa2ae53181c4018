"""Hard labels: the task's own loss, with the teacher's likeliest answer for the label.  Kim and Rush, 2016, arXiv:1606.07947.

Where text is written that is the token which the teacher finds likeliest at each place of the text that is there. For
texts that it wrote itself, let it write them (`afina generate`) and learn from these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from afina.distil.signal import Said, Signal, signal
from afina.ops.soft_targets import top_tokens
from afina.tasks.base import Task

__all__ = ["Hard"]


@signal("hard")
@dataclass(frozen=True, kw_only=True)
class Hard(Signal):
    """Teaches a teacher's answers as if they were labels."""

    title = "hard labels"

    def keeps(self, task: Task) -> dict[str, Any]:
        return {"best" if task.writes else "answers": None}

    def kept(self, said: Said) -> dict[str, Tensor]:
        if not said.task.writes:
            return {"answers": said.answers().float()}
        return {"best": top_tokens(said.states(), said.language.multiplied(), 1, said.words or None).ids[:, 0].int()}

    def loss(self, said: Said, taught: Mapping[str, Tensor], trained: Mapping[str, Tensor]) -> Tensor:
        if not said.task.writes:
            return said.task.hard_loss(said.answers(), taught["answers"])
        return said.language.losses(said.head.looked_at(said.hidden), taught["best"].long())[0].sum()
