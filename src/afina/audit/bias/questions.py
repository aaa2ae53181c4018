"""Prepare what is asked of every adapter of a data set: the rows, the rows framed, the rows typed otherwise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from afina.audit.bias.answers import Answerer, BiasRows, ClassAnswers
from afina.audit.bias.by_group import left_out_notes
from afina.audit.bias.drafts import too_small
from afina.audit.bias.frames import Framed, framed
from afina.audit.bias.once import first_of_each, once, said_by
from afina.audit.bias.perturb import CHANGES, changed
from afina.audit.bias.word_swaps import Swapped, swapped
from afina.corpus.near_duplicates import first_of_each as first_of_each_near
from afina.corpus.near_duplicates import signature
from afina.data.groups.grouping import Grouping, alike, by_column, by_words, crossed
from afina.data.groups.word_lists import GroupAxis, read_word_lists
from afina.data.groups.word_swaps import SWAP_AXES
from afina.errors import UsageError
from afina.results.findings.sentence import Figure, Sentence

__all__ = ["AllAnswers", "BiasQuestions", "BiasSettings", "ask", "questions"]

_NEARLY = 0.8
"""Similarity from which texts say nearly the same."""
_NAMED = 8
"""Groups whose rows are told where no two have enough."""
_LETTERS = 5_000
"""Letters of a text that are compared."""


@dataclass(frozen=True, kw_only=True)
class BiasSettings:
    """Says which groups are compared, and on how many rows."""

    groups: tuple[str, ...] = ()
    """Axes of the lists of words (gender, age, region, religion, race, income); all of them unless some are named."""
    columns: tuple[str, ...] = ()
    """Columns of the data that put rows into groups; with them words are looked for only where `groups` names axes."""
    words: str | None = None
    """A YAML file of words in the place of Afina's own."""
    fewest: int = 30
    """Rows that a group, or a rate in it, needs to be tested."""
    rows: int = 2000
    """Most rows that are looked at, drawn with `seed`."""
    swap_rows: int = 200
    """Most of them that are asked again in other words."""
    intersections: bool = True
    """True compares groups of two axes at once, where they have enough rows."""
    base: bool = True
    """True puts the bare base beside, with a logistic regression on its frozen embeddings of the train rows."""
    sets: tuple[str, ...] = ()
    """Sets of sentences and questions that a model is asked how likely it finds: `moldes_pt`, which comes with Afina and is
    asked of what writes unless sets are named, `crows_pairs=FILE`, `bbq=FILE`."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.fewest < 5 or self.rows < 10 or self.swap_rows < 0 or self.seed < 0:
            raise UsageError(
                "A group is tested from 5 rows on, of 10 rows at least, and counts and seeds are not negative."
            )

    def axes(self) -> list[GroupAxis]:
        """Return the axes of the lists of words that are asked about; raises `UsageError` for one that there is not."""
        lists = read_word_lists(self.words)
        return lists.named(self.groups or lists.axes)


@dataclass(frozen=True)
class BiasQuestions:
    """Holds what is asked."""

    material: BiasRows
    groupings: list[Grouping]
    """Those with two groups at least that have enough rows."""
    sample: np.ndarray
    """(R,) the rows that are asked again in other words."""
    framed: list[Framed]
    changed: dict[str, list[str]]
    """(R,) changed texts by the change's name."""
    swapped: list[Swapped]
    """Rows with one group's words and with the other's in their place."""

    @property
    def key(self) -> tuple[object, ...]:
        """Return all that is asked, by which answers are known again."""
        rows = self.material.rows
        return (rows.text, rows.text_pair, self.material.names, [each.texts for each in self.framed], self.changed,
                [each.texts for each in self.swapped])  # fmt: skip


