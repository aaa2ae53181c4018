"""Copies of rows: a bias audit finds no more in ten copies of each row than in the rows, and a balance of labels neither."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from afina.audit.bias.answers import BiasRows, ClassAnswers
from afina.audit.bias.by_group import Looked, group_drafts
from afina.audit.bias.drafts import finished
from afina.audit.bias.pairs import PairSet
from afina.audit.bias.questions import BiasQuestions, BiasSettings, questions
from afina.audit.bias.sets.crows_pairs import CrowsPairs
from afina.corpus.balance import Balance
from afina.data.rows import Rows
from afina.results.findings.finding import Finding, Subject
from afina.words.language import Words

NAMES = ("no", "yes")
SUBJECT = Subject(name="run")
TEXTS = [f"{'she' if row < 10 else 'he'} said {row}" for row in range(20)]
# Seven of ten wrong in one group and three in the other: of ten rows each, chance gives that.
ANSWERED = np.array([1] * 7 + [0] * 3 + [1] * 3 + [0] * 7)


def asked_of(texts: list[str], columns: dict[str, list[Any]], **settings: Any) -> tuple[BiasQuestions, list[str]]:
    own = BiasRows(Rows(texts, None, np.zeros(len(texts), dtype=np.int64)), NAMES, columns, "rows.csv")
    asked, notes = questions(own, BiasSettings(fewest=5, **settings))
    return asked, [note.told(Words()) for note in notes]


def findings_of(asked: BiasQuestions, answered: np.ndarray) -> list[Finding]:
    scores = np.where(answered[:, None] == np.arange(2), 0.9, 0.1)
    looked = Looked(SUBJECT, ClassAnswers(scores), {})
    drafts = [
        draft for each in asked.groupings for draft in group_drafts(looked, asked.material, each, fewest=5, seed=0)
    ]
    return finished(drafts)


def test_copies_of_rows_find_no_more_than_the_rows() -> None:
    """Twenty texts ten times each were two hundred rows to every test, and a gap that chance gives failed a gate."""
    copies = [text.upper() + " " * (number % 3) if number % 2 else text for number in range(10) for text in TEXTS]
    sexes: list[Any] = ["f"] * 10 + ["m"] * 10
    alone, none = asked_of(TEXTS, {"sex": sexes}, swap_rows=0)
    again, (note, *_) = asked_of(copies, {"sex": sexes * 10}, swap_rows=0)
    before, now = findings_of(alone, ANSWERED), findings_of(again, np.tile(ANSWERED, 10))
    assert not any("say what an earlier one says" in each for each in none)
    assert note.startswith("180 of 200 rows say what an earlier one says, but for case and spaces")
    assert [each.as_dict() for each in now] == [each.as_dict() for each in before]
    assert {each.check: each.rows for each in now} == {each.check: 20 for each in before}
    assert not any(each.found for each in now)
    # As rows of their own they would have been found: the test would notice.
    apart, _ = asked_of([f"{text} {number}" for number, text in enumerate(copies)], {"sex": sexes * 10}, swap_rows=0)
    assert any(each.found for each in findings_of(apart, np.tile(ANSWERED, 10)))


def test_near_copies_count_each_and_are_said() -> None:
    """A template with a number in it is as many texts as numbers, to every test."""
    template = (
        "{} said that the parcel of last week came a day late, was opened by somebody at the shop, and held order {}"
    )
    texts = [template.format("She" if number < 15 else "He", number) for number in range(30)]
    _, notes = asked_of([*texts, "an altogether different letter, of cats"], {}, groups=("gender",), swap_rows=0)
    assert [note for note in notes if note.startswith("29 of 31 different texts say nearly what an earlier one says")]
    apart = [f"{'she' if number % 2 else 'he'} {chr(97 + number) * 9} {number:05}" for number in range(20)]
    _, none = asked_of(apart, {}, groups=("gender",), swap_rows=0)
    assert not any("say nearly" in note for note in none)


def test_a_text_counts_once_in_each_group_and_with_each_label() -> None:
    """A second column does not make new rows of a first one's copies; the two at once are counted by both."""
    texts = [text for text in TEXTS for _ in range(2)]
    columns: dict[str, list[Any]] = {"sex": ["f", "f"] * 10 + ["m", "m"] * 10, "town": ["a", "b"] * 20}
    asked, _ = asked_of(texts, columns, swap_rows=0)
    counts = {each.name: each.counts().tolist() for each in asked.groupings}
    assert counts == {"sex": [10, 10], "town": [20, 20], "sex × town": [10, 10, 10, 10]}
    both_labels = np.append(np.arange(40) % 2, [0] * 20)
    sexes: list[Any] = ["f"] * 20 + ["m"] * 20 + ["f"] * 10 + ["m"] * 10
    both = BiasRows(Rows(["text"] * 40 + TEXTS, None, both_labels), NAMES, {"sex": sexes}, "rows.csv")
    (only,) = questions(both, BiasSettings(fewest=5, swap_rows=0))[0].groupings
    assert only.counts().tolist() == [12, 12]


def test_a_text_is_asked_once_in_other_words() -> None:
    asked, _ = asked_of(TEXTS * 10, {}, groups=("gender",), swap_rows=50)
    assert asked.sample.tolist() == list(range(20))
    assert [len(each.rows) for each in asked.framed] == [20]
    assert [len(each.rows) for each in asked.swapped] == [20]


def test_copies_of_a_pair_of_sentences_are_one(tmp_path: Path) -> None:
    pairs = [{"more": f"They lie {number}.", "less": f"We lie {number}.", "kind": "age"} for number in range(6)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs * 10)))
    items, _ = CrowsPairs().read(tmp_path / "pairs.jsonl")
    scores = np.tile([[1.0, 0.0]] * 5 + [[0.0, 1.0]], (10, 1))
    crows: PairSet = CrowsPairs()
    (draft,) = crows.drafts(SUBJECT, items, scores, {}, fewest=100, seed=0)
    (once,) = crows.drafts(SUBJECT, items[:6], scores[:6], {}, fewest=100, seed=0)
    assert draft.finding.p_value == once.finding.p_value == 2 * 7 / 64
    assert draft.finding.value is not None
    assert draft.finding.value.value == 5 / 6 - 0.5


def test_copies_do_not_make_a_balance_uneven() -> None:
    rows = [(f"she said {number}", "yes" if number % 3 else "no", "f") for number in range(30)]
    rows += [(f"he said {number}", "yes" if number % 2 else "no", "m") for number in range(30)]
    p_values = []
    for copies in (1, 20):
        balance = Balance(("sex",))
        for text, label, sex in rows * copies:
            balance.add(text, label, len(text), "en", {"sex": sex})
        made = {each.axis: each for each in balance.by_group()}
        assert made["sex"].counts["f"] == {"yes": 20 * copies, "no": 10 * copies}
        p_values.append({axis: each.p_value for axis, each in made.items()})
    assert p_values[0] == p_values[1]
    assert p_values[0]["sex"] is not None
