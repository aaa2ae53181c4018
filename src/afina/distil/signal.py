"""Define what a signal of a teacher is, and keep the registry: one file a signal, found in `signals/`.

A signal is a frozen dataclass of its settings. It says what is to be kept of what the teacher said of a row, and what a
student loses that says otherwise. The whole loss of a step is, with w the study's `teacher_weight`,

    (1 - w) task's loss by the labels + w (sum over signals of weight * signal's loss)
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from afina.backbone.head import Head, Hidden
from afina.backbone.language_head import LanguageHead, SpeakingHead
from afina.errors import UsageError, shown
from afina.registry import Registry
from afina.settings import check_measure, checked_settings
from afina.tasks.base import Task

__all__ = ["SIGNALS", "Said", "Signal", "make_signals", "signal"]


@dataclass(frozen=True)
class Said:
    """Holds what a model, the teacher or the student, said of a batch's rows."""

    task: Task
    head: Head
    hidden: Hidden
    outputs: Tensor
    """The logits that the head makes of it: (B, ...)."""
    labels: Tensor
    """(B,) of rows, or (B, T) of tokens."""
    words: int = 0
    """Words of the student's vocabulary; 0 where the model has its own language head's."""

    def answers(self) -> Tensor:
        """Return the outputs (N, ...) of the N terms that have a label: rows, or words."""
        return self.task.labelled_outputs(self.outputs, [self.labels])

    def states(self) -> Tensor:
        """Return the states (N, D) that these are read from, float32."""
        looked = self.head.looked_at(self.hidden)
        return (self.task.labelled_outputs(looked, [self.labels]) if looked.ndim == 3 else looked).float()

    @property
    def language(self) -> LanguageHead:
        """Return the language head of a model that writes."""
        assert isinstance(self.head, SpeakingHead), "only what writes has tokens to be taught"
        return self.head.language


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A signal of a teacher; subclasses add their settings as fields."""

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    """The name that reports call it by."""
    of: ClassVar[Literal["answers", "states"]] = "answers"
    """The part of a teacher that it gives on (`tasks/taught.py`)."""

    weight: float = 1.0
    """Its share beside other signals, before all of them are weighed by `teacher_weight`."""

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            check_measure(self.name, entry.name, value)
            if value is not None and not value > 0:
                raise UsageError(f"{self.name}: {entry.name} should be above 0, not {value}.")

    def check(self, task: Task) -> None:
        """Raise `UsageError` for a task that this signal does not teach, or of whose rows a setting says nothing."""
        if self.of not in task.taught_by:
            kinds = [kind.name for kind in SIGNALS.values() if kind.of in task.taught_by]
            advice = f"write distil: {' or '.join(kinds)}" if kinds else "leave teacher out"
            raise UsageError(f"distil: {self.name} does not teach task: {task.name}; {advice}.")

    def keeps(self, task: Task) -> dict[str, Any]:
        """Return by name what is kept of each term, with the settings that decide it: what a cache is known by."""
        raise NotImplementedError

    def kept(self, said: Said) -> dict[str, Tensor]:
        """Return the same (N, ...) of what a teacher said."""
        raise NotImplementedError

    def trained(self, ours: int, theirs: int, seed: int) -> dict[str, Tensor]:
        """Return what is trained of it beside the student, by name; `ours` and `theirs` are widths of hidden states."""
        return {}

    def loss(self, said: Said, taught: Mapping[str, Tensor], trained: Mapping[str, Tensor]) -> Tensor:
        """Return the loss, summed over terms, of what a student said against what is kept of the same terms."""
        raise NotImplementedError

    def told(self, task: Task) -> str:
        """Return what reports say of it, as they write a method: its title with settings that matter."""
        return self.title

    def settings(self) -> dict[str, Any]:
        """Return all settings as JSON-able values."""
        return dataclasses.asdict(self)


SIGNALS: Registry[type[Signal]] = Registry("signal of a teacher", "afina.distil.signals", "signal")
"""All signals by name."""
signal = SIGNALS.register


def make_signals(given: Sequence[Any]) -> list[Signal]:
    """Make signals from what a study file says: names, or {name: {setting: value}}.

    Raises `UsageError` for an unknown one or an unknown setting, naming the nearest, and for one that is named twice.
    """
    made: list[Signal] = []
    for entry in given:
        name, settings = entry, dict[str, Any]()
        if isinstance(entry, Mapping) and len(entry) == 1:
            ((name, inner),) = entry.items()
            settings = inner if inner is not None else {}
        if not isinstance(name, str) or not isinstance(settings, Mapping):
            raise UsageError(f"distil: should be names or {{name: {{setting: value}}}}, not {shown(entry)}.")
        try:
            cls = SIGNALS.named(name)
            made.append(cls(**checked_settings(cls, name, {str(key): value for key, value in settings.items()})))
        except UsageError as error:
            raise UsageError(f"distil: {error}") from None
    names = [own.name for own in made]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"distil: {twice[0]} stands twice; name each signal once.")
    return made
