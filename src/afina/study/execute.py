"""Carrying out jobs one after another, each in a fresh process, so that its memory is its own and its end is its own.

The processes are forked from a server that has already imported torch and transformers and has run nothing: a start
takes milliseconds, and no thread pool is forked.
"""

import contextlib
import fcntl
import multiprocessing
import os
import select
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from afina.errors import AfinaError, OutOfMemory, ProcessEnded, Unexpected, Unfinished, UsageError, is_short
from afina.links import open_unfollowed, refuse_links_in
from afina.ops.allocator import huge_pages_for_new_processes
from afina.study.events import Again, Event, Observer
from afina.whole_file import sweep_partials

__all__ = ["FAILED", "ending", "explain", "locked", "run_apart", "serve", "start_server"]

FAILED = "failed"

_KILLS = Path("/proc/vmstat")
"""Linux's counters, of which one is how many processes it killed for want of memory."""
_CONTEXT = multiprocessing.get_context("forkserver")


def start_server() -> None:
    """Start importing what the jobs need, beside whatever the caller does meanwhile; safe to call again."""
    _CONTEXT.set_forkserver_preload(["afina.study.worker"])
    from multiprocessing import forkserver

    with huge_pages_for_new_processes():
        forkserver.ensure_running()


def run_apart(target: Callable[[Any, Observer], Any], argument: Any, on_event: Observer = lambda event: None) -> Any:
    """Call `target(argument, send)` in a process of its own and return its value.

    Events that it sends reach `on_event`. A process that is killed is started once more: what it was doing goes on from
    what it kept, and nothing is concluded from its end. Raises `AfinaError` with the reason when it fails, `ProcessEnded`
    when it is killed again; an interrupt here ends the process there.
    """
    try:
        return _once_apart(target, argument, on_event)
    except ProcessEnded as error:
        # Once more, as memory may be short only for a while; twice is no accident.
        on_event(Again(why=str(error)))
    return _once_apart(target, argument, on_event)


def _once_apart(target: Callable[[Any, Observer], Any], argument: Any, on_event: Observer) -> Any:
    start_server()
    killed_before = _killed_for_memory()
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=serve, args=(target, argument, theirs), daemon=True)
    with _without_main():
        process.start()

    # This end has to be closed here too, or the end of the process would never be seen at the other.
    theirs.close()
    try:
        while True:
            try:
                kind, value = ours.recv()
            # The pipe closed without an answer: the process is gone, by a signal or the system's memory killer.
            except EOFError:
                process.join()
                raise ending(process.exitcode, short=_killed_for_memory() != killed_before) from None
            if kind == "event":
                on_event(value)
            elif kind == "value":
                return value
            else:
                raise value
    finally:
        if process.is_alive():
            # An answer is there, so it ends by itself; after an interrupt nobody waits.
            process.join(timeout=5 if not _interrupted() else 0)
        if process.is_alive():
            process.kill()
        process.join()
        ours.close()


def _killed_for_memory() -> str | None:
    """Return the system's count of processes that it killed for want of memory; None where it keeps none."""
    try:
        return next((line for line in _KILLS.read_text().splitlines() if line.startswith("oom_kill ")), None)
    except OSError:  # not Linux
        return None


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keep the new process from running the caller's script again, which a script without a main guard would suffer."""
    main = sys.modules["__main__"]
    # multiprocessing looks for the caller's script there, and would run it again in the child.
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _interrupted() -> bool:
    return isinstance(sys.exc_info()[1], KeyboardInterrupt)


def serve(target: Callable[..., Any], argument: Any, connection: Connection) -> None:
    """Carry out a job in this process, which was started for it, and tell the other end what came of it."""
    # An interrupt at the terminal reaches this process too; the parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(connection,), name="parent", daemon=True).start()

    def send(event: Event) -> None:
        try:
            connection.send(("event", event))
        except OSError:
            # The parent is gone (killed): what is saved is saved, and another may be starting on this run.
            os._exit(1)

    try:
        connection.send(("value", target(argument, send)))
    except BaseException as error:
        with contextlib.suppress(OSError):
            connection.send((FAILED, explain(error)))


def _end_with_parent(connection: Connection) -> None:
    """End this process when the other end of the connection is closed: the parent was killed, and may be starting anew."""
    waiting = select.poll()
    waiting.register(connection.fileno(), 0)  # that the other side hung up is told without asking
    waiting.poll()
    os._exit(1)


def explain(error: BaseException) -> AfinaError:
    """Turn what ended a job into one sentence that can travel between processes."""
    if isinstance(error, UsageError):
        return UsageError(str(error))
    if isinstance(error, OutOfMemory):
        return OutOfMemory(str(error))
    if isinstance(error, Unfinished):
        return Unfinished(str(error))
    if isinstance(error, AfinaError):
        return AfinaError(str(error))

    # Exceptions of other libraries may not survive a pickle, and their classes may not exist in the parent.
    text = str(error).strip().splitlines()[0] if str(error).strip() else ""

    if is_short(error):
        return OutOfMemory(
            "Out of memory; set a smaller batch_size, micro_batch_size or max_length, or a smaller model."
        )
    place = traceback.extract_tb(error.__traceback__)[-1]
    sentence = f"{type(error).__name__}: {text} ({Path(place.filename).name}, line {place.lineno})"
    return Unexpected(sentence, "".join(traceback.format_exception(error)))


def ending(code: int | None, *, short: bool = False) -> Unfinished:
    """Return what is to be raised for a job's process that ended with a code, or by a signal, and no word.

    It is known where memory was `short`: the system killed processes meanwhile.
    """
    if short and code == -signal.SIGKILL:
        return OutOfMemory("The system ended the run's process for want of memory; set a smaller micro_batch_size.")
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        why = "most likely for want of memory" if name == "SIGKILL" else "from outside or by a fault in a library"
        return ProcessEnded(f"The run's process was ended by {name}, {why}.")
    return ProcessEnded(f"The run's process ended with code {code} and no word.")


@contextlib.contextmanager
def locked(folder: Path, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold a folder for this process; what earlier ones left there half written is removed.

    Raises `UsageError` when another still holds it after `wait_seconds`, and for links in it.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, where a folder should be; choose another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / ".lock"
    strange = not lock.exists() and any(folder.iterdir())
    # A study that was just interrupted may take a moment to let go.
    until = time.monotonic() + wait_seconds
    with open_unfollowed(lock, "ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise UsageError(
                        f"{folder} is in use by another afina; wait for it or choose another --out."
                    ) from None
                time.sleep(0.1)
        refuse_links_in(folder)
        # Under the lock, or what another afina is writing would be swept away.
        sweep_partials(folder)
        try:
            yield
        except UsageError:
            # Somebody's folder that was refused is left as it was.
            if strange:
                lock.unlink(missing_ok=True)
            raise
