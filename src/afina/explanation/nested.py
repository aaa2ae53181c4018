"""Give points and weights for the mean of a smooth function on (0, 1): 7, 15 and 31 points, each rule with those of the last.

To Gauss's 7 points come 8 more (Kronrod, 1965), and 16 more to these (Patterson, 1968, "The optimum addition of points to
quadrature formulae"): the zeros of the polynomial E that makes the rule of all of them as exact as can be, which is where
the integral of G E P_k is 0 for every k below E's degree, G being the product of x less each point.
"""

from functools import cache

import numpy as np
from numpy.polynomial import legendre

__all__ = ["nested_points", "nested_weights"]

_RULES = (7, 15, 31)


@cache
def nested_points() -> np.ndarray:
    """Return the points (31,) of all rules: the first 7 are the first rule's, the first 15 the second's."""
    points = legendre.leggauss(_RULES[0])[0]
    for count in _RULES[1:]:
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
    """Return the weights of the first `count` points, which is one of 7, 15 and 31: they add up to 1."""
    polynomials = legendre.legvander(2 * nested_points()[:count] - 1, count - 1)
    return np.linalg.solve(polynomials.T, np.eye(count)[0])
