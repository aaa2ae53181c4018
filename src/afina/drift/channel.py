"""Register what is watched: a channel compares one property of new rows with that of earlier ones; one file each.

A channel gives a value with its interval beside the earlier rows' value, and a p-value that holds whatever the law of the
property is, so that a rate of false alarms can be promised.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from afina.drift.seen import Seen
from afina.drift.two_samples import interval, same_law, stability
from afina.registry import Registry

__all__ = ["CHANNELS", "Channel", "Measured", "channel", "means_compared"]


@dataclass(frozen=True)
class Measured:
    """Holds what a channel found of some rows beside earlier ones."""

    value: float
    low: float
    high: float
    """The value's 95% interval."""
    base: float
    """The same of the earlier rows."""
    p: float
    """The probability of a difference as large where there is none."""
    stability: float | None = None
    """The population stability index, where one is usual: 0.1 and 0.25 are often called some and much."""
    about: str = ""
    """The label, language or group of which the value is, where it is of one."""


class Channel(ABC):
    """Compares one property of rows with that of earlier ones."""

    name: ClassVar[str]
    title: ClassVar[str]
    """A phrase for tables and pages."""
    portuguese: ClassVar[str]
    part: ClassVar[Literal["inputs", "answers", "labels"]] = "inputs"
    """The kind of thing watched: what is asked, what is answered, or how right that is."""
    share: ClassVar[bool] = False
    """True where the value is a share of one."""
    digits: ClassVar[int] = 3

    @classmethod
    @abstractmethod
    def measure(cls, earlier: Seen, rows: Seen, random: np.random.Generator, *, smallest: float) -> Measured | None:
        """Return what there is to say of rows beside earlier ones; None where either does not know the property.

        `smallest` is the p-value from which on an alarm may be raised: a test by drawing has to draw often enough for it.
        """


def means_compared(earlier: np.ndarray, rows: np.ndarray) -> Measured:
    """Compare one number a row, (N,) and (M,): their means, by a test of whether both are drawn from one law."""
    return Measured(
        float(rows.mean()), *interval(rows), float(earlier.mean()), same_law(earlier, rows), stability(earlier, rows)
    )


CHANNELS: Registry[type[Channel]] = Registry("channel", "afina.drift.channels")
"""All channels by name."""
channel = CHANNELS.register
