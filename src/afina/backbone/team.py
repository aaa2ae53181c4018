"""The processes that carry out one run together: each computes its share of every batch's rows.

Branches and heads are whole in every process and take the same steps, since their gradients are added up. The backbone's
weights are whole in each process too, or divided among them by torch's FSDP2 (`fully_shard`), layer by layer: then a
layer's are gathered while it computes, and what reads one at another time (`whole`) gathers it, in all processes at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from afina.measure.launched import Launched, launched

__all__ = ["ALONE", "Team", "is_of_another", "joined", "this_team"]

_APART = 1_000_003
"""Distance between the seeds of two processes."""
_WAITS = timedelta(hours=2)
"""The longest that one process waits for another: as long as one of them may write and read files between two steps."""


@dataclass(frozen=True)
class Team:
    """Is the processes of a run, this one among them; of one process alone nothing here does anything."""

    rank: int = 0
    size: int = 1
    launched: Launched | None = None

    @property
    def shards(self) -> bool:
        """Say whether the backbone's weights are divided among the processes."""
        return self.launched is not None and self.launched.shards

    def own_seed(self, seed: int) -> int:
        """Return the seed of what this process draws for its rows, another than that of every other."""
        return seed + _APART * self.rank

    def kept(self, state: Any) -> Any:
        """Return what a checkpoint keeps of a state that each process has of its own."""
        states = self.every(state)
        return states if self.size > 1 else states[0]

    def own(self, kept: Any) -> Any:
        """Return this process's of what `kept` returned; None where other numbers of processes kept it."""
        states = kept if isinstance(kept, list) else [kept]
        return states[self.rank] if len(states) == self.size else None

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier()

    def agreed(self, value: bool) -> bool:
        """Return what the first process thinks: clocks differ, and all have to do the same."""
        return bool(self.every(value)[0])

    def every(self, value: Any) -> list[Any]:
        """Return a value of each process, in their order."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def share(self, rows: np.ndarray) -> np.ndarray:
        """Return this process's rows of those that all compute together.

        Where there are fewer rows than processes it is one that does not count (`counts`): the processes gather weights
        together, so that none may be idle.
        """
        share: np.ndarray = np.array_split(rows, self.size)[self.rank]
        return share if len(share) else rows[:1]

    def counts(self, rows: np.ndarray) -> bool:
        """Say whether this process has rows of its own among these."""
        return self.rank < len(rows)

    def add_up(self, parameters: Mapping[str, nn.Parameter], sums: Sequence[Tensor]) -> None:
        """Make gradients and `sums`, in place, what they are over all processes; no gradient stays none where none is."""
        if self.size == 1:
            return
        import torch.distributed as dist

        for value in sums:
            dist.all_reduce(value)
        owners = [parameter for parameter in parameters.values() if parameter.requires_grad]
        some = torch.tensor([parameter.grad is not None for parameter in owners], dtype=torch.int32)
        dist.all_reduce(some)
        graded = [parameter for parameter, any_ in zip(owners, some.tolist(), strict=True) if any_]
        for kind in sorted({parameter.dtype for parameter in graded}, key=str):
            alike = [parameter for parameter in graded if parameter.dtype == kind]
            gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in alike]

            # One message for all of them: most are small.
            together = torch.cat([gradient.reshape(-1) for gradient in gradients])
            dist.all_reduce(together)
            for parameter, summed in zip(alike, torch.split(together, [each.numel() for each in alike]), strict=True):
                parameter.grad = summed.view_as(parameter)

    def gathered(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Return each part with those of the other processes behind it, in their order."""
        if self.size == 1:
            return list(parts)
        every = self.every([part.cpu() for part in parts])
        return [torch.cat(of_all) for of_all in zip(*every, strict=True)]

    def without_gradients(self) -> AbstractContextManager[Any]:
        """Give the block in which rows are evaluated."""
        # What is gathered in inference mode could not be a part of a backward pass later.
        return torch.no_grad() if self.shards else torch.inference_mode()

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Give a block that one process after another goes through."""
        for _ in range(self.rank):
            self.wait()
        yield
        for _ in range(self.rank, self.size):
            self.wait()


ALONE = Team()
_BROKEN = ("closed by peer", "connection reset", "broken pipe", "gloo", "nccl", "read error", "write error")
"""Words of what torch says where another process is gone."""


def is_of_another(error: BaseException) -> bool:
    """Return whether an error only says that another process of this one's run is gone."""
    text = str(error).lower()
    return launched() is not None and isinstance(error, RuntimeError) and any(word in text for word in _BROKEN)


def this_team() -> Team:
    """Return the processes that this one is of; raises where they have not met (`joined`)."""
    process = launched()
    return ALONE if process is None else Team(process.rank, process.processes, process)


@contextmanager
def joined() -> Iterator[Team]:
    """Give the processes of this one's run, met, where there are such, for the time of a block."""
    team = this_team()
    if team.launched is None:
        yield team
        return
    import torch.distributed as dist

    has_cards = torch.cuda.is_available()
    if has_cards:
        torch.cuda.set_device(team.rank % torch.cuda.device_count())
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if has_cards else "gloo", init_method=Path(team.launched.meeting).as_uri(), rank=team.rank,
        world_size=team.size, timeout=_WAITS,
    )  # fmt: skip
    try:
        yield team
    finally:
        dist.destroy_process_group()
