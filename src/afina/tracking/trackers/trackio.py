"""Trackio's runs, of which the study is the group: `trackio show --project afina`, or TRACKIO_PROJECT's."""

import contextvars
import os
from typing import Any

from afina.tracking.run_objects import ByRunObjects
from afina.tracking.tracker import Settings, tracker

__all__ = ["Trackio"]

_PROJECT = "afina"


@tracker("trackio")
class Trackio(ByRunObjects):
    """Writes runs into Trackio's data base, which TRACKIO_DIR places."""

    package, extra = "trackio", "trackio"

    def start(self, run: str, settings: Settings) -> Any:
        import trackio

        def begin() -> Any:
            return trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", _PROJECT), group=self.study, name=f"{self.study}/{run}",
                config=dict(settings), resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip

        # In a context of its own, as Trackio ends the run that is open in this one, and those of a cohort are open together.
        return contextvars.Context().run(begin)
