"""Let one thread at a time have adapters on a model, and no process that was forked off with it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from afina.errors import AfinaError

__all__ = ["ModelTurns"]

_LOOK_SECONDS = 0.05


class ModelTurns:
    """Tells whose turn it is with a model: what is on it for one call is waited for, a text that is being written is not."""

    def __init__(self) -> None:
        self._model, self._tokenizer = threading.Lock(), threading.Lock()
        self._process = os.getpid()
        self._thread: int | None = None
        self._writes = False

    def __reduce__(self) -> tuple[type["ModelTurns"], tuple[()]]:
        """Give a copy of the model turns of its own."""
        return ModelTurns, ()

    def begin(self, *, writes: bool = False) -> None:
        """Take the model, after another thread's call where there is one; `writes` a text, for as long as somebody reads it.

        Raises `AfinaError` in a forked process, and while a text is being written, whose end nobody knows.
        """
        self.check_process()
        while not self._model.acquire(timeout=_LOOK_SECONDS):
            # The same thread would wait for itself.
            if self._writes or self._thread == threading.get_ident():
                raise AfinaError(
                    "This model is still writing another text; read that stream to its end, or close() it."
                )
        self._thread, self._writes = threading.get_ident(), writes

    def end(self) -> None:
        """Give the model back."""
        # Before the lock is released: whoever takes it next writes its own.
        self._thread, self._writes = None, False
        self._model.release()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Have the tokenizer alone: a library's notes what it cuts and pads to inside it. Raises as `begin` where forked."""
        self.check_process()
        with self._tokenizer:
            yield

    def check_process(self) -> None:
        """Raise `AfinaError` in a process that was forked off: threads of libraries are not there, and it would hang."""
        # Asked at every turn, as a fork cannot be noticed otherwise.
        if os.getpid() != self._process:
            raise AfinaError(
                "This model was loaded before the process was forked, where it cannot compute: load it in each process "
                "(multiprocessing: spawn or forkserver)."
            )
