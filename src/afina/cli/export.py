"""`afina export`: an adapter as other programs load it, checked against what was trained."""

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["register"]

_KINDS = ("peft", "merged", "lora")
_ONTO = ("dequantised", "original")


def register(app: typer.Typer) -> None:
    app.command(name="export")(export)


def export(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="An adapter's folder, Afina's or PEFT's.")],
    to: Annotated[str, typer.Option("--to", help="peft, merged or lora.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to; by default ADAPTER-peft and so on.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Rows to check with: its own test rows by default; for a writer any texts or conversations.",
        ),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many of them.")] = 200,
    rank: Annotated[int, typer.Option("--rank", min=1, help="For --to lora: the highest rank.")] = 32,
    model: Annotated[str | None, typer.Option("--model", help="The base model, where it is not where it was.")] = None,
    onto: Annotated[
        str,
        typer.Option("--onto", help="For --to merged on a quantised base: its dequantised weights, or the original."),
    ] = "dequantised",
) -> None:
    """Export an adapter: as a PEFT folder, merged into a plain transformers model, or as a LoRA.

    Example: `afina export demo/runs/minilm-tickets-lora-seed0/adapter --to merged --out tickets-model`

    What is exported is loaded afresh by its own library and compared with the adapter, logits and metric, before the folder
    stands there. Exit code 1, and no folder, when they part; a conversion to LoRA, which may lose something, says how much.
    An adapter of a quantised base is merged into float32 weights, and what that changes is said.
    """
    from afina.errors import AfinaError, UsageError, nearest

    if to not in _KINDS:
        raise UsageError(f"--to is {', '.join(_KINDS)}, not '{to}'{nearest(to, _KINDS)}")
    if onto not in _ONTO:
        raise UsageError(f"--onto is {' or '.join(_ONTO)}, not '{onto}'{nearest(onto, _ONTO)}")
    target = out or adapter.with_name(f"{adapter.resolve().name}-{to}")
    if target.exists():
        raise UsageError(f"{target} exists already; choose another --out.")
    from rich.console import Console

    from afina.backbone.quantise import QUANTISED
    from afina.export.merge import merge
    from afina.export.parity import check_parity, load_merged, load_peft
    from afina.export.peft import as_lora, write_peft
    from afina.export.sample import as_compared, sample_rows
    from afina.methods.adapter import partial_folder
    from afina.train.load import LoadedAdapter

    console = Console()
    with console.status("loading the adapter") as status, partial_folder(target) as partial:
        tested = LoadedAdapter(adapter, model=model)
        quantised = tested.record.precision if tested.record.precision in QUANTISED else None
        rounded_to = quantised if to == "merged" and onto == "dequantised" else None
        exact = LoadedAdapter(adapter, model=model, precision="fp32", rounded_to=rounded_to)
        status.update("reading rows to check with")
        sample, task = sample_rows(tested, data, rows)
        for own in (tested, exact):
            as_compared(own, task)
        status.update(f"writing {target}")
        loss = None
        if to == "merged":
            merge(exact, partial)
        elif to == "peft":
            write_peft(exact, partial)
        else:
            loss = as_lora(LoadedAdapter(adapter, model=model, precision="fp32"), partial, rank)
        status.update("loading it afresh to compare")
        outside = load_merged(tested, partial) if to == "merged" else load_peft(tested, partial)
        parity = check_parity(tested, exact, *outside, sample)
        if loss is None and not parity.equal:
            raise AfinaError(
                f"What was exported is not what was tested: logits part by up to {parity.exact_difference:.2g} "
                f"(they reach {parity.scale:.2g}) on {parity.rows} rows; nothing was written. Please report this."
            )
    _show(console, parity, tested.record.precision, loss)
    if to == "merged" and quantised is not None:
        console.print(_what_merging_changed(tested, exact, parity), soft_wrap=True, highlight=False)
    console.print(str(target), soft_wrap=True)


def _what_merging_changed(tested: Any, exact: Any, parity: Any) -> str:
    """Say in words and figures what became of a quantised base that was merged into."""
    from afina.backbone.quantise import weight_bytes

    kind, rounding = tested.record.precision, exact.backbone.rounding
    before, after = (weight_bytes(own.backbone.model) / 1e6 for own in (tested, exact))
    if rounding is None:
        onto = f"the original weights, not those that {kind} had made of them, which the adapter was trained beside"
    else:
        onto = (
            f"the weights that {kind} stands for, which the adapter was trained beside "
            f"(they differ from the original ones by {100 * rounding:.2g}% of their norm)"
        )
    same = (
        "" if parity.agreeing is None else f", and {parity.agreeing} of {parity.outputs} {parity.unit} keep their label"
    )
    return (
        f"The base was quantised, and the merged model is not: it holds {onto}, in float32, {after:,.1f} MB where there were "
        f"{before:,.1f}. From the adapter on {kind} its logits differ by up to {parity.difference:.2g}{same}. "
        f"Quantised to {kind} again, it would round what was merged, too."
    )


def _show(console: Any, parity: Any, precision: str, loss: Any) -> None:
    from rich.table import Table

    table = Table("compared on", f"{parity.rows} rows", show_header=True)
    table.add_row("largest difference of logits", f"{parity.exact_difference:.2g} (they reach {parity.scale:.3g})")
    if precision != "fp32":
        table.add_row(f"the same, from the adapter in {precision}", f"{parity.difference:.2g}")
    if parity.agreeing is not None:
        table.add_row(f"{parity.unit} with the same label", f"{parity.agreeing} of {parity.outputs}")
    for name, (ours, theirs) in parity.metrics.items():
        table.add_row(name, f"{ours:.4f} adapter, {theirs:.4f} exported")
    if loss:
        table.add_row("left out of the changes, at most", f"{100 * max(loss.values()):.2g}%")
    console.print(table)
    if parity.agreeing is not None and parity.agreeing < parity.outputs:
        why = "what the rank left out" if loss and max(loss.values()) > 0 else f"rounding, {precision} against float32"
        changed = parity.outputs - parity.agreeing
        console.print(f"[yellow]{changed} of {parity.outputs} labels changed: {why}.[/yellow]")
