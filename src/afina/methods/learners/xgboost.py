"""Gradient-boosted trees: each is grown on what those before it left over.  Chen and Guestrin, 2016; XGBoost."""

from typing import Any

import numpy as np

from afina.errors import UsageError
from afina.methods.learners.base import Arrays, FitSettings, Learner, Vectors, learner

__all__ = ["Boosted"]


@learner("xgboost")
class Boosted(Learner):
    """Boosts trees, as many rounds as there are trees; an extra."""

    scaled = False  # its trees care for no scale

    def fit(self, x: Vectors, labels: np.ndarray, classes: int, settings: FitSettings) -> dict[str, np.ndarray]:
        xgboost = _library()
        # Two classes too by softmax, so that there is one logit a class as in all other heads.
        objective = {1: "reg:squarederror"}.get(classes, "multi:softprob")
        parameters = {"objective": objective, "seed": settings.seed} | ({"num_class": classes} if classes > 1 else {})
        booster = xgboost.train(parameters, xgboost.DMatrix(x, label=labels), num_boost_round=settings.trees)
        return {"booster": np.frombuffer(bytes(booster.save_raw("ubj")), dtype=np.uint8).copy()}

    def scores(self, arrays: Arrays, x: Vectors) -> np.ndarray:
        xgboost = _library()
        # As bytes: no pickle is read, and no file is needed.
        booster = xgboost.Booster()
        booster.load_model(bytearray(arrays["booster"].tobytes()))
        values: np.ndarray = booster.predict(xgboost.DMatrix(x))
        # XGBoost gives probabilities; with their logarithm the softmax gives them back.
        return values[:, None] if values.ndim == 1 else np.log(np.maximum(values, 1e-9))

    def learned(self, arrays: Arrays) -> int:
        return 0  # its file does not say how many of its numbers were learned


def _library() -> Any:
    try:
        import xgboost
    except ImportError:
        raise UsageError("features: model xgboost needs an extra package; pip install 'afina[xgboost]'.") from None
    return xgboost
