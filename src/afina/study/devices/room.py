"""Say whether what a run takes fits into what there is of memory."""

from typing import Literal

from afina.study.devices.device import Room
from afina.study.needs import Likely, MemoryNeeds

__all__ = ["Fits", "fits", "phase_fits"]

Fits = Literal["yes", "no", "perhaps"]


def fits(memory: MemoryNeeds, room: Room) -> Fits:
    """Return whether a run fits: `perhaps` where its range and what there is of memory overlap."""
    phases = {phase_fits(phase, room) for phase in (memory.train, memory.evaluate)}
    return "no" if "no" in phases else "perhaps" if "perhaps" in phases else "yes"


def phase_fits(likely: Likely, room: Room) -> Fits:
    """Return whether one phase of it does."""
    if likely.high <= room.least:
        return "yes"
    return "no" if likely.low > room.most else "perhaps"