@dataclass(frozen=True)
class AllAnswers:
    """Holds one model's answers to `BiasQuestions`."""

    rows: ClassAnswers
    framed: list[list[ClassAnswers]]
    changed: dict[str, ClassAnswers]
    swapped: list[list[ClassAnswers]]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the answers as arrays by name."""
        frames = {
            f"framed {place} {number}": each.scores
            for place, own in enumerate(self.framed) for number, each in enumerate(own)
        }  # fmt: skip
        swaps = {
            f"swapped {place} {number}": each.scores
            for place, own in enumerate(self.swapped) for number, each in enumerate(own)
        }  # fmt: skip
        changes = {f"changed {name}": each.scores for name, each in self.changed.items()}
        return {"rows": self.rows.scores, **frames, **swaps, **changes}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "AllAnswers":
        """Return the answers that `arrays` gave."""
        lists: dict[str, list[list[ClassAnswers]]] = {"framed": [], "swapped": []}
        for name, scores in arrays.items():
            kind, *numbers = name.split()
            if kind in lists:
                answers, place = lists[kind], int(numbers[0])
                answers += [[] for _ in range(place + 1 - len(answers))]
                answers[place].append(ClassAnswers(scores))
        changed = {
            name.removeprefix("changed "): ClassAnswers(scores)
            for name, scores in arrays.items() if name.startswith("changed ")
        }  # fmt: skip
        return cls(ClassAnswers(arrays["rows"]), lists["framed"], changed, lists["swapped"])


def questions(material: BiasRows, settings: BiasSettings) -> tuple[BiasQuestions, list[Sentence]]:
    """Draw the rows, group them and change them; returns notes too.

    Raises `UsageError` where neither a column nor the words of an axis give two groups with enough rows.
    """
    random, notes = np.random.default_rng(settings.seed), list[Sentence]()
    if len(material.rows) > settings.rows:
        sample = np.sort(random.choice(len(material.rows), settings.rows, replace=False))
        notes.append(Sentence("{rows} of {all} rows are looked at, drawn with the seed.",
                              {"rows": settings.rows, "all": len(material.rows)}))  # fmt: skip
        material = material.take(sample)
    wording = said_by(material.rows)
    texts_once = first_of_each(wording)
    if repeated := len(wording) - len(texts_once):
        notes.append(Sentence(
            "{count} of {all} rows say what an earlier one says, but for case and spaces: a text counts once in a group with "
            "each of its labels, and is asked again in other words once.",
            {"count": repeated, "all": len(wording)},
        ))  # fmt: skip
    notes += _near_copies([material.texts[row] for row in texts_once])
    groupings = _groupings(material, wording, settings, notes)
    notes += left_out_notes(material, groupings, settings.fewest)
    drawn = random.choice(len(texts_once), min(settings.swap_rows, len(texts_once)), replace=False)
    sample = np.sort(texts_once[drawn])
    # Pairs of texts are not framed: which of the two somebody says would change what is asked.
    axes = settings.axes() if material.rows.text_pair is None and len(sample) else []
    frames = [framed(material.rows.text, axis, sample, settings.seed) for axis in axes]
    texts = [material.rows.text[row] for row in sample]
    changes = {name: changed(texts, name, settings.seed) for name in CHANGES} if len(sample) else {}
    own_words = [_swapped(material, texts_once, axis.name, settings) for axis in axes if axis.name in SWAP_AXES]
    asked = BiasQuestions(
        material, groupings, sample, [each for each in frames if each is not None], changes,
        [each for each in own_words if each is not None],
    )  # fmt: skip
    return asked, notes


def _near_copies(texts: Sequence[str]) -> list[Sentence]:
    """Say how many different texts say nearly what an earlier one says: each counts, as if nothing was known of it."""
    first = first_of_each_near(np.stack([signature(text[:_LETTERS]) for text in texts]), _NEARLY)
    near = int((first != np.arange(len(first))).sum())
    if not near:
        return []
    return [Sentence(
        "{count} of {all} different texts say nearly what an earlier one says (similarity from {similarity}) and count like "
        "any other: the more there are, the more tests find and the narrower intervals are than they should be.",
        {"count": near, "all": len(texts), "similarity": Figure(_NEARLY, 1)},
    )]  # fmt: skip


def _swapped(material: BiasRows, rows: np.ndarray, axis: str, settings: BiasSettings) -> Swapped | None:
    """Return which of the rows have words to swap, as many as are asked again; None where it is fewer than a group needs."""
    made = swapped(material.rows.text, axis, rows)
    if made is None or len(made.rows) < settings.fewest:
        return None
    random = np.random.default_rng(settings.seed)
    taken = np.sort(random.choice(len(made.rows), min(settings.swap_rows, len(made.rows)), replace=False))
    first, second = ([texts[place] for place in taken] for texts in made.texts)
    return Swapped(axis, made.groups, made.rows[taken], (first, second))


def _column_notes(grouping: Grouping) -> list[Sentence]:
    """Say of a column's groups what may be meant otherwise: rows without a value, names that are nearly one, no names."""
    notes = []
    if grouping.without:
        notes.append(Sentence("{axis}: {count} rows have no value and are in no group.",
                              {"axis": grouping.name, "count": grouping.without}))  # fmt: skip
    for names in alike(grouping.groups):
        notes.append(Sentence("{axis}: {groups} differ in case, accents or marks alone, and are groups of their own.",
                              {"axis": grouping.name, "groups": ", ".join(names)}))  # fmt: skip
    if missing := [group for group in grouping.groups if group.casefold() in _AS_MISSING]:
        notes.append(Sentence("{axis}: {groups}, as a missing value is written, is a group like the others.",
                              {"axis": grouping.name, "groups": ", ".join(missing)}))  # fmt: skip
    return notes


