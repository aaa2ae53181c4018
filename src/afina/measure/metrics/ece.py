"""Expected calibration error: how far probabilities are from how often they are right.  Guo et al., 2017, arXiv:1706.04599.

Of B bins of equal width over the predicted classes' probabilities, each of n_b of N rows,
    ECE = sum over b of n_b / N |share right in b - mean probability in b|        (equation 3)
"""

from collections.abc import Callable

import numpy as np

from afina.measure.diagram import Diagram
from afina.measure.metrics.base import Answered, Metric, Pick, metric

__all__ = ["CalibrationError"]

_BINS = 15


@metric("ece")
class CalibrationError(Metric):
    """Measures the expected calibration error over 15 bins."""

    of = ("classes",)
    percent = True
    higher_is_better = False
    of_scores = True
    portuguese = "erro de calibração"
    phrases = (
        ("How far its probabilities can be trusted", "Quanto se pode confiar nas suas probabilidades"),
        ("mean probability of the answers", "probabilidade média das respostas"),
        ("share of them that are right", "parcela delas que está certa"),
        (
            "Rows by the probability of what was predicted, in 15 bins; the larger a point, the more rows. On the line what "
            "is said to be so sure is right so often; below it the model is surer than it should be (ece: mean distance).",
            "Linhas pela probabilidade do que foi previsto, em 15 faixas; quanto maior o ponto, mais linhas. Sobre a reta, o "
            "que se diz com tal certeza acerta com tal frequência; abaixo dela o modelo tem mais certeza do que devia (erro "
            "de calibração: a distância média).",
        ),
    )

    def over(self, answers: Answered) -> Callable[[Pick], float]:
        # Bins do not depend on the draw, so that they are found once.
        rows = self._rows(answers)

        def value(pick: Pick) -> float:
            sure, right, count = self._bins(rows[pick])
            return float(np.abs(right - sure).sum() / count.sum())

        return value

    def diagram(self, answers: Answered) -> Diagram:
        sure, right, count = self._bins(self._rows(answers))
        # An empty bin has no mean.
        there = count > 0
        points = zip(sure[there] / count[there], right[there] / count[there], count[there], strict=True)
        title, across, up, note = (english for english, _ in self.phrases)
        return Diagram(title, across, up, note, [(float(x), float(y), int(n)) for x, y, n in points])

    def _rows(self, answers: Answered) -> np.ndarray:
        """Return each row's probability, whether it is right, and its bin, (N, 3)."""
        sure = answers.scores.max(axis=1).astype(float)
        bins = np.searchsorted(np.linspace(0, 1, _BINS + 1)[1:-1], sure)  # an edge is the lower bin's
        return np.stack([sure, answers.label == answers.prediction, bins], axis=1)

    def _bins(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return of each bin the sum of its rows' probabilities, how many are right, and how many there are."""
        sure, right, bins = rows[:, 0], rows[:, 1], rows[:, 2].astype(int)
        return (
            np.bincount(bins, sure, _BINS), np.bincount(bins, right, _BINS), np.bincount(bins, minlength=_BINS),
        )  # fmt: skip
