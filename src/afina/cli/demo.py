"""`afina demo`: a small study on what comes with the package."""

from pathlib import Path
from typing import Annotated

import typer

from afina.cli.demo_chat import demo_chat

__all__ = ["DEMO", "register"]

DEMO = {
    "model": "minilm",
    "dataset": "tickets",
    "methods": ["full", "head", "features", "lora", "adalora", "ia3", "bitfit"],
    "epochs": 2,
    "batch_size": 12,
    "max_length": 128,
    # The methods' own defaults are meant for thousands of steps; these few hundred want to go faster.
    "learning_rate": {"full": 2e-4, "lora": 4e-3, "adalora": 1e-2, "ia3": 1e-2, "bitfit": 4e-3, "head": 2e-2},
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
) -> None:
    """Compare seven methods on the built-in model and support tickets: about a minute, no network.

    Example: `afina demo --out demo`; `afina demo chat` teaches a model that writes.
    """
    if context.invoked_subcommand is not None:
        return
    from afina.cli.study import run_and_report
    from afina.config import StudyConfig

    run_and_report(StudyConfig.parse(DEMO, "demo"), out, language)
