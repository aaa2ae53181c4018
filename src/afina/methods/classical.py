"""Fit scikit-learn's and XGBoost's models on fixed vectors, saved as plain arrays in safetensors, never pickled."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from afina.backbone.head import Head, Hidden
from afina.backbone.load import Backbone
from afina.backbone.pooling import pooled
from afina.errors import UsageError
from afina.methods.base import Method
from afina.ops.dropout import DropoutSource

__all__ = ["Classical", "ClassicalHead", "FittedMethod", "fit_classical"]


class Classical:
    """A fitted model as named arrays; `logits` is all that it can do, which is all that is asked of it."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = dict(arrays)

    def tensors(self) -> dict[str, Tensor]:
        return {f"classical.{name}": torch.from_numpy(np.ascontiguousarray(a)) for name, a in self.arrays.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Classical":
        return cls({name.removeprefix("classical."): value.numpy() for name, value in tensors.items()})

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """Return (N, K) for vectors (N, D): linear scores, or log-probabilities of trees."""
        if "booster" in self.arrays:
            return _boosted_logits(self._booster, vectors)
        scaled = ((vectors - self.arrays["mean"]) / self.arrays["deviation"]).astype(np.float32)
        if "weight" in self.arrays:
            scores: np.ndarray = scaled @ self.arrays["weight"].T + self.arrays["bias"]
            return scores
        values = _forest_values(self.arrays, scaled)
        # Log-probabilities, as all other heads give logits: the same loss and the same decoding serve them.
        return values if values.shape[1] == 1 else np.log(np.maximum(values, 1e-9))

    @cached_property
    def _booster(self) -> Any:
        # As bytes: no pickle is read, and no file is needed.
        booster = _xgboost().Booster()
        booster.load_model(bytearray(self.arrays["booster"].tobytes()))
        return booster

    def parameter_count(self) -> int:
        """Count the numbers learned: weights of a linear model, thresholds and leaf values of trees."""
        if "weight" in self.arrays:
            return self.arrays["weight"].size + self.arrays["bias"].size
        return sum(self.arrays[name].size for name in ("threshold", "value") if name in self.arrays)


class ClassicalHead(Head):
    """Holds a fitted model in the place of a head: it says of each text's vector, or of each word's, what the model says."""

    def __init__(self, fitted: Classical, backbone: Backbone, outputs: int, pooling: str) -> None:
        super().__init__(backbone.config, outputs)
        self.fitted, self._pooling = fitted, pooling
        self._causal, self._by_word = backbone.anatomy.row.causal, backbone.tags

    def pool(self, hidden: Hidden) -> Tensor:
        return hidden.states if self._by_word else pooled(hidden, self._pooling, causal=self._causal)

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        # scikit-learn and XGBoost compute on the CPU, in numpy.
        logits = self.fitted.logits(pooled.flatten(0, -2).cpu().numpy())
        return torch.from_numpy(logits.astype(np.float32)).view(*pooled.shape[:-1], -1)


class FittedMethod(Method):
    """Is fitted on vectors of the frozen model, without gradients; what it fits is then a head."""

    gradient_free = True
    pooling: Literal["mean", "cls"]

    def fit(self, vectors: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> Classical:
        """Fit on vectors (N, D); `classes` is 1 for regression on standardised labels."""
        raise NotImplementedError(f"{self.name} fits nothing")

    def head(self, tensors: Mapping[str, Tensor], backbone: Backbone, outputs: int) -> ClassicalHead:
        """Return the head that an adapter's file holds."""
        return ClassicalHead(Classical.from_tensors(tensors), backbone, outputs, self.pooling)


def fit_classical(
    model: str, vectors: np.ndarray, labels: np.ndarray, classes: int, seed: int, *, c: float, trees: int
) -> Classical:
    """Fit a model by its name (`logistic`, `forest`, `xgboost`) on vectors (N, D).

    `classes` is 1 for regression on standardised labels, `c` the inverse strength of a linear model's penalty.
    """
    if model == "xgboost":
        # Trees of XGBoost care for no scale, so that vectors go in as they are.
        return _fit_boosted(trees, vectors, labels, classes, seed)

    # Standardised, then divided by the root of the width: vectors of length about one, for which c = 1 is a fair penalty.
    mean, deviation = vectors.mean(axis=0), (vectors.std(axis=0) + 1e-6) * np.sqrt(vectors.shape[1])
    scaled = ((vectors - mean) / deviation).astype(np.float32)
    common = {"mean": mean.astype(np.float32), "deviation": deviation.astype(np.float32)}
    if model == "forest":
        return Classical(common | _fit_forest(trees, scaled, labels, classes, seed))
    return Classical(common | _fit_linear(c, scaled, labels, classes, seed))


def _fit_linear(c: float, x: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> dict[str, np.ndarray]:
    from sklearn.linear_model import LogisticRegression, Ridge

    if classes == 1:
        # Ridge's penalty grows with alpha, logistic regression's falls with C.
        ridge = Ridge(alpha=1 / c).fit(x, labels)
        return {
            "weight": ridge.coef_.reshape(1, -1).astype(np.float32),
            "bias": np.array([ridge.intercept_], dtype=np.float32),
        }
    fitted = LogisticRegression(C=c, max_iter=1000, random_state=seed).fit(x, labels)
    weight, bias = fitted.coef_, fitted.intercept_
    if classes == 2:
        # scikit-learn keeps the second class's score only.
        weight, bias = np.concatenate([np.zeros_like(weight), weight]), np.concatenate([[0.0], bias])
    return {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}


def _fit_forest(trees: int, x: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> dict[str, np.ndarray]:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestRegressor if classes == 1 else RandomForestClassifier
    grown = [entry.tree_ for entry in kind(trees, n_jobs=-1, random_state=seed).fit(x, labels).estimators_]
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


def _children(children: np.ndarray, start: int) -> np.ndarray:
    places = np.arange(len(children))
    result: np.ndarray = np.where(children < 0, places, children) + start
    return result


def _forest_values(arrays: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
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


def _xgboost() -> Any:
    try:
        import xgboost
    except ImportError:
        raise UsageError("features: model xgboost needs an extra package; pip install 'afina[xgboost]'.") from None
    return xgboost


def _fit_boosted(trees: int, x: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> Classical:
    xgboost = _xgboost()
    # Two classes too by softmax, so that there is one logit a class as in all other heads.
    objective = {1: "reg:squarederror"}.get(classes, "multi:softprob")
    parameters = {"objective": objective, "seed": seed} | ({"num_class": classes} if classes > 1 else {})
    booster = xgboost.train(parameters, xgboost.DMatrix(x, label=labels), num_boost_round=trees)
    return Classical({"booster": np.frombuffer(bytes(booster.save_raw("ubj")), dtype=np.uint8).copy()})


def _boosted_logits(booster: Any, x: np.ndarray) -> np.ndarray:
    values: np.ndarray = booster.predict(_xgboost().DMatrix(x))
    # XGBoost gives probabilities; with their logarithm the softmax gives them back.
    return values[:, None] if values.ndim == 1 else np.log(np.maximum(values, 1e-9))
