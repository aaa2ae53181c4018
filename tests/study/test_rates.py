"""Learning rates: `auto` for every method of the registry, what a person sets, and what reports say of rates nobody chose."""

import json
from pathlib import Path
from typing import Any

import pytest

from afina.config import StudyConfig
from afina.errors import UsageError
from afina.methods.base import Method, make_method, method_names, registry
from afina.report.write import write_report
from afina.results.doubts import Doubts, doubts
from afina.results.recommend import recommend
from afina.results.results_jsonl import read_results
from afina.results.statistics import cells
from afina.study.plan import expand, remarks
from afina.study.search import trials
from afina.study.study import Study
from afina.words.language import Words
from result_folders import write_study

LENGTHS = (50, 500, 5_000)
TRAINED = [name for name in method_names() if not registry()[name].gradient_free]


def rate(name: str, steps: int, width: int = 384, **settings: Any) -> float:
    found = make_method(name, settings).with_rate(steps=steps, width=width, speaks=False)
    assert found.learning_rate is not None
    return found.learning_rate


@pytest.mark.parametrize("name", TRAINED)
def test_every_method_says_its_rate_for_any_run(name: str) -> None:
    assert registry()[name].rates is not Method.rates, "the rule of no method in particular"
    rates = [rate(name, steps) for steps in LENGTHS]
    assert rates == sorted(rates, reverse=True), "more steps never want a higher rate"
    assert 1e-6 < rates[-1] <= rates[0] < 1
    assert rate(name, 500, width=4_096) <= rate(name, 500, width=384)
    assert rate(name, 1) == rate(name, 10), "in next to no steps no rate is enough"


@pytest.mark.parametrize("name", TRAINED)
def test_a_rate_that_is_set_stays(name: str) -> None:
    for steps in LENGTHS:
        assert rate(name, steps, learning_rate=0.0123) == 0.0123
        assert rate(name, steps, rate_factor=3.0) == pytest.approx(3 * rate(name, steps), rel=5e-3)
    settled = make_method(name, {"rate_factor": 3.0}).with_rate(steps=500, width=384)
    assert settled.with_rate(steps=50, width=384) == settled, "a rate that is found is not found again"
    assert make_method(name, settled.settings()) == settled
    with pytest.raises(UsageError, match="rate_factor multiplies auto's rate"):
        make_method(name, {"learning_rate": 0.1, "rate_factor": 2.0})


def test_a_wider_model_is_tuned_whole_at_a_lower_rate() -> None:
    assert rate("full", 500, width=768) < rate("full", 500, width=384)
    assert rate("full", 500) < rate("lora", 500)


@pytest.mark.parametrize("settings", [{"alpha": 32.0}, {"rslora": True}, {"b_rate": 16.0}, {"alpha": -32.0}])
def test_what_makes_loras_steps_larger_lowers_its_rate(settings: dict[str, Any]) -> None:
    assert rate("lora", 500, **settings) < rate("lora", 500)
    assert rate("dora", 500, **settings) < rate("dora", 500)
    assert rate("lora", 500, rank=32) == rate("lora", 500), "at one alpha the size of a change is that of any rank"
    assert rate("adalora", 500, alpha=32.0) < rate("adalora", 500)
    assert rate("prefix", 500, reparametrise=True) < rate("prefix", 500)


def test_a_search_multiplies_what_auto_is() -> None:
    given = {"model": "minilm", "dataset": "tickets", "methods": ["lora", "features"], "learning_rate": "search"}
    planned = trials(StudyConfig.parse(given, "test"))
    assert planned is not None
    runs = [run.with_rate(steps=150, width=384, speaks=False) for run in expand(planned[0])]
    assert [run.settings["learning_rate"] for run in runs] == pytest.approx(
        [factor * rate("lora", 150) for factor in (0.3, 1.0, 3.0, 10.0)], rel=5e-3
    )
    assert len({run.costs_like for run in runs}) == 1


