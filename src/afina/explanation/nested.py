"""Give points and weights for the mean of a smooth function on (0, 1): 5, 11, 23, 47 points, each rule with the last one's.

To Gauss's 5 points come 6 more (Kronrod, 1965), 12 more to these, and 24 more (Patterson, 1968, "The optimum addition of
points to quadrature formulae"): the zeros of the polynomial E that makes the rule of all of them as exact as can be, which
is where the integral of G E P_k is 0 for every k below E's degree, G being the product of x less each point.

The points are then moved towards where the function changes, by s = s0 + w sinh(c u + d) with s(0) = 0 and s(1) = 1, and
their weights are times ds/du: what a text means comes out of its words on the first half of the way from nothing.
"""

from functools import cache

import numpy as np
from numpy.polynomial import legendre

__all__ = ["RULES", "crowded_points", "crowded_weights", "nested_points", "nested_weights"]

RULES = (5, 11, 23, 47)
"""Points of each rule."""
_MIDDLE, _WIDTH = 0.25, 0.1
"""Where points are closest, and how fast they part from there."""


@cache
def nested_points() -> np.ndarray:
    """Return the points (47,) of all rules, as they lie evenly: the first rule's come first, and so on."""
    points = legendre.leggauss(RULES[0])[0]
    for count in RULES[1:]:
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
def nested_weights(count: int) -> np.ndarray:
    """Return the weights of the first `count` points, which is a rule's: they add up to 1."""
    polynomials = legendre.legvander(2 * nested_points()[:count] - 1, count - 1)
    return np.linalg.solve(polynomials.T, np.eye(count)[0])


def crowded_points() -> np.ndarray:
    """Return the points (47,) of all rules, moved to where much changes."""
    first, last = _ends()
    points: np.ndarray = _MIDDLE + _WIDTH * np.sinh(first + (last - first) * nested_points())
    return points


def crowded_weights(count: int) -> np.ndarray:
    """Return the weights of the first `count` of them, a rule's."""
    first, last = _ends()
    stretched = _WIDTH * (last - first) * np.cosh(first + (last - first) * nested_points()[:count])
    weights: np.ndarray = nested_weights(count) * stretched
    return weights


def _ends() -> tuple[float, float]:
    return float(np.arcsinh(-_MIDDLE / _WIDTH)), float(np.arcsinh((1 - _MIDDLE) / _WIDTH))