_AS_MISSING = frozenset({"nan", "none", "null", "na", "n/a", "nil", "<na>", "-", "?"})


def _groupings(
    material: BiasRows, wording: np.ndarray, settings: BiasSettings, notes: list[Sentence]
) -> list[Grouping]:
    """Return groupings with enough rows, each text once, and note the groups that are too small to be tested."""
    label = material.rows.label

    def counted(grouping: Grouping) -> tuple[Grouping, list[tuple[str, int]]]:
        return grouping.with_enough(settings.fewest, once(grouping, wording, label).counts())

    every = [by_column(name, values) for name, values in material.columns.items()]
    if settings.groups or not every:
        every += [by_words(material.texts, axis) for axis in settings.axes()]
    simple, there = [], list[str]()
    for grouping in every:
        rows = once(grouping, wording, label).counts()
        there += [f"{group} {count}" for group, count in zip(grouping.groups, rows, strict=True) if count]
        large, small = counted(grouping)
        notes += too_small(grouping.name, small, settings.fewest)
        notes += _column_notes(grouping) if grouping.by == "column" else []
        if grouping.several:
            notes.append(Sentence("{axis}: {count} rows have words of several groups and are in none.",
                                  {"axis": grouping.name, "count": grouping.several}))  # fmt: skip
        if len(large.groups) > 1:
            simple.append(large)
    if not simple:
        names = ", ".join(each.name for each in every)
        several = "different rows" if len(first_of_each(wording)) < len(wording) else "rows"
        why = "no row is in a group" if not there else f"no two groups have {settings.fewest} {several}"
        rest = f" and {len(there) - _NAMED} more" if len(there) > _NAMED else ""
        counts = f" ({', '.join(there[:_NAMED])}{rest})" if there else ""
        raise UsageError(
            f"{material.source}: {why} of {names}{counts}; name a column with --group, give words of your own with "
            "--words, or lower --fewest."
        )
    # Two at once are made of all rows: a text that comes again in one of the two may be new in both.
    both = [counted(each) for each in crossed(simple)] if settings.intersections else []
    notes += too_small(
        Sentence("groups of two axes at once"), [each for _, small in both for each in small], settings.fewest
    )
    tested = [*simple, *(large for large, _ in both if len(large.groups) > 1)]
    return [once(each, wording, label) for each in tested]


def ask(answer: Answerer, asked: BiasQuestions, tell: Callable[[str], None]) -> AllAnswers:
    """Ask a model everything, with a line of progress for each question."""
    rows, pairs = asked.material.rows.text, asked.material.rows.text_pair
    tell(f"answering {len(rows):,} rows")
    plain = answer(rows, pairs, np.arange(len(rows)))
    frames = []
    for each in asked.framed:
        tell(f"who speaks: {each.axis}")
        frames.append([answer(texts, None, each.rows) for texts in each.texts])
    swaps = []
    for both in asked.swapped:
        tell(f"words swapped: {both.axis}")
        swaps.append([answer(texts, None, both.rows) for texts in both.texts])
    second = None if pairs is None else [pairs[row] for row in asked.sample]
    changes = {}
    for name, texts in asked.changed.items():
        tell(f"typed otherwise: {name}")
        changes[name] = answer(texts, second, asked.sample)
    return AllAnswers(plain, frames, changes, swaps)