def test_a_writer_adapts_all_layers_unless_told_otherwise() -> None:
    given = {"model": "afina-small", "dataset": "roaster", "task": "chat"}
    methods: list[Any] = ["lora", "adalora", {"dora": {"targets": ["query"]}}, "qlora", "ia3"]
    config = StudyConfig.parse({**given, "methods": methods}, "test")
    found = {run.label: list(run.settings.get("targets", [])) for run in expand(config)}
    assert found == {
        "lora": ["all"], "adalora": ["all"], "dora(targets=['query'])": ["query"], "qlora": ["all"],
        "ia3": ["key", "value", "ffn_down"],
    }  # fmt: skip
    (said,) = (remark for remark in remarks(config) if "targets" in remark)
    assert said.startswith("lora, adalora: targets: all, ")
    told = StudyConfig.parse({**given, "methods": methods, "targets": ["value"]}, "test")
    assert {tuple(run.settings["targets"]) for run in expand(told) if run.label in ("lora", "adalora")} == {("value",)}
    assert not remarks(told)
    reader = StudyConfig.parse({"model": "minilm", "dataset": "tickets", "methods": methods}, "test")
    assert not remarks(reader)


def test_a_plan_knows_the_rows_that_are_held_out() -> None:
    """Its rate is that of the study, whose steps are those of what is left."""
    from afina.study.data import study_data
    from afina.study.sizes import sizes_of

    given = {"model": "minilm", "dataset": "tickets", "methods": ["lora"], "early_stopping": 2}
    config = StudyConfig.parse(given, "test")
    left, whole = (
        study_data(own, own.dataset[0]) for own in (config, config.model_copy(update={"early_stopping": None}))
    )
    assert sizes_of(config, config.dataset[0], "minilm").train_rows == len(left.train) < len(whole.train)


@pytest.mark.parametrize("preset", ["xsum", "gsm8k"])
def test_a_preset_that_writes_needs_no_task_for_a_writers_defaults(preset: str) -> None:
    config = StudyConfig.parse({"model": "afina-small", "dataset": preset, "methods": ["lora"]}, "test")
    assert [run.settings["targets"] for run in expand(config)] == [["all"]]
    assert remarks(config)[0].startswith("lora: targets: all, ")
    scored = StudyConfig.parse({"model": "minilm", "dataset": "rte", "methods": ["lora"]}, "test")
    assert [run.settings["targets"] for run in expand(scored)] == [["query", "value"]]


def test_the_docs_say_what_auto_comes_to() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "methods.md").read_text()
    for name in TRAINED:
        figures = [rate(name, steps) for steps in (150, 500, 1_500, 5_000)] + [rate(name, 500, width=768)]
        assert f"| `{name}` | {' | '.join(f'{figure:g}' for figure in figures)} |\n" in text


# -- what is said of rates that nobody chose ------------------------------------------------------------------------------


def changed(folder: Path, **by_method: dict[str, Any]) -> Path:
    """The study with other facts in the results of these methods, and the steps of a short run in all."""
    results = read_results(folder)
    for result in results:
        result |= {"steps": 120, "rate": "searched", "head_alone": result["method"] == "head"}
        own = dict(by_method.get(result["method"], {}))
        curve = own.pop("curve", [0.8, 0.8])
        entries = zip(result["history"], curve, strict=True)
        result |= {"history": [entry | {"train_accuracy": value} for entry, value in entries], **own}
    (folder / "results.jsonl").write_text("".join(json.dumps(result) + "\n" for result in results))
    return folder


def said_by(folder: Path, language: str = "en") -> str:
    """All that a report says: the page and the table of differences."""
    files = write_report(folder, language=language)
    return files.html.read_text() + (folder / "tables" / "differences-m-d.md").read_text()


SKILLS = {"full": (0.9, 2.0, 5.0), "lora": (0.8, 1.0, 2.0), "head": (0.7, 0.5, 1.0)}


DOUBTS = {
    "default": (
        {"rate": "default"},
        "Rates are defaults (lora) and the runs short (120 steps)",
        "As taxas são as padrão (lora)",
    ),
    "rising": (
        {"curve": [0.5, 0.8]},
        "improved steeply in the last epoch: lora.",
        "melhorou muito na última época: lora.",
    ),
    "low": ({"curve": [0.6, 0.6]}, "Below the head alone on the train rows", "Abaixo da cabeça sozinha"),
}


