"""Gradient times input: the gradient at the text, by each word's own vector.  Shrikumar et al., 2016, arXiv:1605.01713."""

from dataclasses import dataclass
from typing import ClassVar

from afina.explanation.asker import Asker
from afina.explanation.ways.base import Attributed, AttributionWay, way

__all__ = ["GradientInput"]


@way("gradient-input")
@dataclass(frozen=True, kw_only=True)
class GradientInput(AttributionWay):
    """Looks at the gradient at the text alone: one pass, and the least to be trusted."""

    told: ClassVar[str] = "the gradient at the text, by each word's vector"
    gradients = True

    def attribute(self, asker: Asker) -> list[Attributed]:
        _, gradients = asker.gradients([(number, 1.0) for number in range(len(asker.questions))], of="vector")
        return [Attributed(values) for values in gradients]
