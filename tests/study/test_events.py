"""What an observer of a study is told: every event has a class, keys as in events.jsonl, and is shown by the terminal."""

import inspect
import json
import pickle
from dataclasses import replace

import pytest

from afina.cli.progress import UNSHOWN, Progress
from afina.results.result import Epoch
from afina.study import events
from afina.study.events import KINDS


def test_an_event_is_a_mapping_of_its_figures_without_those_that_say_nothing() -> None:
    left = events.Left(run="a", why="diverged", error=None)
    assert dict(left) == {"kind": "left", "run": "a", "why": "diverged", "error": None}
    assert left["why"] == left.why and "before" not in left and left.get("search") is None
    assert dict(replace(left, before=True, search=True)) == {**left, "before": True, "search": True}
    assert "run" not in events.Failed(error="no") and dict(events.Failed(run="a", error="no"))["run"] == "a"
    assert pickle.loads(pickle.dumps(left)) == left


def test_a_line_of_an_epoch_has_the_keys_of_its_entry_in_their_order() -> None:
    entry = Epoch.made(epoch=1, train_loss=0.5, train_accuracy=0.75, test_accuracy=0.5, seconds=1.5)
    event = events.Epoch(run="a", metric="accuracy", entry=entry)
    assert json.dumps({"at": "now", **event}) == (
        '{"at": "now", "kind": "epoch", "run": "a", "metric": "accuracy", "epoch": 1, "train_loss": 0.5, '
        '"train_accuracy": 0.75, "test_accuracy": 0.5, "seconds": 1.5}'
    )


def test_a_misspelt_kind_or_figure_is_an_error() -> None:
    with pytest.raises(AttributeError):
        _ = events.Finnished  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="spilt"):
        events.Evaluate(spilt="test", done=1, rows=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="rows"):
        events.Evaluate(split="test", done=1)  # type: ignore[call-arg]
    with pytest.raises(KeyError):
        _ = events.Begin(runs=1)["run"]


def test_every_kind_of_event_has_a_name_of_its_own() -> None:
    classes = [own for own in vars(events).values() if inspect.isclass(own) and issubclass(own, events.Event)]
    assert sorted(KINDS) == sorted(own.kind for own in classes if own is not events.Event)
    assert all(KINDS[own.kind] is own for own in classes if own is not events.Event)


def test_the_terminal_shows_every_kind_of_event_but_those_that_it_names() -> None:
    """By a method for each; what it has beside them is about no event that there is."""
    shown = {
        name.removeprefix("_")
        for name, method in inspect.getmembers(Progress, inspect.isfunction)
        if "event" in inspect.signature(method).parameters and name.startswith("_") and not name.startswith("__")
    }
    assert shown == KINDS.keys() - set(UNSHOWN)
    assert set(UNSHOWN) < KINDS.keys()
