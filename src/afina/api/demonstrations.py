"""Demonstrations: small studies on what comes with the package, without a network."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afina.api.examination import COMPANY, Examination, Examined, examination, record
from afina.api.studies import Observer, Outcome, study

__all__ = [
    "DEMO_CHAT",
    "DEMO_CHAT_LARGER",
    "SMALL",
    "Demonstration",
    "can_quantise",
    "chat_study",
    "demo",
    "demo_chat",
    "demo_study",
]

_DEMO: dict[str, Any] = {
    "model": "minilm",
    "dataset": "tickets",
    "methods": ["full", "head", "features", "lora", "adalora", "ia3", "bitfit"],
    "epochs": 2,
    "batch_size": 12,
    "max_length": 128,
    "train_evaluation_limit": 400,
    "sample_seconds": 0.1,
}
SMALL = "afina-small"
DEMO_CHAT: dict[str, Any] = {
    "model": SMALL,
    "dataset": COMPANY,
    "task": "chat",
    "methods": [
        {"lora": {"rank": 16, "alpha": 32, "targets": ["all"]}},
        {"qlora": {"rank": 16, "alpha": 32, "dropout": 0.0}},
    ],
    "epochs": 8,
    "batch_size": 16,
}
DEMO_CHAT_LARGER: dict[str, Any] = {
    "model": "smollm2",
    "dataset": COMPANY,
    "task": "chat",
    "methods": [{"lora": {"rank": 16, "alpha": 32, "targets": ["all"]}}],
    "epochs": 4,
    "batch_size": 16,
    "learning_rate": 1e-3,
}
"""Settings for SmolLM2 and models of its kind: they learn the facts in half the epochs, and have something to lose."""


def demo(
    out: str | Path = "demo", *, everything: bool = False, language: str = "en",
    observer: Observer = lambda event: None,
) -> Outcome:  # fmt: skip
    """Compare seven methods on the built-in model and support tickets, or `everything` that can be had here in five seeds."""
    from afina.config import StudyConfig

    config = StudyConfig.parse(demo_study(everything=everything), "demo")
    return study(config, out, language=language, observer=observer)


def demo_study(*, everything: bool = False) -> dict[str, Any]:
    """Return the demo's study, or the one of every method that can be had here."""
    from afina.methods.base import make_method, method_names

    methods, seeds = _DEMO["methods"], 1
    if everything:
        # What the demo shows is what can be had here: a method that needs an uninstalled package is left out, not
        # failed.
        methods = [name for name in method_names() if can_quantise() or not make_method(name, {}, {}).quantised]
        seeds = 5
    return {**_DEMO, "methods": methods, "seeds": seeds}


@dataclass(frozen=True)
class Demonstration:
    """A model that writes before and after it was taught a company's facts."""

    outcome: Outcome
    examination: Examination
    examined: Sequence[Examined]
    """The bare model first, then each method that finished."""
    record: Path
    """All that was asked and said, as JSON."""


def demo_chat(
    out: str | Path = "demo-chat",
    *,
    model: str = SMALL,
    language: str = "en",
    asked: Callable[[Examination, Examined], None] = lambda examination, examined: None,
    observer: Observer = lambda event: None,
    tell: Callable[[str], None] = lambda model: None,
) -> Demonstration:
    """Teach a model that writes a company's facts, and ask before and after.

    `asked` is told what each model wrote, the bare one before anything is trained, `tell` which model is being asked,
    `observer` what happens in the study. QLoRA is left out where what it needs is not installed.
    """
    from afina.config import StudyConfig
    from afina.predictor.load import load
    from afina.whole_file import write_json
    from afina.words.language import check_language

    # A language that there is not would be noticed only when the study has run, as its report is written.
    check_language(language)
    config = StudyConfig.parse(chat_study(model), "demo chat")
    # Before the study imports and trains anything, so that somebody who waits sees what for.
    tell(model)
    questions, before = _before(model)
    asked(questions, before)

    # The bare model is asked before anything is trained, so that the two stand side by side.
    examined = [before]
    outcome = study(config, out, language=language, observer=observer)
    for result in outcome.finished:
        tell(result.method)
        adapter = load(outcome.directory / str(result.adapter))
        examined.append(questions.of(result.method, adapter.backbone, adapter.adapter))
        asked(questions, examined[-1])
    # In the study's folder, so that whoever moves the study has what was said with it.
    place = outcome.directory / "examination.json"
    write_json(place, record(questions, examined))
    return Demonstration(outcome, questions, examined, place)


def chat_study(model: str = SMALL) -> dict[str, Any]:
    """Return the study of `demo_chat` on a model, without the methods that cannot be had here."""
    keys = dict(DEMO_CHAT) if model == SMALL else DEMO_CHAT_LARGER | {"model": model}
    return keys if can_quantise() else {**keys, "methods": keys["methods"][:1]}


def can_quantise() -> bool:
    """Return whether what quantised bases need is installed."""
    return importlib.util.find_spec("bitsandbytes") is not None


def _before(model: str) -> tuple[Examination, Examined]:
    """Return the questions in the form that the model knows, and what it answers untaught."""
    from afina.backbone.load import load_backbone
    from afina.backbone.storage.base import worth_trying
    from afina.data.templates.named import make_template
    from afina.precision import EXACT

    larger = model != SMALL
    # The small one is measured in the exact precision that it was trained in; a larger one as fast as the machine can.
    precision = next((kind.name for kind in worth_trying("cpu")), EXACT) if larger else EXACT
    base = load_backbone(model, speaks=True, precision=precision)
    questions = examination(make_template(None, base.tokenizer), larger=larger)
    return questions, questions.of(Path(model).name, base)
