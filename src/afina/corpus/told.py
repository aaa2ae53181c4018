"""Say in sentences what was found in rows before training: labels by groups of people, doubted labels, leaked test rows."""

from collections.abc import Iterable, Sequence

from afina.corpus.balance import FEWEST, AxisBalance
from afina.corpus.label_noise import LabelNoise
from afina.corpus.leaks import Leaks
from afina.words.language import Words

__all__ = ["doubted_rows", "leak_lines", "leaked_rows", "lines_by_group", "noise_lines"]

_SHOWN_LABELS = 6
"""Labels whose shares are told of each group."""
_SHOWN_SWAPS = 3
_GOOD = 0.6
"""Share of labels that words alone give, below which what they doubt is mostly their own mistake."""


def lines_by_group(groups: Iterable[AxisBalance], labels: Sequence[str], words: Words) -> list[tuple[bool, str]]:
    """Say how labels are shared out among groups, a line each, and whether chance does not explain it."""
    lines = []
    for axis in groups:
        parts = []
        for group, counts in axis.counts.items():
            if group in axis.too_small:
                continue
            total = sum(counts.values())
            shares = ", ".join(
                f"'{label}' {words.number(100 * counts.get(label, 0) / total)}%" for label in labels[:_SHOWN_LABELS]
            )
            parts.append(f"{group} ({words.number(total)}): {shares}")
        if axis.p_value is None:
            continue
        p = words.written("< 0.001" if axis.p_value < 0.001 else f"= {axis.p_value:.3f}")
        line = words(
            "{axis}: labels differ by group (p {p}): {parts}"
            if axis.is_uneven
            else "{axis}: labels as chance may share them out (p {p}): {parts}",
            axis=axis.axis, p=p, parts="; ".join(parts),
        )  # fmt: skip
        lines.append((axis.is_uneven, line))
    small = [f"{axis.axis}: {', '.join(axis.too_small)}" for axis in groups if axis.too_small]
    if small:
        sentence = words(
            "groups with fewer than {count} rows, not compared: {groups}", count=FEWEST, groups="; ".join(small)
        )
        lines.append((False, sentence))
    return lines


def noise_lines(noise: LabelNoise | None, words: Words) -> list[tuple[bool, str]]:
    """Say which labels are doubted and how far to believe it; nothing where none were looked at."""
    if noise is None:
        return []
    accuracy, most = (words.number(100 * share) for share in (noise.accuracy, noise.most_frequent))
    if not noise.is_told:
        line = words(
            "labels were not doubted: words alone give {accuracy}% of them, no more than the most frequent one ({most}%)",
            accuracy=accuracy, most=most,
        )  # fmt: skip
        return [(False, line)]
    share = words.number(100 * noise.doubted / noise.looked, 1)
    line = words(
        "labels to look at again: {count} of {rows} ({share}%), of which words alone are sure of another; they give "
        "{accuracy}% of the labels, so that some are the words' mistakes"
        if noise.accuracy >= _GOOD
        else "labels to look at again: {count} of {rows} ({share}%), of which words alone are sure of another; they give no "
        "more than {accuracy}% of the labels, so that most are the words' mistakes, unless very many labels are wrong",
        count=words.number(noise.doubted), rows=words.number(noise.looked), share=share, accuracy=accuracy,
    )  # fmt: skip
    if noise.swaps:
        swaps = ", ".join(
            f"'{given}' → '{other}' {words.number(rows)}" for given, other, rows in noise.swaps[:_SHOWN_SWAPS]
        )
        line += f": {swaps}"
    # Some stand out of any rows: a list to look at, and no alarm.
    return [(False, line)]


def leak_lines(leaks: Leaks | None, words: Words) -> list[tuple[bool, str]]:
    """Say how many test rows stand among the train rows; nothing where there are no test rows to look at."""
    if leaks is None:
        return []
    similarity = words.written(f"{leaks.similarity:g}")
    if not leaks.exact + leaks.near:
        sentence = (
            "no test row stands among the train rows, nor nearly (similarity from {similarity}; {looked} looked at)"
        )
        return [(False, words(sentence, similarity=similarity, looked=words.number(leaks.looked_near)))]
    line = words(
        "test rows that stand among the train rows: {exact} of {rows} word for word, {near} of {looked} nearly "
        "(similarity from {similarity}); they measure what was learned by heart",
        exact=words.number(leaks.exact), rows=words.number(leaks.test_rows), near=words.number(leaks.near),
        looked=words.number(leaks.looked_near), similarity=similarity,
    )  # fmt: skip
    return [(True, line)]


def doubted_rows(noise: LabelNoise | None, words: Words, most: int | None = None) -> list[list[str]]:
    """Return a table of the labels to look at again, its head first, the surest first; nothing where none are told."""
    if noise is None or not noise.is_told or not noise.rows:
        return []
    head = [words(name) for name in ("row", "label", "suggested", "probability", "text")]
    return [
        head,
        *(
            [row.place, row.label, row.suggested, words.number(row.probability, 2), row.text]
            for row in noise.rows[:most]
        ),
    ]


def leaked_rows(leaks: Leaks | None, words: Words, most: int | None = None) -> list[list[str]]:
    """Return a table of the test rows that stand among the train rows, its head first; nothing where there are none."""
    if leaks is None or not leaks.rows:
        return []
    head = [words(name) for name in ("test row", "train row", "similarity", "text")]
    return [head, *([row.test, row.train, words.number(row.similarity, 2), row.text] for row in leaks.rows[:most])]
