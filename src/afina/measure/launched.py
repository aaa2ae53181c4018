"""Tell a process whether it is one of several that carry out a run together, and how."""

import json
import os
from dataclasses import asdict, dataclass

__all__ = ["Launched", "launched"]

_VARIABLE = "AFINA_LAUNCHED"


@dataclass(frozen=True)
class Launched:
    """Says which of a run's processes this is, and what they divide among them."""

    rank: int
    processes: int
    meeting: str
    """A file by which the processes find each other."""
    shards: bool = False
    """True where each holds a part of the model's weights, False where each holds all of them."""
    reshards: bool = True
    """True lets go of a layer's gathered weights between the forward and the backward pass."""
    offloads: bool = False
    """True keeps the parts in main memory and brings them to the card when they are wanted."""

    def variables(self) -> dict[str, str]:
        """Return the environment variables that tell a process that it is this one."""
        return {_VARIABLE: json.dumps(asdict(self))}


def launched() -> Launched | None:
    """Return what this process was told, None where it carries out its runs alone."""
    variable = os.environ.get(_VARIABLE)
    return None if variable is None else Launched(**json.loads(variable))
