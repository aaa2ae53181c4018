"""A random forest: the mean of what many trees say, each grown on drawn rows.  Breiman, 2001; scikit-learn."""

import numpy as np

from afina.methods.learners.base import Arrays, FitSettings, Learner, Vectors, learner

__all__ = ["Forest"]

_ROWS = 512
"""Rows that go down the trees together: sparse vectors are made dense for it, so many at a time."""


@learner("forest")
class Forest(Learner):
    """Grows trees, kept as plain arrays and walked by numpy."""

    def fit(self, x: Vectors, labels: np.ndarray, classes: int, settings: FitSettings) -> dict[str, np.ndarray]:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        kind = RandomForestRegressor if classes == 1 else RandomForestClassifier
        forest = kind(settings.trees, n_jobs=-1, random_state=settings.seed).fit(x, labels)
        grown = [entry.tree_ for entry in forest.estimators_]
        starts = np.cumsum([0, *(tree.node_count for tree in grown)])
        return {
            "roots": starts[:-1].astype(np.int64),
            # Children count from their own tree's root; a leaf is its own child, so that walking may go on past it.
            "left": np.concatenate([_children(t.children_left, s) for t, s in zip(grown, starts[:-1], strict=True)]),
            "right": np.concatenate([_children(t.children_right, s) for t, s in zip(grown, starts[:-1], strict=True)]),
            "feature": np.concatenate([np.maximum(tree.feature, 0) for tree in grown]).astype(np.int64),
            "threshold": np.concatenate([tree.threshold for tree in grown]),
            "value": np.concatenate([tree.value[:, 0, :] for tree in grown]),
            "depth": np.array([max(tree.max_depth for tree in grown)]),
        }

    def scores(self, arrays: Arrays, x: Vectors) -> np.ndarray:
        parts = [x[start : start + _ROWS] for start in range(0, x.shape[0], _ROWS)]
        dense = (part if isinstance(part, np.ndarray) else part.toarray() for part in parts)
        values = np.concatenate([_values(arrays, part) for part in dense])
        # Log-probabilities, as all other heads give logits: the same loss and the same decoding serve them.
        return values if values.shape[1] == 1 else np.log(np.maximum(values, 1e-9))

    def learned(self, arrays: Arrays) -> int:
        return arrays["threshold"].size + arrays["value"].size


def _children(children: np.ndarray, start: int) -> np.ndarray:
    places = np.arange(len(children))
    result: np.ndarray = np.where(children < 0, places, children) + start
    return result


def _values(arrays: Arrays, x: np.ndarray) -> np.ndarray:
    """Mean over trees of the reached leaf's value, (N, K)."""
    total = np.zeros((len(x), arrays["value"].shape[1]))
    rows = np.arange(len(x))
    for root in arrays["roots"]:
        node = np.full(len(x), root)
        # All rows go down a tree together; one that has reached its leaf stays there, as a leaf is its own child.
        for _ in range(int(arrays["depth"][0])):
            goes_left = x[rows, arrays["feature"][node]] <= arrays["threshold"][node]
            node = np.where(goes_left, arrays["left"][node], arrays["right"][node])
        total += arrays["value"][node]
    return total / len(arrays["roots"])
