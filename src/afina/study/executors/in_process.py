"""All jobs in this process: for a debugger, and for tests that are not about processes.

The results are those of `processes` but for memory: a peak is what this process took beyond what it held when the run
began, and memory that an earlier run freed is used again unseen.
"""

import pickle
from dataclasses import dataclass
from typing import Any

from afina.study.events import Event, Observer
from afina.study.execute import explain
from afina.study.executors.base import Executor, Target, executor

__all__ = ["InProcess"]


@executor("in-process")
@dataclass(kw_only=True)
class InProcess(Executor):
    """Carries jobs out in this process."""

    remark = "all runs share this process (AFINA_EXECUTOR): their memory is what each took beyond what was held already"

    def submit(self, target: Target, argument: Any, on_event: Observer = lambda event: None) -> Any:
        """Return what the job gives, with copies of what it is given and of what it returns."""
        import torch

        of_observer: list[Exception] = []

        def send(event: Event) -> None:
            try:
                on_event(_copied(event))
            except Exception as error:
                of_observer.append(error)
                raise

        try:
            # A run seeds torch for itself; the caller's own draws go on as if it had not.
            with torch.random.fork_rng():
                return _copied(target(_copied(argument), send))
        except Exception as error:
            if error in of_observer:  # no fault of the job's
                raise
            raise explain(error) from error


def _copied(value: Any) -> Any:
    """Return the value as another process would get it, so that nothing is shared by chance."""
    return pickle.loads(pickle.dumps(value))
