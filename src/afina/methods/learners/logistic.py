"""Logistic regression, and ridge regression for numbers: the classes' scores are x w + b.  scikit-learn."""

import numpy as np

from afina.methods.learners.base import Arrays, FitSettings, Learner, Vectors, learner

__all__ = ["Logistic"]


@learner("logistic")
class Logistic(Learner):
    """Fits a linear model, with a squared penalty of inverse strength c."""

    def fit(self, x: Vectors, labels: np.ndarray, classes: int, settings: FitSettings) -> dict[str, np.ndarray]:
        from sklearn.linear_model import LogisticRegression, Ridge

        if classes == 1:
            # Ridge's penalty grows with alpha, logistic regression's falls with C.
            ridge = Ridge(alpha=1 / settings.c).fit(x, labels)
            return {
                "weight": ridge.coef_.reshape(1, -1).astype(np.float32),
                "bias": np.array([ridge.intercept_], dtype=np.float32),
            }
        fitted = LogisticRegression(C=settings.c, max_iter=1000, random_state=settings.seed).fit(x, labels)
        weight, bias = fitted.coef_, fitted.intercept_
        if classes == 2:
            # scikit-learn keeps the second class's score only.
            weight, bias = np.concatenate([np.zeros_like(weight), weight]), np.concatenate([[0.0], bias])
        return {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}

    def scores(self, arrays: Arrays, x: Vectors) -> np.ndarray:
        scores: np.ndarray = x @ arrays["weight"].T + arrays["bias"]
        return scores

    def learned(self, arrays: Arrays) -> int:
        return arrays["weight"].size + arrays["bias"].size
