"""Set how the next token is chosen and when a text ends; transformers' logits processors do the arithmetic."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from afina.errors import UsageError, nearest

__all__ = ["GenerationSettings"]


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """Holds the settings of one call; raises one `UsageError` that names all values out of range."""

    max_new_tokens: int = 256
    """Most tokens to write; fewer where the model's context is full."""
    temperature: float = 0.0
    """Divides the logits; 0 takes the likeliest token each time."""
    top_k: int | None = None
    """Draw among this many likeliest tokens."""
    top_p: float | None = None
    """Draw among the likeliest tokens that have this probability together; 0 takes the likeliest."""
    min_p: float | None = None
    """Draw among tokens that are at least this share as likely as the likeliest."""
    repetition_penalty: float = 1.0
    """Divides the positive logits of tokens that already occur, and multiplies the negative ones; 1 changes nothing."""
    presence_penalty: float = 0.0
    """Taken from the logits of tokens that the answer has already."""
    frequency_penalty: float = 0.0
    """Taken from them as often as the answer has the token."""
    seed: int | None = None
    """Row i of a call draws with seed + i; None draws a fresh seed each time."""
    stop: Sequence[str] = ()
    """Texts that end the answer; they are no part of it."""
    log_probabilities: int | None = None
    """Say how likely the model found each token, and as many of the likeliest in its place."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} should be {wanted}, not {getattr(self, name)}"
            for name, wanted, right in (
                ("max_new_tokens", "at least 1", self.max_new_tokens >= 1),
                ("temperature", "at least 0", self.temperature >= 0),
                ("top_k", "at least 1", self.top_k is None or self.top_k >= 1),
                ("top_p", "from 0 to 1", self.top_p is None or 0 <= self.top_p <= 1),
                ("min_p", "from 0 to 1", self.min_p is None or 0 <= self.min_p <= 1),
                ("repetition_penalty", "above 0", self.repetition_penalty > 0),
                ("presence_penalty", "a number", math.isfinite(self.presence_penalty)),
                ("frequency_penalty", "a number", math.isfinite(self.frequency_penalty)),
                ("seed", "a whole number", self.seed is None or type(self.seed) is int),
                ("log_probabilities", "from 0 on", self.log_probabilities is None or self.log_probabilities >= 0),
            )
            # Collected, so that all that is wrong is said at once.
            if not right
        ]
        # A text would be taken letter by letter.
        if isinstance(self.stop, str) or not all(isinstance(text, str) and text for text in self.stop):
            problems.append(f"stop should be a list of texts, none empty, not {self.stop!r}")
        if problems:
            raise UsageError(f"{'; '.join(problems)}.")

    def changed(self, **changes: Any) -> "GenerationSettings":
        """Return these settings with some changed; raises `UsageError` for an unknown setting."""
        known = {entry.name for entry in dataclasses.fields(self)}
        for name in changes:
            if name not in known:
                raise UsageError(f"Generation has no setting '{name}'{nearest(name, known)}")
        return dataclasses.replace(self, **changes)

    @property
    def draws(self) -> bool:
        """Return whether tokens are drawn; otherwise the likeliest is taken each time, whatever else would be left out."""
        return self.temperature > 0 and self.top_p != 0

    @property
    def distribution(self) -> "GenerationSettings":
        """Return the settings that say from what a token is drawn, at the defaults of the others: equal ones are one's."""
        return GenerationSettings(**{name: getattr(self, name) for name in _OF_THE_DISTRIBUTION})

    def processors(self) -> Any:
        """Return transformers' logits processors in transformers' order; called with tokens (B, S) and logits (B, V)."""
        import transformers as t

        processors: list[Any] = []
        if self.repetition_penalty != 1.0:
            processors.append(t.RepetitionPenaltyLogitsProcessor(self.repetition_penalty))
        if self.draws:
            if self.temperature != 1.0:
                # What is left of a logit that is divided by next to nothing is infinite, as are others' then.
                processors.append(_below_the_likeliest)
                processors.append(t.TemperatureLogitsWarper(float(max(self.temperature, _COLDEST))))
            if self.top_k is not None:
                processors.append(t.TopKLogitsWarper(self.top_k))
            if self.top_p is not None and self.top_p < 1:
                processors.append(t.TopPLogitsWarper(self.top_p))
            if self.min_p is not None:
                processors.append(t.MinPLogitsWarper(self.min_p))
        return t.LogitsProcessorList(processors)


_COLDEST = 1e-30
"""Temperature at which the least difference of two logits is already beyond all that is drawn."""


def _below_the_likeliest(tokens: Any, logits: Any) -> Any:
    """Return logits (B, V) as differences from each row's largest, which have the same probabilities."""
    return logits - logits.amax(dim=-1, keepdim=True)


_OF_THE_DISTRIBUTION = (
    "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
)  # fmt: skip
