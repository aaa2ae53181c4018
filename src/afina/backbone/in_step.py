"""Run a model on several batches in step: before each of its layers all of them wait, until the layer has been done for all.

So a layer is in memory once for all batches, whatever the model hands from one layer to the next. Each batch's pass has a
thread of its own, of which one at a time runs; what comes out is the same as that of one pass after another.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["Call", "run_in_step"]

Call = Callable[[], Any]
"""Computes a layer for one batch."""


class _Stopped(BaseException):
    """Ends a pass whose run was broken off."""


def run_in_step(
    model: nn.Module, layers: Sequence[str], batches: Sequence[Mapping[str, Any]],
    at: Callable[[str, Sequence[Call]], Sequence[Any]],
) -> list[Any]:  # fmt: skip
    """Run a model on batches of its inputs, without gradients; returns its outputs.

    Before each of the `layers` (paths) `at` is given its path and a call for each batch, and returns what the layer gives for
    each. What `at` or the model raises ends all passes.
    """
    passes = [_Pass(number) for number in range(len(batches))]
    done: list[Any] = [None] * len(batches)

    def work(one: _Pass) -> None:
        _CURRENT.value = one
        try:
            one.wait()
            with torch.no_grad():
                done[one.number] = model(**batches[one.number])
            one.tell(None)
        except _Stopped:
            one.tell(None)
        except BaseException as error:
            one.tell(error)

    threads = [threading.Thread(target=work, args=(own,), daemon=True) for own in passes]
    with _waiting(model, layers):
        for thread in threads:
            thread.start()
        try:
            arrived = [own.go(None) for own in passes]
            while arrived[0] is not None:
                (path,) = {place.path for place in arrived if place is not None}
                outputs = at(path, [place.call for place in arrived if place is not None])
                arrived = [own.go(output) for own, output in zip(passes, outputs, strict=True)]
        finally:
            for one in passes:
                one.stop()
            for thread in threads:
                thread.join()
    return done


class _Place:
    """Holds where a pass waits: before which layer, with what the layer is to be called with."""

    def __init__(self, path: str, call: Call) -> None:
        self.path, self.call = path, call


class _Pass:
    """One batch's way through the model, which stands still but for when it is told to go on."""

    def __init__(self, number: int) -> None:
        self.number, self.ended = number, False
        self._orders: queue.Queue[Any] = queue.Queue()
        self._news: queue.Queue[_Place | BaseException | None] = queue.Queue()

    def go(self, output: Any) -> _Place | None:
        """Let the pass go on with a layer's output until it stands again; returns where, None at its end."""
        self._orders.put(output)
        news = self._news.get()
        self.ended = not isinstance(news, _Place)
        if isinstance(news, BaseException):
            raise news
        return news

    def stop(self) -> None:
        """End the pass, wherever it stands."""
        if not self.ended:
            self.ended = True
            self._orders.put(_Stopped())

    def wait(self) -> Any:
        """Stand still until the order to go on (in the pass's own thread)."""
        order = self._orders.get()
        if isinstance(order, _Stopped):
            raise order
        return order

    def tell(self, news: "_Place | BaseException | None") -> None:
        """Say where the pass stands, or that it has ended (in its own thread)."""
        self._news.put(news)


_CURRENT = threading.local()


@contextmanager
def _waiting(model: nn.Module, layers: Sequence[str]) -> Iterator[None]:
    """Let a pass's call of a layer wait there instead, within."""

    def stand(path: str, module: nn.Module) -> Callable[..., Any]:
        forward = module.forward

        def waits(*given: Any, **named: Any) -> Any:
            standing: _Pass | None = getattr(_CURRENT, "value", None)
            if standing is None:  # the layer is being done for all
                return forward(*given, **named)
            standing.tell(_Place(path, lambda: forward(*given, **named)))
            return standing.wait()

        return waits

    modules = [(path, model.get_submodule(path)) for path in layers]
    before = [vars(module).get("forward") for _, module in modules]
    for path, module in modules:
        module.forward = stand(path, module)
    try:
        yield
    finally:
        for (_, module), forward in zip(modules, before, strict=True):
            del module.forward
            if forward is not None:
                module.forward = forward
