"""Give points and weights for the mean of a smooth function on (0, 1), each rule with the points of the one before it.

To Gauss's n points come n + 1 more (Kronrod, 1965), twice as many to these, and so on (Patterson, 1968, "The optimum addition
of points to quadrature formulae"): the zeros of the polynomial E that makes the rule of all of them as exact as can be, which
is where the integral of G E P_k is 0 for every k below E's degree, G being the product of x less each point.

Points may be moved towards where the function changes, by s = s0 + w sinh(c u + d) with s(0) = 0 and s(1) = 1, their weights
then being times ds/du: what a head answers comes out of the words on the first half of the way from nothing.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.polynomial import legendre

__all__ = ["CROWDED", "EVEN", "NestedRules", "nested_points", "nested_weights"]

_MIDDLE, _WIDTH = 0.25, 0.1
"""Where points are closest, and how fast they part from there."""


@dataclass(frozen=True)
class NestedRules:
    """Holds rules of which each has the points of the one before it."""

    counts: tuple[int, ...]
    """Points of each rule."""
    crowded: bool
    """True moves them to where a head's answers were seen to form."""

    def points(self) -> np.ndarray:
        """Return the points of all rules: the first rule's come first, and so on."""
        points = nested_points(self.counts)
        if not self.crowded:
            return points
        first, last = _ends()
        moved: np.ndarray = _MIDDLE + _WIDTH * np.sinh(first + (last - first) * points)
        return moved

    def weights(self, count: int) -> np.ndarray:
        """Return the weights of the first `count` points, a rule's."""
        weights = nested_weights(self.counts, count)
        if not self.crowded:
            return weights
        first, last = _ends()
        stretched = _WIDTH * (last - first) * np.cosh(first + (last - first) * nested_points(self.counts)[:count])
        moved: np.ndarray = weights * stretched
        return moved


EVEN = NestedRules((7, 15, 31), crowded=False)
CROWDED = NestedRules((5, 11, 23, 47), crowded=True)


@cache
def nested_points(counts: tuple[int, ...]) -> np.ndarray:
    """Return the points of all rules as they lie evenly: the first rule's come first, and so on."""
    points = legendre.leggauss(counts[0])[0]
    for count in counts[1:]:
        degree = count - len(points)
        x, weights = legendre.leggauss(2 * count)
        product = np.prod(x[:, None] - points, axis=1)
        polynomials = legendre.legvander(x, degree)
        sums = (polynomials[:, :degree] * (weights * product / np.abs(product).max())[:, None]).T @ polynomials
        # Half of the coefficients are 0, as the points lie evenly about 0.
        lower = np.linalg.lstsq(sums[:, :degree], -sums[:, degree], rcond=None)[0]
        points = np.append(points, np.sort(legendre.legroots(np.append(lower, 1.0)).real))
    return (points + 1) / 2


@cache
def nested_weights(counts: tuple[int, ...], count: int) -> np.ndarray:
    """Return the weights of the first `count` points, which is a rule's: they add up to 1."""
    polynomials = legendre.legvander(2 * nested_points(counts)[:count] - 1, count - 1)
    return np.linalg.solve(polynomials.T, np.eye(count)[0])


def _ends() -> tuple[float, float]:
    return float(np.arcsinh(-_MIDDLE / _WIDTH)), float(np.arcsinh((1 - _MIDDLE) / _WIDTH))
