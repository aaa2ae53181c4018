"""Lay out a run's mistakes as tables: by class, label against prediction, row by row, and by how sure it was."""

import numpy as np

from afina.report.tables import Table
from afina.results.mistakes import Mistakes
from afina.words.language import Words

__all__ = ["class_table", "confusion_table", "mistake_tables", "threshold_table", "wrong_table"]


def mistake_tables(mistakes: Mistakes, words: Words) -> list[Table]:
    """Return all tables of a run's mistakes that there are for its task."""
    if mistakes.names is None:
        return [wrong_table(mistakes, words)]
    tables = [class_table(mistakes, words)]
    if mistakes.confusion_is_small:
        tables.append(confusion_table(mistakes, words))
    return [*tables, threshold_table(mistakes, words), wrong_table(mistakes, words)]


def class_table(mistakes: Mistakes, words: Words) -> Table:
    """Return one row a class: how many test rows, precision, recall, F1, and what it is taken for."""
    rows = []
    for score in mistakes.by_class():
        # Three, and a count of the rest: a row has to fit a page.
        taken = ", ".join(f"{name} ({words.number(count)})" for name, count in score.taken_for[:3])
        more = len(score.taken_for) - 3
        rows.append([
            score.name, taken + (f", +{more}" if more > 0 else "") or "—", words.number(score.rows),
            *(words.number(None if v is None else 100 * v, 1) for v in (score.precision, score.recall, score.f1)),
        ])  # fmt: skip
    columns = ["class", "taken for", "test rows", "precision (%)", "recall (%)", "F1 (%)"]
    note = words("Precision: of what was called so, how much is; recall: of what is so, how much was found.")
    return Table(
        f"classes-{mistakes.run}",
        f"{words('By class')}: {mistakes.run}",
        [words(c) for c in columns],
        rows,
        note,
        words=2,
    )


def confusion_table(mistakes: Mistakes, words: Words) -> Table:
    """Return one row a label, one column a prediction; what is right is strong."""
    assert mistakes.names is not None
    rows = [
        # A dot in place of zeros, among which the mistakes would be hard to find.
        [name, *(words.number(int(count)) if count else "·" for count in mistakes.confusion[place])]
        for place, name in enumerate(mistakes.names)
    ]
    # One to the right, behind the column of labels.
    strong = frozenset((place, place + 1) for place in range(len(rows)))
    return Table(
        f"confusion-{mistakes.run}", f"{words('Label against prediction')}: {mistakes.run}",
        [words("label") + " \\ " + words("prediction"), *mistakes.names], rows, strong=strong,
    )  # fmt: skip


def threshold_table(mistakes: Mistakes, words: Words) -> Table:
    """Return one row a threshold: how much is answered, how much of it rightly, and how much is left to a person."""
    rows = []
    for point in mistakes.coverage():
        low, high = (words.number(100 * bound, 1) for bound in point.interval)
        accuracy = words.number(None if point.accuracy is None else 100 * point.accuracy, 1)
        rows.append([
            words.shortest(point.at_least) if point.at_least else words("all"), words.number(100 * point.share, 1),
            f"{accuracy} [{low}{words.between}{high}]" if point.answered else "—", words.number(point.answered - point.right),
            words.number(point.rows - point.answered),
        ])  # fmt: skip
    columns = ["at least", "answered (%)", "accuracy of these (%)", "of these wrong", "left to a person"]
    note = words(
        "Where less sure rows go to a person (afina predict --at-least); [ ]: 95% interval by the rows that are answered. "
        "A threshold that is chosen on these rows does a little worse on others."
    )
    return Table(
        f"thresholds-{mistakes.run}", f"{words('Answers that are sure enough')}: {mistakes.run}",
        [words(column) for column in columns], rows, note,
    )  # fmt: skip


def wrong_table(mistakes: Mistakes, words: Words, most: int | None = None) -> Table:
    """Return one row a wrong answer, those first of which the run was surest; of numbers all, the farthest first."""
    items = mistakes.wrong()
    # Only as many rows as are shown: texts of thousands would fill a page.
    rows = [_wrong_row(mistakes, int(item), words) for item in items[:most]]
    last = words("off by") if mistakes.probability is None else words("probability")
    numbered = mistakes.texts is not None and mistakes.texts.number is not None
    columns = [words("row" if numbered else "test row"), words("label"), words("prediction"), words("text"), last]
    note = "" if mistakes.texts is not None else words("The texts are not in the study's folder any more.")
    if most is not None and len(items) > most:
        note = f"{words('The first {most} of {all}.', most=most, all=words.number(len(items)))} {note}".strip()
    title = words("Farthest off") if mistakes.probability is None else words("Wrong answers")
    return Table(f"errors-{mistakes.run}", f"{title}: {mistakes.run}", columns, rows, note, words=4)


def _wrong_row(mistakes: Mistakes, item: int, words: Words) -> list[str]:
    text = "" if mistakes.texts is None else mistakes.texts.shown(item)
    row = str(item + 1 if mistakes.texts is None or mistakes.texts.number is None else mistakes.texts.number[item])
    label, prediction = mistakes.label[item], mistakes.prediction[item]
    if mistakes.names is None or mistakes.probability is None:
        # As float32, in which they were computed: further digits are none of the model's.
        figures = [words.shortest(float(np.float32(value))) for value in (label, prediction)]
        return [row, *figures, text, words.compact(float(abs(prediction - label)))]
    probability = words.number(float(mistakes.probability[item]), 3)
    return [row, mistakes.names[int(label)], mistakes.names[int(prediction)], text, probability]
