"""`afina audit leak`: what a trained adapter gives away of its training data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.audit import columns_of
from afina.cli.audit_shown import hold, limits_of, show_cells
from afina.cli.command import PANELS, command
from afina.cli.options import (
    BaseModel,
    BatchSize,
    Device,
    FailAbove,
    Force,
    Format,
    Language,
    Messages,
    Precision,
    Seed,
    Target,
    Text,
)
from afina.cli.terminal import console_for, note, print_json, show_file, working

if TYPE_CHECKING:
    from rich.console import Console

    from afina.audit.run import LeakAudit
    from afina.words.language import Words

__all__ = ["leak"]


@command("audit leak", panel=PANELS[2])
def leak(
    target: Annotated[str, typer.Argument(metavar="ADAPTER|STUDY", help="An adapter's folder, or a study's.")],
    train: Annotated[
        Path | None, typer.Option("--train", metavar="FILE", help="Rows that it was trained on; default: its study's.")
    ] = None,
    held_out: Annotated[
        Path | None, typer.Option("--held-out", metavar="FILE", help="Rows like them that it was not trained on.")
    ] = None,
    canaries: Annotated[
        Path | None, typer.Option("--canaries", metavar="FILE", help="The manifest that afina audit canaries wrote.")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=5, help="Most train rows, and held-out rows, looked at.")] = 200,
    prefix: Annotated[int, typer.Option("--prefix", min=1, help="Tokens of a row that are given away first.")] = 16,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Most tokens that it is to go on for.")] = 64,
    references: Annotated[
        int, typer.Option("--references", min=1, help="Other secrets that a canary's is ranked among.")
    ] = 512,
    text: Text = None,
    answer: Target = None,
    messages: Messages = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR|FILE.json", help="Write leak.json and leak.html, or JSON alone."),
    ] = None,
    cards: Annotated[
        bool, typer.Option("--cards", help="Write the verdict into the adapters' cards, too; no row is quoted there.")
    ] = False,
    fail_above: FailAbove = None,
    seed: Seed = 0,
    batch_size: BatchSize = 16,
    model: BaseModel = None,
    device: Device = "auto",
    precision: Precision = None,
    force: Force = False,
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Measure what adapters that write give away of their training rows, beside held-out rows and the bare base.

    Example: `afina audit leak study/ --canaries train.jsonl.canaries.json --out audit/`

    Three tests: are train rows told by their loss (membership), are they recited after their beginning (recitation), are
    planted secrets exposed (canaries). The tables and files show pieces of the training data. With `--fail-above 0` any leak
    that is found gives exit code 3.
    """
    console = console_for(format)
    from afina import api
    from afina.api.audit import audit_files
    from afina.audit.leak import LeakSettings
    from afina.audit.run import LeakAudit
    from afina.words.language import Words

    limits = limits_of(fail_above, LeakAudit)
    settings = LeakSettings(
        rows=rows, prefix=prefix, most=tokens, references=references, batch_size=batch_size, seed=seed
    )  # fmt: skip
    words = Words(language)
    with working(console, words("starting"), words) as tell:
        audit = api.audit.leak(
            target, settings, train=train, held_out=held_out, canaries=canaries,
            columns=columns_of(train, text, answer, messages), model=model, device=device, precision=precision, out=out,
            cards=cards, force=force, language=language, tell=tell,
        )  # fmt: skip
    if format == "json":
        print_json(audit.as_dict())
    else:
        _show(console, audit, words)
    # Whether they were printed as JSON or as tables, what was written is told on the console.
    for path in () if out is None else audit_files("leak", out):
        show_file(console, path)
    hold(console, audit, limits, words)


def _show(console: "Console", audit: "LeakAudit", words: "Words") -> None:
    from afina.audit.tables import canary_rows, leak_rows, risk_rows

    for sentence in audit.remarks(words):
        note(console, sentence)
    show_cells(console, leak_rows(audit.leaks, words))
    for each in audit.leaks:
        console.print(f"\n{each.adapter}", style="bold", soft_wrap=True, highlight=False, markup=False)
        for sentence in each.told(words):
            console.print(f"  {sentence}", highlight=False, markup=False)
        if each.exposures:
            show_cells(console, canary_rows(each.exposures, words), title=f"\n{words('canaries')}")
        # Five of them: the tables and files have the rest.
        show_cells(console, risk_rows(each.rows_at_risk[:5], words), title=f"\n{words('train rows most at risk')}")
