"""Gather what is asked of which kind: in words that were trained on, in others, of other facts, or of what nobody tells."""

from collections.abc import Iterable, Sequence

from afina.corpus.near_duplicates import signature, similar
from afina.errors import UsageError
from afina.results.comparison import AskedQuestion
from afina.retrieval.index import Index
from afina.retrieval.questions import DocumentQuestion, same_words

__all__ = ["kinds_of", "leakage", "limited"]

_NEAR = 0.8
"""Similarity of two questions' pieces from which they are nearly the same."""


def kinds_of(questions: Sequence[DocumentQuestion], trained: Sequence[DocumentQuestion]) -> list[AskedQuestion]:
    """Return each question with its kind, and the group that it is drawn with: its own unless it names one."""
    words = {same_words(each.text) for each in trained}
    facts = {fact for each in trained for fact in _facts(each)}
    asked = []
    for question in questions:
        if not question.is_told:
            kind = "not_told"
        elif same_words(question.text) in words:
            kind = "trained"
        else:
            kind = "reworded" if facts & _facts(question) else "new"
        asked.append(AskedQuestion(question.text, kind, question.group or f"row {question.row}", question.row))
    return asked


def _facts(question: DocumentQuestion) -> set[str]:
    """Return what tells that two questions ask the same: their group, or else the same good answer."""
    if not question.is_told:
        return set()
    return (
        {f"group {question.group}"} if question.group else {f"answer {same_words(each)}" for each in question.answers}
    )


def limited(questions: Sequence[DocumentQuestion], asked: Sequence[AskedQuestion], limit: int | None) -> list[int]:
    """Return the places of at most so many questions, of each kind evenly, spread over the file; always the same ones."""
    if limit is None or limit >= len(questions):
        return list(range(len(questions)))
    kinds: dict[str, list[int]] = {}
    for place, each in enumerate(asked):
        kinds.setdefault(each.kind, []).append(place)
    chosen: list[int] = []
    # The smallest kinds first, so that what they leave goes to the others.
    left, waiting = limit, sorted(kinds.values(), key=len)
    for number, places in enumerate(waiting):
        count = min(len(places), left // (len(waiting) - number))
        # Evenly over the file, as neighbours often ask of one document.
        chosen += [places[step * len(places) // count] for step in range(count)]
        left -= count
    return sorted(chosen)


def leakage(
    questions: Sequence[DocumentQuestion], trained: Sequence[DocumentQuestion], index: Index | None
) -> dict[str, int]:
    """Count what training rows, test questions and documents have in common."""
    if not any(question.is_told for question in questions):
        raise UsageError("None of the questions that are asked has an answer; name others.")
    words = {same_words(each.text) for each in trained}
    # Questions that were trained on word for word are counted by themselves.
    others = [each for each in questions if same_words(each.text) not in words]
    counts = {
        "test_questions": len(questions), "train_questions": len(trained),
        "test_questions_trained_on": len(questions) - len(others), "test_questions_nearly_trained_on": 0,
        "test_answers_trained_on": 0,
    }  # fmt: skip
    if trained:
        known = [signature(each.text) for each in trained]
        from numpy import stack

        marks = stack(known)
        counts["test_questions_nearly_trained_on"] = sum(
            bool(similar(signature(each.text), marks).max() >= _NEAR) for each in others
        )
        answers = {same_words(answer) for each in trained for answer in each.answers}
        counts["test_answers_trained_on"] = sum(
            any(same_words(answer) in answers for answer in each.answers) for each in questions
        )
    if index is not None:
        # One text with a space at either end, so that words are found as whole ones.
        text = f" {same_words(chr(10).join(index.edition.texts()))} "
        counts |= {
            "test_questions_in_documents": _inside((each.text for each in questions), text),
            "train_answers_in_documents": _inside((each.answers[0] for each in trained if each.is_told), text),
        }
    return counts


def _inside(texts: Iterable[str], text: str) -> int:
    return sum(f" {words} " in text for words in map(same_words, texts) if words)
