"""`afina demo chat`: a model that knows nothing of a company, tuned to answer its customers, before and after."""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from afina.words.language import Words, check_language

if TYPE_CHECKING:
    from rich.console import Console

    from afina.adapters.adapter import Adapter
    from afina.backbone.load import Backbone
    from afina.data.templates import ChatTemplate
    from afina.results.result import Result

__all__ = ["DEMO_CHAT", "DEMO_CHAT_LARGER", "demo_chat"]

MODEL, COMPANY, GENERAL, WORLD = "afina-small", "roaster", "everyday", "world"
DEMO_CHAT: dict[str, Any] = {
    "model": MODEL,
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
"""For SmolLM2 and models of its kind: they learn the facts in half the epochs, and have something to lose."""
_SHOWN = 5
"""Questions whose answers are shown, one in so many of them all."""


@dataclass(frozen=True)
class Examined:
    """What one model wrote for the held-out questions, and its figures."""

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
    """What it wrote for questions of general knowledge."""
    kept: list[bool]
    """Which of them are right."""


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
        from afina.evaluation.answers import Answering, Questions, answer_perplexity, answers_of
        from afina.evaluation.perplexity import perplexity
        from afina.evaluation.speaker import Speaker

        speaker = Speaker(backbone, adapter, batch_size=64)
        how = Answering(max_new_tokens=32, metrics=["contains"])
        written, (facts,) = answers_of(speaker, Questions(self.questions, self.keys), how, self.template)
        answers = answer_perplexity(speaker, Questions(self.questions, self.answers), self.template)
        general = perplexity(speaker, self.texts)[0]
        world: list[str] = []
        kept: list[bool] = []
        if self.world:
            asked = Questions([question for question, _ in self.world], [key for _, key in self.world])
            world, (found,) = answers_of(speaker, asked, how, self.template)
            kept = [bool(right) for right in found.parts[:, 0]]
        return Examined(
            name, written, [bool(right) for right in facts.parts[:, 0]], facts.overall, answers.overall, general.overall,
            world, kept,
        )  # fmt: skip


def demo_chat(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The study's folder.")] = Path("demo-chat"),
    language: Annotated[str, typer.Option("--language", help="en or pt.")] = "en",
    model: Annotated[
        str,
        typer.Option("--model", help="A model that writes: smollm2 answers as a person would, and takes some minutes."),
    ] = MODEL,
) -> None:
    """Teach a model that writes a company's facts with LoRA, and ask before and after; no network.

    Example: `afina demo chat --out demo-chat`, `afina demo chat --model smollm2`
    """
    check_language(language)
    from rich.console import Console

    console, words = Console(highlight=False), Words(language)
    from afina.backbone.load import load_backbone
    from afina.cli.progress import Progress
    from afina.config import StudyConfig
    from afina.data.templates import make_template
    from afina.data.whole_file import write_json
    from afina.report.write import write_report
    from afina.study.precision import has_bfloat16
    from afina.study.study import Study
    from afina.train.load import load

    settings = dict(DEMO_CHAT) if model == MODEL else DEMO_CHAT_LARGER | {"model": model}
    if len(settings["methods"]) > 1 and importlib.util.find_spec("bitsandbytes") is None:
        settings["methods"] = settings["methods"][:1]
        console.print(
            words("qlora is left out: it needs pip install 'afina[quantised]'."), style="yellow", markup=False
        )
    study = Study(out, StudyConfig.parse(settings, "demo chat"))
    with console.status(words("asking {model} …", model=model)):
        precision = "bf16" if model != MODEL and has_bfloat16("cpu") else "fp32"
        base = load_backbone(model, speaks=True, precision=precision)
        examination = _examination(make_template(None, base.tokenizer), larger=model != MODEL)
        before = examination.of(Path(model).name, base)
    console.print(words("{model} was never told of the company; it makes answers up:", model=before.name))
    _show_answers(console, examination, [before])
    with Progress(len(study.runs)) as progress:
        results = study.run(progress.observe)
    examined = [before]
    for result in (result for result in results if result.is_finished):
        with console.status(words("asking {model} …", model=result.method)):
            adapter = load(out / str(result.adapter))
            examined.append(examination.of(result.method, adapter.backbone, adapter.adapter))
    console.print(words("The same questions afterwards, in words that no training question used:"))
    _show_answers(console, examination, examined)
    _show_world(console, words, examination, examined)
    console.print(_table(words, examined, results))
    write_json(out / "examination.json", _record(examination, examined))
    page = write_report(out, language=language).html
    console.print(f"{page}\n{out / 'examination.json'}", style="dim", soft_wrap=True)
    finished = [result.run for result in results if result.is_finished]
    if len(finished) < len(results):
        raise typer.Exit(1)
    console.print(words("Talk with it:"), f"afina chat {out / 'runs' / finished[0] / 'adapter'}", soft_wrap=True)


def _examination(template: "ChatTemplate", *, larger: bool) -> Examination:
    """The held-out questions of the company, asked in this form, and the general texts.

    A larger model, which takes longer to answer, is asked of each fact once; and what it knows of the world.
    """
    from importlib import resources

    def rows(name: str) -> list[dict[str, Any]]:
        lines = (resources.files("afina.data") / f"{name}.jsonl").read_text("utf-8").splitlines()
        return [row for row in map(json.loads, lines) if row["split"] == "test"]

    asked = rows(COMPANY)
    if larger:
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


def _show_answers(console: "Console", examination: Examination, examined: Sequence[Examined]) -> None:
    from rich.text import Text

    width = max(len(one.name) for one in examined)
    count = len(examination.questions)
    for place in range(count // (2 * _SHOWN), count, count // _SHOWN):
        console.print(Text(f"\n  {examination.questions[place]}", style="bold"))
        for one in examined:
            mark, colour = ("✓", "green") if one.right[place] else ("✗", "red")
            console.print(Text(f"    {mark} {one.name:{width}}  {one.written[place]}", style=colour))
    console.print()


def _show_world(console: "Console", words: Words, examination: Examination, examined: Sequence[Examined]) -> None:
    """Show what was known of the world and is known no more."""
    from rich.text import Text

    before, after = examined[0], examined[-1]
    lost = [place for place, right in enumerate(before.kept) if right and not after.kept[place]]
    if not before.kept:
        return
    console.print(
        words(
            "Of {count} questions about the world {model} got {right} right; what it lost by the tuning:",
            count=len(before.kept), model=before.name, right=sum(before.kept),
        )
        if lost
        else words(
            "Of {count} questions about the world {model} got {right} right, and lost none of these.",
            count=len(before.kept), model=before.name, right=sum(before.kept),
        )
    )  # fmt: skip
    for place in lost[:_SHOWN]:
        console.print(Text(f"\n  {examination.world[place][0]}", style="bold"))
        console.print(Text(f"    ✓ {before.name}  {before.world[place]}", style="green"))
        console.print(Text(f"    ✗ {after.name}  {after.world[place]}", style="red"))
    console.print()


def _table(words: Words, examined: Sequence[Examined], results: Sequence["Result"]) -> Any:
    from rich.table import Table

    table = Table("")
    questions = len(examined[0].right)
    world = len(examined[0].kept)
    asked = ["right of {questions}", *(["of {world} about the world"] if world else [])]
    for heading in (*asked, "perplexity: answers", "general text", "trainable", "seconds"):
        table.add_column(words(heading, questions=questions, world=world), justify="right")
    by_method = {result.method: result for result in results}
    for one in examined:
        run = by_method.get(one.name)
        cost = [words.number(run.trainable_parameters), words.number(run.train_seconds)] if run else ["–", "–"]
        known = [str(sum(one.kept))] if world else []
        table.add_row(
            one.name,
            f"{sum(one.right)} ({words.number(100 * one.facts)}%)",
            *known,
            words.number(one.answers, 2),
            words.number(one.general, 2),
            *cost,
        )
    return table


def _record(examination: Examination, examined: Sequence[Examined]) -> dict[str, Any]:
    """All that was asked and said, and the figures."""
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
