"""Score written texts against their references: exact match, containment, token F1, ROUGE, BLEU, chrF."""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from afina.errors import UsageError, nearest
from afina.measure.bootstrap import Measure, mean_of

__all__ = ["TEXT_METRICS", "contains", "exact_match", "text_measures", "token_f1"]


def text_measures(
    predictions: Sequence[str], references: Sequence[str], names: Sequence[str] | None = None
) -> list[Measure]:
    """Return the named measures (all of `TEXT_METRICS` by default) of texts, each against its reference.

    BLEU and chrF score the whole corpus, from 0 to 100; the others are means over texts, from 0 to 1. Raises `UsageError`
    for an unknown name, and for a metric whose library is not installed.
    """
    for name in names or ():
        if name not in TEXT_METRICS:
            raise UsageError(f"There is no text metric '{name}'{nearest(name, TEXT_METRICS)}")
    return [TEXT_METRICS[name](name, predictions, references) for name in names or TEXT_METRICS]


def exact_match(prediction: str, reference: str) -> float:
    """Return 1 where both have the same words in SQuAD's normal form, else 0 (Rajpurkar et al., 2016, arXiv:1606.05250)."""
    return float(_words(prediction) == _words(reference))


def token_f1(prediction: str, reference: str) -> float:
    """Return the harmonic mean of precision and recall of the reference's words, in SQuAD's normal form."""
    predicted, wanted = _words(prediction), _words(reference)
    if not predicted or not wanted:
        # Without words on either side there is no precision: both empty is right.
        return float(predicted == wanted)
    # The smaller count of each word: one that stands twice in the answer and once in the reference is right once.
    common = (Counter(predicted) & Counter(wanted)).total()
    return 2 * common / (len(predicted) + len(wanted))


def contains(prediction: str, reference: str) -> float:
    """Return 1 where the prediction contains the reference (a name, a price) exactly, as whole words, else 0."""
    # No letter before or behind, so that 10 is not found in 100.
    return float(re.search(rf"(?<!\w){re.escape(reference)}(?!\w)", prediction) is not None)


_UNPUNCTUATED = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def _words(text: str) -> list[str]:
    """Return a text's words in SQuAD's normal form: lower case, without punctuation and English articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_UNPUNCTUATED)).split()


class _AllLetters:
    """Cuts texts of any script into lower-case words for ROUGE, whose own tokenizer knows only a to z."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"[^\W_]+", text.lower())


def _by_item(
    score: Callable[[str, str], float], name: str, predictions: Sequence[str], references: Sequence[str]
) -> Measure:
    return mean_of(name, np.array([score(*pair) for pair in zip(predictions, references, strict=True)]))


def _rouge(name: str, predictions: Sequence[str], references: Sequence[str]) -> Measure:
    """Score by ROUGE's F-measure (Lin, 2004), without stemming."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise _missing(name, "rouge-score") from None
    scorer = RougeScorer([name], tokenizer=_AllLetters())
    return _by_item(lambda said, wanted: scorer.score(wanted, said)[name].fmeasure, name, predictions, references)


def _of_corpus(kind: str, name: str, predictions: Sequence[str], references: Sequence[str]) -> Measure:
    """Score by sacrebleu's BLEU (Papineni et al., 2002) or chrF (Popović, 2015) at its defaults, from each text's counts."""
    try:
        from sacrebleu import metrics
    except ImportError:
        raise _missing(name, "sacrebleu") from None
    metric: Any = getattr(metrics, kind)()
    # sacrebleu's significance tests resample these counts; no public function returns them.
    parts = np.array(metric._extract_corpus_statistics(list(predictions), [list(references)]), dtype=np.float64)
    return Measure(name, parts, lambda sums: float(metric._compute_score_from_stats(sums.tolist()).score))


def _missing(name: str, library: str) -> UsageError:
    return UsageError(f"{name} needs {library}: pip install 'afina[evaluate]'.")


TEXT_METRICS: Mapping[str, Callable[[str, Sequence[str], Sequence[str]], Measure]] = MappingProxyType({
    "exact_match": partial(_by_item, exact_match),
    "contains": partial(_by_item, contains),
    "token_f1": partial(_by_item, token_f1),
    "rouge1": _rouge,
    "rouge2": _rouge,
    "rougeL": _rouge,
    "bleu": partial(_of_corpus, "BLEU"),
    "chrf": partial(_of_corpus, "CHRF"),
})  # fmt: skip
