"""A threshold is chosen by one half of the questions and judged by the other, kept in the index, and what refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from afina import api
from afina.errors import UsageError
from afina.generation.settings import GenerationSettings
from afina.results.certainty import wilson
from afina.retrieval.asking import QuestionPrompt
from afina.retrieval.bare import BareWriter
from afina.retrieval.build import build_index
from afina.retrieval.index import Index
from afina.retrieval.judged import JudgedQuestion, read_judged
from afina.retrieval.threshold import Threshold, chosen_threshold, limit_of, threshold_in
from commands import afina as run_command
from commands import refused

THINGS = ("pump", "filter", "hose", "valve", "motor", "switch", "handle", "cable", "tank", "lid", "wheel", "fan")
OTHERS = (
    "opera",
    "volcano",
    "senator",
    "penguin",
    "galaxy",
    "sonnet",
    "glacier",
    "treaty",
    "violin",
    "comet",
    "desert",
    "poem",
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told")
    (folder / "d").mkdir()
    for number, thing in enumerate(THINGS):
        text = f"The {thing} is cleaned every {number + 2} days with warm water, and dried before it is used."
        (folder / "d" / f"{thing}.txt").write_text(text)
    build_index([folder / "d"], folder / "index", precision="fp32", text_language="en")
    return folder / "index"


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    rows = [
        {"question": f"How often is the {thing} cleaned?", "answerable": thing in THINGS} for thing in THINGS + OTHERS
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "q.jsonl"


def test_the_threshold_stands_in_the_index_and_refuses_what_it_should(index: Path, questions: Path) -> None:
    shown = run_command("rag", "threshold", index, questions, "--language", "pt")
    assert shown.returncode == 0 and "recusadas embora os documentos respondam: 0 de 6" in shown.stdout
    opened = Index(index)
    made = threshold_in(opened)
    assert made is not None and made.by in ("bm25", "bert") and made.tells_apart and not opened.threshold_is_stale
    assert (made.refused.of, made.answered.of, made.answered.count) == (6, 6, 0) and made.apart == 1
    limit = limit_of(opened, "index")
    asked = ["How is the pump cleaned?", "How is the volcano cleaned?"]
    told = {thing: limit.tells(best) for thing, best in zip(("pump", "volcano"), opened.best(asked), strict=True)}
    assert told == {"pump": True, "volcano": False}
    writer = BareWriter("afina-small", device="cpu")
    for dry_run in (False, True):
        answer: Any = api.rag.ask(
            index, "Which senator wrote the treaty?", writer, GenerationSettings(max_new_tokens=2), dry_run=dry_run
        )
        assert not answer.tells and answer.prompt is None and answer.notes == ()
    assert isinstance(api.rag.ask(index, "How often is the pump cleaned?", writer, dry_run=True), QuestionPrompt)
    # None asks by no threshold, whatever the index has.
    prompt = api.rag.ask(index, "Which senator wrote the treaty?", writer, threshold=None, dry_run=True)
    assert isinstance(prompt, QuestionPrompt) and prompt.given
    with pytest.raises(UsageError, match="number with an end"):
        api.rag.ask(index, "Which?", writer, threshold=float("nan"), dry_run=True)
    lines = run_command(
        "rag", "search", index, "Which senator wrote the treaty?", "--format", "jsonl"
    ).stdout.splitlines()
    assert lines and not any(json.loads(line)["tells"] for line in lines)
    assert "documents do not tell" in run_command("rag", "search", index, "Which senator?").stdout


def test_changed_documents_keep_the_threshold_and_say_so_and_other_settings_do_not(
    index: Path, questions: Path, tmp_path: Path
) -> None:
    documents = tmp_path / "d"
    documents.mkdir()
    for path in (index.parent / "d").iterdir():
        (documents / path.name).write_bytes(path.read_bytes())
    build_index([documents], tmp_path / "i", representation="bm25")
    made = api.rag.threshold(tmp_path / "i", questions, refuse_at_most=0.0)
    assert made is not None and made.by == "bm25" and made.refused.count == 0
    (documents / "new.txt").write_text("The garden is closed on Sundays.")
    build_index([documents], tmp_path / "i")
    opened = Index(tmp_path / "i")
    assert threshold_in(opened) == made and opened.threshold_is_stale
    writer = BareWriter("afina-small", device="cpu")
    answer: Any = api.rag.ask(tmp_path / "i", "Which senator?", writer)
    assert answer.notes and "changed since the threshold was set" in answer.notes[0]
    assert "mudaram desde" in run_command("rag", "threshold", tmp_path / "i", "--language", "pt").stdout
    build_index([documents], tmp_path / "i", representation="bm25", tokens=100, force=True)
    assert threshold_in(Index(tmp_path / "i")) is None


def test_a_threshold_is_removed_and_shown(index: Path, questions: Path) -> None:
    api.rag.threshold(index, questions)
    assert "documents do not tell" in run_command("rag", "threshold", index).stdout
    values = json.loads(run_command("rag", "threshold", index, "--format", "json").stdout)
    assert (
        Threshold.read(values["threshold"]).as_dict() == values["threshold"] and not values["documents_changed_since"]
    )
    assert "has no threshold" in run_command("rag", "threshold", index, "--remove").stdout
    assert threshold_in(Index(index)) is None
    refused(run_command("rag", "threshold", index, questions, "--remove"), "one of the two")


class _Told:
    """Stands for an index whose parts give known scores to questions."""

    def __init__(self, scores: dict[str, dict[str, float]]) -> None:
        self.scores, self.rankers, self.values = scores, dict.fromkeys(["bm25", "bert"]), {"edition": "edition-1"}

    def best(self, texts: list[str]) -> list[dict[str, float]]:
        return [self.scores[text] for text in texts]


SCORES = st.lists(st.sampled_from([-np.inf, 0.0, 0.25, 0.5, 0.75, 1.0]), min_size=10, max_size=30)


# Found by chance once: only questions without an answer find something, and everything has to be refused.
@example([-np.inf] * 10, [*[-np.inf] * 8, 0.25, 0.0], 0, None)
@given(SCORES, SCORES, st.integers(0, 5), st.sampled_from([None, 0.0, 0.3]))
def test_rates_are_those_of_the_half_that_did_not_choose(
    right: list[float], wrong: list[float], seed: int, at_most: float | None
) -> None:
    """By brute force: no other threshold on the same scores errs less on the choosing half."""
    kinds = {True: right, False: wrong}
    scores = {
        f"{tells} {place}": {"bert": score}
        for tells, own in kinds.items()
        for place, score in enumerate(own)
        if score > -np.inf
    }
    scores |= {
        f"{tells} {place}": {} for tells, own in kinds.items() for place, score in enumerate(own) if score == -np.inf
    }
    asked = [JudgedQuestion(f"{tells} {place}", tells) for tells, own in kinds.items() for place in range(len(own))]
    try:
        made = chosen_threshold(_Told(scores), asked, seed=seed, refuse_at_most=at_most)  # type: ignore[arg-type]
    except UsageError as error:
        assert "No threshold" in str(error)
        return
    draw = np.random.default_rng(seed)
    parts = {}
    for tells, own in kinds.items():
        order = draw.permutation(len(own))
        parts[tells] = np.array(own)[order[: len(own) // 2]], np.array(own)[order[len(own) // 2 :]]

    def errs(value: float, half: int) -> tuple[float, float]:
        return float((parts[True][half] < value).mean()), float((parts[False][half] >= value).mean())

    assert made.by == "bert" and np.isfinite(made.value)
    assert (made.refused.share, made.answered.share) == pytest.approx(errs(made.value, 1))
    assert made.refused.interval == wilson(made.refused.count, made.refused.of)
    tried = [errs(value, 0) for value in np.linspace(-0.125, 1.125, 11)[0:] if value <= max(v for v in right + wrong)]
    mine = errs(made.value, 0)
    if at_most is None:
        assert sum(mine) <= min(map(sum, tried), default=2) + 1e-9
    else:
        assert mine[0] <= at_most and mine[1] <= min((a for r, a in tried if r <= at_most), default=1) + 1e-9


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("question,answerable\nA?,yes\nB?,não\nB?,no\n", [True, False]),
        ("pergunta;sem_resposta\nA?;sim\nB?;não\n", [False, True]),
        ('question,answers\nA?,"{""text"": [""x""], ""answer_start"": [3]}"\nB?,"{""text"": []}"\n', [True, False]),
        ("question,answer\nA?,[see below]\nB?,\n", [True, False]),
    ],
)
def test_questions_are_read_as_people_have_them(tmp_path: Path, text: str, wanted: list[bool]) -> None:
    (tmp_path / "q.csv").write_text(text)
    assert [each.answerable for each in read_judged(tmp_path / "q.csv")] == wanted


def test_what_cannot_set_a_threshold_is_one_sentence_and_the_index_stays(index: Path, tmp_path: Path) -> None:
    before = (index / "index.json").read_bytes()
    cases = {
        "question,answerable\nA?,yes\n,no\n": "row 2: the question is empty",
        "question,answerable\nA?,maybe\nB?,no\n": "row 1: 'answerable' is true or false, not 'maybe'",
        "question,answerable\nA?,yes\nA?,no\n": "stands there twice",
        "question,date\nA?,1999\n": "does not say which questions the documents answer",
        "date,answerable\n1999,yes\n": "no column of questions",
        "question,answerable\n" + "".join(f"Q{n}?,no\n" for n in range(20)): "with an answer in the documents, and there",
        "question,answerable\n" + "".join(f"Q{n}?,yes\n" for n in range(20)): "questions without an answer in the documents",
    }  # fmt: skip
    for number, (text, words) in enumerate(cases.items()):
        (tmp_path / f"{number}.csv").write_text(text)
        refused(run_command("rag", "threshold", index, tmp_path / f"{number}.csv"), words)
    refused(run_command("rag", "threshold", index, tmp_path / "0.csv", "--question", "ask"), "no column 'ask'")
    refused(
        run_command("rag", "ask", index, "?", "--model", "afina-small", "--threshold", "high"),
        "a number, none or index",
    )
    with pytest.raises(UsageError, match="from 0 to below 1, not 1"):
        api.rag.threshold(index, [], refuse_at_most=1.0)
    assert (index / "index.json").read_bytes() == before
