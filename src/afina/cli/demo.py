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
    # The methods' own defaults are meant for thousands of steps; these few hundred want to go faster.
    "learning_rate": {
        "full": 2e-4, "lora": 4e-3, "dora": 4e-3, "qlora": 4e-3, "svd": 2e-3, "adalora": 1e-2, "ia3": 1e-2,
        "bitfit": 4e-3, "norms": 4e-3, "head": 2e-2, "ptuning": 4e-3, "llama-adapter": 2e-2, "houlsby": 1e-3,
        "pfeiffer": 1e-3, "parallel": 1e-3, "loreft": 1e-2,
    },
    "train_evaluation_limit": 400,
    "sample_seconds": 0.1,
}  # fmt: skip


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
    rates = {name: rate for name, rate in _DEMO["learning_rate"].items() if name in methods}
    return {**_DEMO, "methods": methods, "seeds": seeds, "learning_rate": rates}
