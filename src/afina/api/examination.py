"""An examination of a model that writes: a company's facts, general text and general knowledge, before and after tuning."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afina.adapters.adapter import Adapter
    from afina.backbone.load import Backbone
    from afina.data.templates.named import ChatTemplate

__all__ = ["COMPANY", "Examination", "Examined", "examination", "record"]

COMPANY, GENERAL, WORLD = "roaster", "everyday", "world"


@dataclass(frozen=True)
class Examined:
    """Holds what one model wrote for the held-out questions, and its figures."""

    name: str
    written: list[str]
    right: list[bool]
    facts: float
    """Share of the answers that hold the fact asked for, letter for letter."""
    answers: float
    """Perplexity of the right answers."""
    general: float
    """Perplexity of general text that nothing was tuned on."""
    world: list[str]
    """Texts that it wrote for questions of general knowledge."""
    kept: list[bool]
    """True for each of those texts that is right."""


@dataclass(frozen=True)
class Examination:
    """Held-out questions with the fact that a right answer holds, and general text."""

    questions: list[str]
    answers: list[str]
    keys: list[str]
    texts: list[str]
    world: list[tuple[str, str]]
    """Questions of general knowledge, each with what a right answer holds."""
    template: "ChatTemplate"

    def of(self, name: str, backbone: "Backbone", adapter: "Adapter | None" = None) -> Examined:
        """Examine a model, with an adapter or bare."""
        from afina.evaluation.answers import Answering, Questions, answer_perplexity, answers_of
        from afina.evaluation.perplexity import perplexity
        from afina.evaluation.speaker import Speaker

        # Many at once: the answers are short, and there are several hundred.
        speaker = Speaker(backbone, adapter, batch_size=64)
        how = Answering(max_new_tokens=32, metrics=["contains"])
        # The key stands letter for letter in a right answer, so that no judge is needed.
        written, (facts,) = answers_of(speaker, Questions(self.questions, self.keys), how, self.template)
        answers = answer_perplexity(speaker, Questions(self.questions, self.answers), self.template)
        general = perplexity(speaker, self.texts)[0]
        world: list[str] = []
        retained: list[bool] = []
        # A small model knows nothing of the world, and is not asked.
        if self.world:
            asked = Questions([question for question, _ in self.world], [key for _, key in self.world])
            world, (answered,) = answers_of(speaker, asked, how, self.template)
            retained = [bool(right) for right in answered.parts[:, 0]]
        return Examined(
            name, written, [bool(right) for right in facts.parts[:, 0]], facts.overall, answers.overall, general.overall,
            world, retained,
        )  # fmt: skip


def examination(template: "ChatTemplate", *, larger: bool) -> Examination:
    """Return the held-out questions of the company, asked in this form, and the general texts.

    A larger model, which takes longer to answer, is asked of each fact once; and what it knows of the world.
    """
    from importlib import resources

    def rows(name: str) -> list[dict[str, Any]]:
        lines = (resources.files("afina.data") / "sets" / f"{name}.jsonl").read_text("utf-8").splitlines()
        # Test rows alone: what is asked was not among what is taught.
        return [row for row in map(json.loads, lines) if row["split"] == "test"]

    asked = rows(COMPANY)
    if larger:
        # The last question of each fact; asked again in other words it takes as long and says little more.
        asked = list({row["fact"]: row for row in asked}.values())
    world = [(row["question"], row["key"]) for row in rows(WORLD)] if larger else []
    questions, answers = ([row["messages"][place]["content"] for row in asked] for place in (0, 1))
    return Examination(
        questions,
        answers,
        [row["key"] for row in asked],
        [row["text"] for row in rows(GENERAL)],
        world,
        template,
    )


def record(examination: Examination, examined: Sequence[Examined]) -> dict[str, Any]:
    """Return all that was asked and said, and the figures, as JSON-able values."""
    return {
        "models": {
            one.name: {
                "facts_right": one.facts, "answer_perplexity": one.answers, "general_perplexity": one.general,
            }
            | ({"world_right": sum(one.kept) / len(one.kept)} if one.kept else {})
            for one in examined
        },
        "questions": [
            {"question": question, "key": examination.keys[place]} | {one.name: one.written[place] for one in examined}
            for place, question in enumerate(examination.questions)
        ],
        "world": [
            {"question": question, "key": key} | {one.name: one.world[place] for one in examined}
            for place, (question, key) in enumerate(examination.world)
        ],
    }  # fmt: skip
