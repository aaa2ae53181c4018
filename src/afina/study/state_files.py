"""Name the files in a study's folder that hold the states of runs that train."""

from pathlib import Path

__all__ = ["CHECKPOINT", "first_steps"]

CHECKPOINT = "checkpoint.safetensors"
"""The state of training, in the folder of a run or a cohort while it trains."""


def first_steps(cohort: Path, run: str) -> Path:
    """Return where in a cohort's folder a run's state lies after the steps that it took alone, for its method's profile."""
    return cohort / f"{run}.safetensors"
