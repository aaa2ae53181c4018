"""Count what every method trains on a model, on the model's shape alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from afina.errors import AfinaError
from afina.methods.base import make_method, registry
from afina.words.language import Words

__all__ = ["MethodEntry", "catalogue"]


@dataclass(frozen=True)
class MethodEntry:
    """A method; the counts are None without a model, or where the method cannot be, which `reason` explains."""

    name: str
    summary: str
    mergeable: bool
    peft_type: str | None
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    reason: str | None = None
    portuguese: str = ""
    """The summary in Portuguese."""

    def told(self, words: Words) -> str:
        """Say what it is, and why it cannot be, if so."""
        summary = self.portuguese if words.language == "pt" and self.portuguese else self.summary
        return f"{summary} ({words.note(self.reason)})" if self.reason else summary

    @property
    def trainable_percent(self) -> float | None:
        if self.trainable_parameters is None or not self.total_parameters:
            return None
        return 100 * self.trainable_parameters / self.total_parameters


def catalogue(
    model: str | None = None,
    *,
    classes: int = 2,
    settings: Mapping[str, Any] | None = None,
    trust_remote_code: bool = False,
) -> list[MethodEntry]:
    """Return every method, with what it trains on `model` for a task of `classes` if one is given.

    `settings` (rank, targets, ...) are taken by the methods that have them. No weights are loaded; raises `UsageError`
    for a model that is nowhere.
    """
    counts = _counts(model, classes, settings or {}, trust_remote_code) if model else {}
    entries = []
    for name, cls in sorted(registry().items()):
        summary = (cls.__doc__ or "").strip().splitlines()[0]
        peft_type = cls.peft.peft_type if cls.peft and cls.peft.direct else None
        entries.append(
            MethodEntry(name, summary, cls.mergeable, peft_type, portuguese=cls.portuguese, **counts.get(name, {}))
        )
    return entries


def _counts(
    model: str, classes: int, settings: Mapping[str, Any], trust_remote_code: bool
) -> dict[str, dict[str, Any]]:
    from afina.adapters.adapter import build_adapter
    from afina.backbone.shapes import read_shape, shape_backbone

    backbone = shape_backbone(read_shape(model, trust_remote_code=trust_remote_code))
    weights = sum(value.numel() for value in backbone.model.parameters())
    counts: dict[str, dict[str, Any]] = {}
    for name, cls in registry().items():
        if cls.gradient_free:
            counts[name] = {"reason": "its size depends on the data"}
            continue
        try:
            adapter = build_adapter(make_method(name, {}, settings), backbone, classes, seed=0)
        # A method that has no place on this model is listed with the reason.
        except AfinaError as error:
            counts[name] = {"reason": str(error)}
            continue
        trainable = sum(value.numel() for value in adapter.trainable(backbone).values())
        parameters = sum(value.numel() for value in adapter.parameters())
        counts[name] = {"trainable_parameters": trainable, "total_parameters": weights + parameters}
    return counts
