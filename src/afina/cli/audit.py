"""`afina audit`: what a trained adapter gives away of its training data."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from afina.config import DatasetSpec

__all__ = ["register"]

Text = Annotated[str | None, typer.Option("--text", help="The column of texts, or of questions (with --target).")]
Target = Annotated[str | None, typer.Option("--target", help="The column of answers.")]
Messages = Annotated[str | None, typer.Option("--messages", help="The column of conversations.")]


def register(app: typer.Typer) -> None:
    audit = typer.Typer(help="Look at what a trained adapter gives away.", no_args_is_help=True)
    for command in (leak, canaries):
        audit.command()(command)
    app.add_typer(audit, name="audit")


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
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws rows and reference secrets.")] = 0,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Texts computed at once.")] = 16,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    model: Annotated[str | None, typer.Option("--model", help="The base model, where it is not where it was.")] = None,
) -> None:
    """Measure what adapters that write give away of their training rows, beside held-out rows and the bare base.

    Example: `afina audit leak study/ --canaries train.jsonl.canaries.json --out audit/`

    Three tests: are train rows told by their loss, are they recited after their beginning, are planted secrets exposed. The
    tables and files show pieces of the training data.
    """
    from rich.console import Console

    from afina.errors import UsageError

    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device is auto, cpu or cuda, not '{device}'.")
    import torch

    from afina.audit.leak import LeakSettings
    from afina.audit.page import leak_page
    from afina.audit.run import audit_leak
    from afina.data.whole_file import whole_file

    console = Console()
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    with console.status("starting") as status:
        found = audit_leak(
            target, train=train, held_out=held_out, canaries=canaries, columns=_columns(train, text, answer, messages),
            settings=LeakSettings(
                rows=rows, prefix=prefix, most=tokens, references=references, batch_size=batch_size, seed=seed
            ),
            model=model, device=chosen, tell=status.update,
        )  # fmt: skip
    _show(console, found)
    if out is None:
        return
    values = json.dumps(found.as_dict(), ensure_ascii=False, indent=2) + "\n"
    files = {out: values} if out.suffix == ".json" else {out / "leak.json": values, out / "leak.html": leak_page(found)}
    for path, content in files.items():
        with whole_file(path) as partial:
            partial.write_text(content, encoding="utf-8")
        console.print(str(path), style="bold", soft_wrap=True, highlight=False)


def canaries(
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="Training rows: .csv, .jsonl, .parquet ...")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The copy to train on: .jsonl or .parquet.")],
    count: Annotated[int, typer.Option("--count", min=1, help="Canaries for each number of repetitions.")] = 4,
    repeat: Annotated[
        str, typer.Option("--repeat", metavar="N,N", help="How often each is planted; 0: not, to compare with.")
    ] = "1,4,16",
    symbols: Annotated[str, typer.Option("--symbols", help="What secrets are drawn from.")] = "0123456789",
    length: Annotated[int, typer.Option("--length", min=1, help="Symbols of a secret.")] = 8,
    text: Text = None,
    answer: Target = None,
    messages: Messages = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws secrets and their places.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
) -> None:
    """Plant rows with random secrets in a copy of training data, in the data's own form.

    Example: `afina audit canaries --data train.jsonl --out planted/train.jsonl --count 4 --repeat 0,1,4,16`

    What was planted is written beside it, as OUT.canaries.json: keep it apart from the data.
    """
    from rich.console import Console

    from afina.audit.canaries import plant
    from afina.errors import UsageError

    try:
        times = [int(part) for part in repeat.split(",")]
    except ValueError:
        raise UsageError(f"--repeat is numbers with commas between, such as 1,4,16, not '{repeat}'.") from None
    manifest = plant(
        data, out, count=count, repeat=times, seed=seed, symbols=symbols, length=length, force=force,
        columns=_columns(data, text, answer, messages),
    )  # fmt: skip
    console = Console()
    console.print(f"{count * len(times):,} canaries, {count * sum(times):,} rows planted", highlight=False)
    for path in (out, manifest):
        console.print(str(path), style="bold", soft_wrap=True, highlight=False)


def _columns(path: Path | None, text: str | None, answer: str | None, messages: str | None) -> "DatasetSpec | None":
    from afina.config import DatasetSpec

    given = (text, answer, messages)
    return DatasetSpec(path=str(path), text=text, target=answer, messages=messages) if any(given) else None


def _show(console: "Console", found: object) -> None:
    from rich.table import Table

    from afina.audit.page import canary_rows, leak_rows, risk_rows
    from afina.audit.run import LeakAudit

    assert isinstance(found, LeakAudit)

    def show(title: str, rows: list[tuple[str, ...]], words: int = 1) -> None:
        from rich.text import Text as Plain

        table = Table(title=title or None, title_justify="left", box=None, header_style="dim", padding=(0, 2, 0, 0))
        for place, name in enumerate(rows[0]):
            side: Literal["left", "right"] = "left" if place < words else "right"
            # Room for a heading's longest word: cells may be folded, headings are read.
            table.add_column(name, justify=side, overflow="fold", min_width=max(map(len, name.split()), default=0))
        for row in rows[1:]:
            table.add_row(*(Plain(cell) for cell in row))
        console.print(table)

    for note in found.notes:
        console.print(note, style="yellow", highlight=False, markup=False)
    show("", leak_rows(found.leaks))
    for each in found.leaks:
        console.print(f"\n{each.adapter}", style="bold", soft_wrap=True, highlight=False, markup=False)
        for sentence in each.verdict:
            console.print(f"  {sentence}", highlight=False, markup=False)
        if each.exposures:
            show("\ncanaries", canary_rows(each.exposures))
        show("\ntrain rows most at risk", risk_rows(each.rows_at_risk[:5]))