@pytest.mark.parametrize(("facts", "english", "portuguese"), DOUBTS.values(), ids=DOUBTS)
def test_doubts_are_said_beside_the_differences(
    facts: dict[str, Any], english: str, portuguese: str, tmp_path: Path
) -> None:
    every = ["Rates are defaults", "improved steeply in the last epoch", "Below the head alone"]
    folder = changed(write_study(tmp_path, SKILLS), lora=facts)
    page = said_by(folder)
    assert english in page
    assert [phrase for phrase in every if phrase in page] == [phrase for phrase in every if phrase in english]
    if "Rates" in english:
        assert english in (folder / "tables" / "differences-m-d.md").read_text()
        assert (folder / "report.html").read_text().count(english) == 1
    assert portuguese in said_by(folder, "pt")
    (doubt,) = recommend(folder).doubts
    assert english in doubt


def test_what_is_said_of_several_is_said_in_the_plural() -> None:
    doubts = Doubts(by_default=(), steps=36, rising=("head", "lora"), below_head=("ia3", "vera"))
    assert [sentence.split(",")[0] for sentence in doubts.learning(Words())] == [
        "Still learning when their steps were over", "Below the head alone on the train rows",
    ]  # fmt: skip
    assert doubts.learning(Words("pt"))[0].endswith(
        ": head, lora. Mais épocas ou taxas maiores mudariam os seus lugares."
    )
    assert doubts.learning(Words())[1].endswith(": ia3, vera. Their rates are too low or too high for so few steps.")


def test_nothing_is_said_where_nothing_is_doubtful(tmp_path: Path) -> None:
    long = {name: {"rate": "default", "steps": 5_000} for name in SKILLS}
    folder = changed(write_study(tmp_path, SKILLS), **long)
    assert not recommend(folder).doubts
    assert "Rates are defaults" not in said_by(folder)


def test_an_error_that_falls_steeply_is_a_doubt_too(tmp_path: Path) -> None:
    folder = write_study(tmp_path, SKILLS)
    results = read_results(folder)
    for result in results:
        falls = result["method"] == "lora"
        history = [{"epoch": 1, "train_perplexity": 9.0}, {"epoch": 2, "train_perplexity": 5.0 if falls else 8.9}]
        result |= {"metric": "perplexity", "history": history, "steps": 5_000}
    assert doubts(cells(results)).rising == ("lora",)


def test_recommend_speaks_portuguese_and_says_whose_accuracy(tmp_path: Path) -> None:
    from afina.words.language import Words
    from afina.words.recommend import PORTUGUESE

    folder = changed(write_study(tmp_path, SKILLS), lora={"rate": "default"})
    refused = dict(recommend(folder, minimum=0.75).excluded)
    assert refused["head on m"].startswith("its accuracy is 0.")
    nothing = recommend(folder, minimum=0.99)
    assert "comes nearest: its accuracy is 0." in nothing.reason
    words = Words("pt")
    answer = recommend(folder, minimum=0.75, words=words)
    assert "full em m tem o melhor valor de acurácia, 0," in answer.reason
    assert answer.doubts[0].startswith("As taxas são as padrão (lora)")
    assert dict(answer.excluded)["head em m"].startswith("tem acurácia de 0,")
    assert dict(answer.excluded)["head em m"].endswith("o limite é 0,75")
    limits = ({"minutes": 1.5}, {"memory_bytes": 0.9e9}, {"minutes": 0.1})
    spoken = [words_of for limit in limits for words_of in _sentences(recommend(folder, words=words, **limit))]
    english = {phrase for phrase in PORTUGUESE if len(phrase) > 12}
    assert not [
        said for said in spoken for phrase in english if phrase.split("{")[0].strip() and phrase.split("{")[0] in said
    ]


def _sentences(answer: Any) -> list[str]:
    return [answer.reason, *(why for _, why in answer.excluded)]


# -- for real -------------------------------------------------------------------------------------------------------------


@pytest.mark.whole
def test_lora_at_its_default_beats_the_head_in_a_short_run(tmp_path: Path) -> None:
    """At the rate of the paper's table 9, meant for thousands of steps, it stays far below."""
    results = Study(
        tmp_path / "out", model="minilm", dataset="tickets", methods=["lora", "head"], epochs=3, max_length=32,
        train_limit=160, test_limit=100, train_evaluation_limit=20, precision="fp32", cohort="off",
    ).run()  # fmt: skip
    found = {result["method"]: result["test_metric"] for result in results}
    assert found["lora"] > found["head"] > 0.3
