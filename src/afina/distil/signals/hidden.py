"""Hidden states by a learned map: |M h_student - h_teacher|^2 / |h_teacher|^2.  Romero et al., 2015, arXiv:1412.6550.

The states are those that the answer is read from (Sun et al., 2019, arXiv:1908.09355): of the first token, of a decoder's
last, or of each word or token that has an answer of its own. M (D_teacher, D_student) is trained with the student and let
go afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from afina.distil.signal import Said, Signal, signal
from afina.tasks.base import Task

__all__ = ["HiddenStates"]


@signal("hidden")
@dataclass(frozen=True, kw_only=True)
class HiddenStates(Signal):
    """Teaches the states of a teacher's last layer, of whatever width, so that it need have no head."""

    title = "hidden states"
    of = "states"

    def keeps(self, task: Task) -> dict[str, Any]:
        return {"states": None}

    def kept(self, said: Said) -> dict[str, Tensor]:
        return {"states": said.states().half()}

    def trained(self, ours: int, theirs: int, seed: int) -> dict[str, Tensor]:
        """Return the map: it begins as the identity between equal widths, else as one that keeps lengths."""
        if ours == theirs:
            return {"map": torch.eye(ours)}
        drawn = torch.empty(theirs, ours)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            torch.nn.init.orthogonal_(drawn)
        return {"map": drawn}

    def loss(self, said: Said, taught: Mapping[str, Tensor], trained: Mapping[str, Tensor]) -> Tensor:
        theirs = taught["states"].float()
        apart = (said.states() @ trained["map"].T - theirs).square().sum(dim=1)
        # By the teacher's own size: a share, whatever the scale of its states.
        total: Tensor = (apart / theirs.square().sum(dim=1).clamp(min=1e-6)).sum()
        return total
