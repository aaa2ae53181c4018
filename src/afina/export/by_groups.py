"""Say of an adapter that decides by thresholds for groups what becomes of them where it is exported."""

from pathlib import Path

from afina.errors import UsageError
from afina.tasks.base import Task

__all__ = ["thresholds_left"]


def thresholds_left(folder: Path, task: Task) -> tuple[str, ...]:
    """Return a note where an adapter has thresholds by group, which no file that others load has room for.

    Raises `UsageError` where groups are a column's, which nothing that was exported is told.
    """
    if task.group_column is not None:
        raise UsageError(
            f"{folder} decides by a threshold for each group of the column '{task.group_column}', which what is exported is "
            "never told; export a run without thresholds."
        )
    if task.by_group is None:
        return ()
    return (
        "Its thresholds by group stand in no file that other programs load: there it answers what is likelier than not.",
    )
