"""Have a study's processes count processor time, where a benchmark runs on a machine that others use too.

What a run's steps and evaluations took is measured by the clock, which other programs' work prolongs. In processes that have
imported this it is the processor time of the process, which is the same thing for one thread on a machine of its own.
"""

import atexit
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import afina.study.execute
import afina.study.profile
import afina.study.training
import afina.train.loop

EVALUATED = "AFINA_BENCHMARK_EVALUATED"
"""The variable that names the file in which processes keep the seconds of their evaluations."""


def count_by_it() -> None:
    """Have the processes that are started from here import this module too."""
    handle, os.environ[EVALUATED] = tempfile.mkstemp(prefix="afina-")
    os.close(handle)
    atexit.register(Path(os.environ[EVALUATED]).unlink)
    # The server of processes looks for modules where the environment says.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]])
    before = afina.study.execute._CONTEXT.set_forkserver_preload
    afina.study.execute._CONTEXT.set_forkserver_preload = lambda names: before([*names, __name__])  # type: ignore[method-assign]


def evaluated() -> float:
    """Return the seconds of all evaluations since this was last asked."""
    path = Path(os.environ[EVALUATED])
    seconds = sum(map(float, path.read_text().split()))
    path.write_text("")
    return seconds


def _timed(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*args: Any, **settings: Any) -> Any:
        started = process_time()
        found = evaluate(*args, **settings)
        if EVALUATED in os.environ:
            with Path(os.environ[EVALUATED]).open("a") as file:
                file.write(f"{process_time() - started}\n")
        return found

    return timed


for module in (afina.train.loop, afina.study.profile, afina.study.training):
    module.perf_counter = process_time  # type: ignore[attr-defined]
afina.study.training.predict_logits = _timed(afina.study.training.predict_logits)  # type: ignore[attr-defined]
