"""`afina demo`: a small study on what comes with the package."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from afina.cli.demo_chat import demo_chat

__all__ = ["demo_study", "register"]

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


def register(app: typer.Typer) -> None:
    group = typer.Typer(invoke_without_command=True)
    group.callback()(demo)
    group.command(name="chat")(demo_chat)
    app.add_typer(group, name="demo")


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The study's folder.")] = Path("demo"),
    language: Annotated[str, typer.Option("--language", help="Language of the report: en or pt.")] = "en",
    everything: Annotated[
        bool, typer.Option("--all", help="Every method with five seeds, as cohorts: some ten minutes.")
    ] = False,
) -> None:
    """Compare seven methods on the built-in model and support tickets: two to four minutes, no network.

    Example: `afina demo --out demo`; `afina demo chat` teaches a model that writes.
    """
    if context.invoked_subcommand is not None:
        return
    from afina.cli.study import run_and_report
    from afina.config import StudyConfig

    run_and_report(StudyConfig.parse(demo_study(everything=everything), "demo"), out, language)


def demo_study(*, everything: bool = False) -> dict[str, Any]:
    """Return the demo's study, or the one of every method that can be had here."""
    from afina.methods.base import make_method, method_names

    methods, seeds = _DEMO["methods"], 1
    if everything:
        can_quantise = find_spec("bitsandbytes") is not None
        methods = [name for name in method_names() if can_quantise or not make_method(name, {}, {}).quantised]
        seeds = 5
    return {**_DEMO, "methods": methods, "seeds": seeds}
