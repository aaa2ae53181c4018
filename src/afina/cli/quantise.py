"""`afina quantise`: a checkpoint in 2, 3, 4 or 8 bits of a plain model, and what was lost by it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import Device, Force, Format, Language, Seed
from afina.cli.terminal import console_for, note, print_json, show_file, stages_bar

if TYPE_CHECKING:
    from rich.console import Console

    from afina.quantisation.report import QuantisedReport
    from afina.words.language import Words

__all__ = ["quantise"]


@command("quantise", panel=PANELS[2])
def quantise(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A plain model: a name of the hub, a folder, or a built-in name.")
    ],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The folder that is written.")] = None,
    bits: Annotated[int, typer.Option("--bits", help="2, 3, 4 or 8.")] = 4,
    method: Annotated[
        str | None,
        typer.Option(
            "--method", help="gptq (default: outputs change least), rtn (to the nearest), nf4 (bitsandbytes')."
        ),
    ] = None,
    group: Annotated[
        int | None,
        typer.Option("--group", help="Inputs that share a scale, -1 for a row; default: 128 where that divides."),
    ] = None,
    act_order: Annotated[
        bool, typer.Option("--act-order", help="Round the inputs that carry most first (gptq).")
    ] = False,
    symmetric: Annotated[
        bool,
        typer.Option("--symmetric/--asymmetric", help="The middle code is 0, or each group has a zero of its own."),
    ] = True,
    calibration: Annotated[
        Path | None,
        typer.Option("--calibration", metavar="DATA", help="Texts that go through it: .txt, .csv, .jsonl, ..."),
    ] = None,
    column: Annotated[str | None, typer.Option("--column", help="The column of texts in it.")] = None,
    samples: Annotated[int, typer.Option("--samples", help="Pieces of text to calibrate on.")] = 128,
    length: Annotated[int, typer.Option("--length", help="Tokens of a piece.")] = 512,
    damp: Annotated[
        float, typer.Option("--damp", help="Share of the inputs' mean square that is added (gptq).")
    ] = 0.01,
    seed: Seed = 0,
    report: Annotated[
        bool, typer.Option("--report", help="Say what there is of a quantised MODEL, whoever made it.")
    ] = False,
    original: Annotated[
        str | None, typer.Option("--original", metavar="MODEL", help="What it was made of, to compare with (--report).")
    ] = None,
    text: Annotated[
        list[Path] | None, typer.Option("--text", metavar="FILE", help="Measure perplexity on it before and after.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option("--tasks", metavar="A,B", help="Benchmarks before and after, as in afina evaluate.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="First items of each file and task.")] = None,
    device: Device = "auto",
    force: Force = False,
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Write a model in few bits, in the files of GPTQ, layer by layer from its own; say what was lost.

    Example: `afina quantise smollm2 --bits 4 --calibration texts.txt --text held-out.txt --out smollm2-gptq4`

    No more than a layer is in memory at a time. Killed, the same command goes on. `--report` alone says of any such
    checkpoint how large it is, and with `--original` what each weight lost.
    """
    # The bars of the libraries beneath would stand between our own lines.
    os.environ.setdefault("TQDM_DISABLE", "1")
    console = console_for(format)
    from afina import api
    from afina.words.language import Words

    words = Words(language)
    with stages_bar(console, words) as tell:
        made = api.quantise(
            model, out, bits=bits, method=method, group=group, act_order=act_order, symmetric=symmetric,
            calibration=calibration, column=column, samples=samples, length=length, damp=damp, seed=seed, report=report,
            original=original, text=text or (), tasks=[part for part in (tasks or "").split(",") if part.strip()],
            limit=limit, device=device, force=force, tell=tell,
        )  # fmt: skip
    if format == "json":
        print_json(made.as_dict())
    else:
        _show(console, made, words)
    if out is not None:
        show_file(console, out)


def _show(console: "Console", made: "QuantisedReport", words: "Words") -> None:
    from rich.table import Table

    depths = made.by_depth()
    if depths:
        what = words("error of outputs (%)") if made.errors_of == "outputs" else words("error of weights (%)")
        table = Table(words("layer"), words("linear layers"), what)
        for path, count, error in depths:
            table.add_row(path, words.number(count), words.compact(100 * error))
        console.print(table)
    _show_sizes(console, made, words)
    if made.measured is not None:
        from afina.cli.evaluate import show_measured

        show_measured(console, made.measured, words, names=(words("before"), words("after")))
    for sentence in made.notes:
        note(console, words.sentence(sentence))


def _show_sizes(console: "Console", made: "QuantisedReport", words: "Words") -> None:
    """Say how much the model takes on disk and in memory, before and after."""
    from rich.table import Table

    table = Table("", words("before (MB)"), words("after (MB)"))
    pairs = (
        (words("on disk"), made.bytes_before, made.bytes_on_disk),
        (words("weights in memory, before in 16 bits"), made.memory_before, made.bytes_in_memory),
    )
    for name, before, after in pairs:
        megabytes = [None if each is None else each / 1e6 for each in (before, after)]
        table.add_row(name, *(words.number(each, 1) for each in megabytes))
    console.print(table)
    if made.seconds is not None:
        console.print(words("made in {seconds} s", seconds=words.number(made.seconds, 1)), style="dim", highlight=False)
