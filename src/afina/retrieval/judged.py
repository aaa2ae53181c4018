"""Read questions of which it is known whether the documents answer them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afina.data.files.tables import read_table
from afina.data.names import ANSWERABLE, ASKED, PASSAGE_ANSWERS, REFERENCES, UNANSWERABLE, usual_name
from afina.errors import UsageError, nearest, shown
from afina.retrieval.answers_given import answers_in

__all__ = ["JudgedQuestion", "read_judged"]

_TRUE = frozenset({"true", "yes", "sim", "1", "1.0", "y", "s"})
_FALSE = frozenset({"false", "no", "nao", "não", "0", "0.0", "n"})


@dataclass(frozen=True)
class JudgedQuestion:
    """Holds a question, and whether the documents hold its answer."""

    text: str
    answerable: bool


def read_judged(
    path: Path, *, question: str | None = None, answerable: str | None = None, notes: list[str] | None = None
) -> list[JudgedQuestion]:
    """Return a table's questions, each once; a column says whether the documents answer each, or has the answers.

    Without names the usual ones are looked for: `question`, and `answerable` (true or false), `is_impossible` (SQuAD 2.0's,
    the other way round) or `answers`, empty where there is none. Raises `UsageError` for what is not there or says neither.
    """
    table = read_table(path, notes)
    names = table.column_names
    for given in (question, answerable):
        if given is not None and given not in names:
            raise UsageError(f"{path} has no column {shown(given)}{nearest(given, names)}")
    asked = question or usual_name(names, ASKED)
    if asked is None:
        raise UsageError(f"{path} has no column of questions; say which with --question ({', '.join(names)}).")
    says = answerable or usual_name(names, (*ANSWERABLE, *UNANSWERABLE, *PASSAGE_ANSWERS, *REFERENCES))
    if says is None:
        raise UsageError(
            f"{path} does not say which questions the documents answer: a column 'answerable' of true and false is needed, "
            "or one of answers, empty where there is none (--answerable names it)."
        )
    known: dict[str, bool] = {}
    values = table[says].to_pylist()
    has_answers = _are_answers(says, values)
    for row, (text, value) in enumerate(zip(table[asked].to_pylist(), values, strict=True), start=1):
        where, words = f"{path}, row {row}", " ".join(str(text or "").split())
        if not words:
            raise UsageError(f"{where}: the question is empty.")
        tells = bool(answers_in(value)) if has_answers else _told(says, value, where)
        if known.setdefault(words, tells) != tells:
            raise UsageError(f"{where}: this question stands there twice, once with an answer and once without.")
    return [JudgedQuestion(text, tells) for text, tells in known.items()]


def _are_answers(column: str, values: Sequence[Any]) -> bool:
    """Return whether a column holds answers, by its name or else by what stands in it; otherwise it is true or false."""
    if usual_name([column], (*ANSWERABLE, *UNANSWERABLE)):
        return False
    named = usual_name([column], (*PASSAGE_ANSWERS, *REFERENCES)) is not None
    return named or not {str(value).strip().lower() for value in values} <= _TRUE | _FALSE


def _told(column: str, value: Any, where: str) -> bool:
    """Return whether a cell of true or false says that there is an answer."""
    word = str(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise UsageError(f"{where}: '{column}' is true or false, not {shown(str(value))}.")
    return (word in _TRUE) != bool(usual_name([column], UNANSWERABLE))
