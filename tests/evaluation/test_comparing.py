"""Ways of answering from documents: they ask what `rag ask` asks, are tested by facts, and go on where they broke off."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import afina
from afina import api
from afina.errors import UsageError
from afina.evaluation.comparing.answering import WayAnswer, judged
from afina.evaluation.comparing.asked import kinds_of, limited
from afina.generation.settings import GenerationSettings
from afina.measure.metrics.answers import OF_ANSWERS
from afina.report.ways import write_ways_report
from afina.results.comparison import AskedQuestion, WayRun, WaysCompared, read_comparison
from afina.results.ways import WAYS
from afina.results.ways_told import ways_told
from afina.retrieval.questions import DocumentQuestion
from afina.words.language import Words
from commands import afina as run_command
from commands import refused

FACTS = {
    "price": ("What does the pump cost?", "How much is the pump?", "The pump costs 90 reais.", "90 reais"),
    "weight": ("How heavy is the pump?", "What does the pump weigh?", "The pump weighs three kilos.", "three kilos"),
    "colour": ("Which colour is the hose?", "What is the colour of the hose?", "The hose is yellow.", "yellow"),
    "warranty": (
        "How long is the warranty?", "For how long is there a warranty?", "The warranty lasts two years.", "two years",
    ),
}  # fmt: skip


def rows() -> dict[str, list[dict[str, Any]]]:
    """Three facts are trained on in their first wording; the first is asked in it, the others in the second."""
    made: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for place, (fact, (first, second, answer, key)) in enumerate(FACTS.items()):
        known = {"answer": answer, "key": key, "fact": fact, "passage": answer}
        made["train"] += [{"question": first, **known}] if fact != "warranty" else []
        made["test"].append({"question": second if place else first, **known})
    made["test"].append({"question": "Who made the pump?"})
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ways")
    (folder / "documents").mkdir()
    sections = "".join(f"# {fact}\n\n{texts[2]}\n\n" for fact, texts in FACTS.items())
    (folder / "documents" / "pump.md").write_text(sections)
    for name, questions in rows().items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    return folder


def keys(folder: Path, **more: Any) -> dict[str, Any]:
    tuning = {"method": {"lora": {"rank": 2}}, "epochs": 1, "batch_size": 4, "precision": "fp32", "max_length": 256}
    return {
        "documents": str(folder / "documents"), "indexing": {"representation": "bm25"},
        "questions": str(folder / "test.jsonl"), "train_questions": str(folder / "train.jsonl"), "model": "afina-small",
        "passages": 2, "max_new_tokens": 6, "device": "cpu", "tuning": tuning, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def compared(folder: Path) -> api.rag.Compared:
    """Give a whole comparison: two trainings and six ways of answering, on the smallest model that writes."""
    return api.rag.compare(out=folder / "out", **keys(folder))


def test_every_way_answers_what_it_would_answer_alone(folder: Path, compared: api.rag.Compared) -> None:
    made, settings = compared.ways, GenerationSettings(max_new_tokens=6)
    assert [question.kind for question in made.questions] == ["trained", "reworded", "reworded", "new", "not_told"]
    assert made.ways == list(afina.api.rag.Compared.__annotations__) or len(made.runs) == 6
    question = made.questions[1].text
    (retrieved,) = made.of("afina-small", "base_retrieval")
    alone: Any = api.rag.ask(folder / "out" / "index", question, "afina-small", settings, most=2, device="cpu")
    assert retrieved.texts[1] == alone.text and retrieved.prompt_tokens > 0 and retrieved.preparing.keys() == {"index"}
    for way, given in (("tuned", None), ("reading_retrieval", 2)):
        (run,) = made.of("afina-small", way)
        adapter = folder / "out" / str(run.adapter)
        if given is None:
            writer: Any = afina.load(adapter)
            expected = writer.generate([[{"role": "user", "content": question}]], settings)[0].text.strip()
        else:
            answer: Any = api.rag.ask(folder / "out" / "index", question, str(adapter), settings, most=given)
            expected = answer.text
        assert run.texts[1] == expected and run.trainable_parameters > 0
        assert {"rows", "training"} <= run.preparing.keys()
    assert read_comparison(folder / "out").as_dict() == made.as_dict()
    assert made.leakage["test_questions_trained_on"] == 1 and made.leakage["train_answers_in_documents"] == 3
    assert made.found_share("afina-small", "base_retrieval") == 1.0
    assert "Retrieve, tune, or both" in compared.report.html.read_text()


def test_a_comparison_that_was_broken_off_goes_on_with_the_first_question_that_is_missing(
    folder: Path, compared: api.rag.Compared
) -> None:
    path = folder / "out" / "afina-small" / "answers" / "base_retrieval-0.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:20])  # a kill in the middle of a line
    again = api.rag.compare(out=folder / "out", **keys(folder))
    assert path.read_bytes().splitlines(keepends=True)[:3] == lines[:3] and len(lines) == 6
    for one, other in zip(compared.ways.runs, again.ways.runs, strict=True):
        assert (one.texts, one.scores, one.found, one.preparing) == (
            other.texts, other.scores, other.found, other.preparing)  # fmt: skip


ANSWER = WayAnswer("", 0.0, 0.0, 0, 0, None, 0, None)


@pytest.mark.parametrize(
    ("answer", "cites", "right", "exact", "f1", "wrong_refusal", "holds"),
    [
        ("It is 90 reais.", None, 1, 0, 0.5, 0, None),
        ("“The pump costs 90 reais.” [1] The pump costs 90 reais.", True, 1, 1, 1, 0, 1),
        ("The pump costs 90 reais [2].", False, 1, 1, 1, 0, 0),
        ("The documents do not tell.", False, 0, 0, 0, 1, None),
        ("I don't know.", None, 0, 0, 0, 1, None),
        ("190 reais", None, 0, 0, 1 / 3, 0, None),
    ],
)
def test_an_answer_is_judged_by_its_words_without_its_citations(
    answer: str, cites: bool | None, right: float, exact: float, f1: float, wrong_refusal: float, holds: float | None
) -> None:
    question = DocumentQuestion("How much?", ("The pump costs 90 reais.",), ("90 reais",))
    values = judged(question, WayAnswer(**{**vars(ANSWER), "text": answer, "cites": cites}))
    parts = dict(zip(OF_ANSWERS, zip(values[::2], values[1::2], strict=True), strict=True))
    assert parts["right_answers"] == parts["answer_contains"] == (right, 1)
    assert parts["answer_exact"] == (exact, 1) and parts["answer_f1"] == (pytest.approx(f1), 1)
    assert parts["wrong_refusals"] == (wrong_refusal, 1) and parts["refusals"] == (0, 0)
    assert parts["held_citations"] == ((0, 0) if holds is None else (holds, 1))
    not_told = judged(DocumentQuestion("Who?", ()), WayAnswer(**{**vars(ANSWER), "text": answer}))
    assert not_told[0] == wrong_refusal and not_told[1] == 1 and not_told[3] == 0


def test_kinds_are_told_from_what_was_trained_on_and_a_limit_takes_of_each() -> None:
    trained = [DocumentQuestion("What is A?", ("a",), group="A")]
    questions = [
        DocumentQuestion("what is a", ("a",), group="A"), DocumentQuestion("Tell me A.", ("a",), group="A"),
        DocumentQuestion("What is B?", ("a",), group="B"), DocumentQuestion("What is C?", ()),
        *(DocumentQuestion(f"What is B{number}?", ("b",), row=number) for number in range(20)),
    ]  # fmt: skip
    asked = kinds_of(questions, trained)
    assert [each.kind for each in asked[:4]] == ["trained", "reworded", "new", "not_told"]
    chosen = limited(questions, asked, 6)
    assert len(chosen) == 6 and {asked[place].kind for place in chosen} == {"trained", "reworded", "new", "not_told"}
    ungrouped = kinds_of([DocumentQuestion("Say it.", ("A!",))], [DocumentQuestion("What?", ("a",))])
    assert ungrouped[0].kind == "reworded"  # the same answer, where nothing says what is asked of


def made_up(folder: Path, right: dict[str, list[list[bool]]], *, wordings: int = 1) -> WaysCompared:
    """Return a comparison in which each way has so many right answers, by seed; each fact stands in some wordings."""
    count = len(next(iter(right.values()))[0])
    questions = [
        AskedQuestion(f"{fact} {wording}", "trained" if wording == 0 else "reworded", f"fact {fact}", fact)
        for wording in range(wordings) for fact in range(count)
    ]  # fmt: skip
    runs = []
    for way, seeds in right.items():
        for seed, rights in enumerate(seeds):
            scores = [[float(each), 1.0] * 4 + [0.0] * 6 for each in rights] * wordings
            tuned = WAYS[way].who != "base"
            runs.append(
                WayRun("m/base", way, seed, ["x"] * len(scores), scores, [None] * len(scores), 0.1, 0.1, 9, 9,
                       {"training": 60.0} if tuned else {}, 2e9 if tuned else 1e9)
            )  # fmt: skip
    made = WaysCompared(folder, "right_answers", questions, runs)
    made.write()
    return made


def draws(share: float, count: int = 60, seed: int = 0) -> list[bool]:
    return list(np.random.default_rng(seed).random(count) < share)


def test_the_answer_is_decided_or_said_to_be_undecided(tmp_path: Path) -> None:
    clear = made_up(tmp_path, {"base": [draws(0.1)], "tuned": [draws(0.2, seed=1)], "base_retrieval": [draws(0.9, seed=2)],
                               "base_oracle": [[True] * 60]})  # fmt: skip
    verdict, *others = ways_told(clear, "m/base", Words("en"), clear.tests("m/base"))
    assert verdict.startswith("Worth it: base with retrieval (right answers ")
    assert any(
        each.startswith("Retrieval beside answering from memory: +") and each.endswith("better.") for each in others
    )
    assert "Vale a pena: base com recuperação" in ways_told(clear, "m/base", Words("pt"), clear.tests("m/base"))[0]
    answer = api.recommend(tmp_path)
    assert answer.choice is not None and answer.choice.method == "base_retrieval" and answer.decided
    assert [label for label, why in answer.excluded if "right passage" in why] == ["base_oracle on base"]
    even = made_up(
        tmp_path, {"base": [draws(0.5)], "tuned": [draws(0.5, seed=1)], "base_retrieval": [draws(0.5, seed=2)]}
    )
    verdict, *_ = ways_told(even, "m/base", Words("en"), even.tests("m/base"))
    assert (
        verdict.startswith("The data cannot decide by right answers between ")
        and "cheapest to prepare is base" in verdict
    )
    assert not api.recommend(tmp_path).decided
    limited_to = api.recommend(tmp_path, minutes=0.5)
    assert ("tuned on base", "it takes 1.0 minutes, the limit is 0.5") in limited_to.excluded


def test_wordings_of_one_fact_are_no_facts_of_their_own(tmp_path: Path) -> None:
    right = {"base": [draws(0.4)], "base_retrieval": [draws(0.55, seed=3)]}
    (once,), (thrice,) = (made_up(tmp_path, right, wordings=count).tests("m/base") for count in (1, 3))
    assert once.items == thrice.items == 60
    assert (once.low, once.high, once.p_value) == pytest.approx((thrice.low, thrice.high, thrice.p_value))


def test_a_way_without_training_stands_beside_every_seed_of_the_others(tmp_path: Path) -> None:
    seeds = [draws(0.5, seed=number) for number in range(3)]
    made = made_up(tmp_path, {"base": [draws(0.5, seed=9)], "tuned": seeds})
    (entry,) = made.tests("m/base")
    assert entry.seeds == 3
    assert entry.difference == pytest.approx(np.mean(draws(0.5, seed=9)) - np.mean(seeds))
    assert made.figure("m/base", "tuned", "refusals") is None
    (result,) = (each for each in made.results() if each.method == "base")
    assert result.test_metrics["refusals"] is None and result.test_metric == pytest.approx(np.mean(draws(0.5, seed=9)))


def test_a_comparisons_report_is_written_in_both_languages(tmp_path: Path) -> None:
    made_up(tmp_path, {"base": [draws(0.3)], "base_retrieval": [draws(0.8, seed=1)]}, wordings=2)
    files = write_ways_report(tmp_path, language="pt")
    page = files.html.read_text(encoding="utf-8")
    assert "Recuperar, ajustar ou os dois" in page and "em palavras novas" in page and "Nothing" not in page
    shown = run_command("report", tmp_path, "--language", "pt")
    assert shown.returncode == 0 and "Vale a pena: base com recuperação" in " ".join(shown.stdout.split()), shown.stderr
    advice = run_command("recommend", tmp_path, "--language", "pt")
    assert advice.returncode == 0 and "base_retrieval" in advice.stdout


def wrong(folder: Path) -> Iterator[tuple[dict[str, Any], str]]:
    yield {"documents": None}, "documents: to be indexed, or index:"
    yield {"index": "x"}, "one of the two"
    yield {"ways": ["base", "base_retreival"]}, "there is no way 'base_retreival'"
    yield {"ways": ["base"]}, "nothing to compare"
    yield {"train_questions": None}, "give train_questions:"
    yield {"tuning": {"method": "lora", "epoch": 1}}, "unknown key 'epoch'"
    yield {"tuning": {"method": "lorra"}}, "lorra"
    yield {"tuning": {"method": "lora", "task": "chat"}}, "'task' is said by the comparison itself"
    yield {"indexing": {"token": 9}}, "no setting 'token'"
    yield {"questions": str(folder / "nowhere.jsonl")}, "does not exist"
    yield {"questions": {"path": str(folder / "test.jsonl"), "answer": "anser"}}, "no column 'anser'"
    yield {"epochs": 3}, "write it within tuning:"
    yield {"metric": "accuracy"}, "'metric'"
    yield {"seeds": 0}, "seed"
    yield {"rows": {"passages": 3}}, "has 'passages', which the comparison says itself"


def test_what_cannot_be_compared_is_refused_in_a_sentence_before_anything_is_made(folder: Path, tmp_path: Path) -> None:
    for changes, sentence in wrong(folder):
        given = {name: value for name, value in keys(folder, **changes).items() if value is not None}
        with pytest.raises(UsageError) as refusal:
            api.rag.compare(out=tmp_path / "out", **given)
        assert sentence in str(refusal.value) and "\n" not in str(refusal.value), changes
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match=r"no comparison's and holds thesis\.txt"):
        api.rag.compare(out=tmp_path / "mine", **keys(folder))
    with pytest.raises(UsageError, match="writes no text"):
        api.rag.compare(out=tmp_path / "out", **keys(folder, model="minilm", ways=["base", "base_retrieval"]))
    bare = tmp_path / "bare.jsonl"
    bare.write_text('{"question": "Which colour?", "answer": "yellow"}\n')
    with pytest.raises(UsageError, match="base_oracle needs the passages that tell"):
        api.rag.compare(out=tmp_path / "out", **keys(folder, questions=str(bare), ways=["base", "base_oracle"]))


def test_the_command_shows_the_answer_and_names_what_is_wrong(
    folder: Path, compared: api.rag.Compared, tmp_path: Path
) -> None:
    import yaml

    (folder / "ways.yaml").write_text(yaml.safe_dump(keys(folder)))
    as_json = run_command("rag", "compare", folder / "ways.yaml", "--out", folder / "out", "--format", "json")
    assert json.loads(as_json.stdout)["ways"][0]["texts"] == compared.ways.runs[0].texts
    (tmp_path / "bad.yaml").write_text("model: afina-small\n")
    refused(run_command("rag", "compare", tmp_path / "bad.yaml", cwd=tmp_path), "'questions' is required")
