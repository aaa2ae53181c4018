"""Exporting an adapter: written, loaded afresh by its own library, and compared, before the folder stands there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from afina.adapters.adapter import partial_folder
from afina.backbone.quantise import QUANTISED, weight_bytes
from afina.errors import AfinaError
from afina.export.kinds import target_of
from afina.export.merge import merge
from afina.export.parity import Parity, check_parity, load_merged, load_peft
from afina.export.peft import as_lora, write_peft
from afina.export.sample import as_compared, sample_rows
from afina.measure.shown import html_of
from afina.train.load import LoadedAdapter

__all__ = ["Exported", "export_adapter"]


@dataclass(frozen=True)
class Exported:
    """An export that stands, and how near it is to what was tested."""

    folder: Path
    precision: str
    """That of the adapter as it was trained and tested."""
    parity: Parity
    loss: Mapping[str, float] | None
    """What a conversion to LoRA left out of each change of weights, as a share of its norm."""
    merging: str | None
    """What became of a quantised base that was merged into."""

    def rows(self) -> list[tuple[str, str]]:
        """Return what was compared, as a table has it."""
        parity = self.parity
        rows = [
            ("largest difference of logits", f"{parity.exact_difference:.2g} (they reach {parity.scale:.3g})"),
        ]
        if self.precision != "fp32":
            rows.append((f"the same, from the adapter in {self.precision}", f"{parity.difference:.2g}"))
        if parity.agreeing is not None:
            rows.append((f"{parity.unit} with the same label", f"{parity.agreeing} of {parity.outputs}"))
        rows += [
            (name, f"{ours:.4f} adapter, {theirs:.4f} exported") for name, (ours, theirs) in parity.metrics.items()
        ]
        if self.loss:
            rows.append(("left out of the changes, at most", f"{100 * max(self.loss.values()):.2g}%"))
        return rows

    def changed(self) -> str | None:
        """Say how many labels changed and why; None where none did."""
        parity = self.parity
        if parity.agreeing is None or parity.agreeing == parity.outputs:
            return None
        lossy = self.loss and max(self.loss.values()) > 0
        why = "what the rank left out" if lossy else f"rounding, {self.precision} against float32"
        return f"{parity.outputs - parity.agreeing} of {parity.outputs} labels changed: {why}."

    def __repr__(self) -> str:
        compared = "; ".join(f"{name}: {value}" for name, value in self.rows())
        return f"Exported('{self.folder}', compared on {self.parity.rows} rows: {compared})"

    def _repr_html_(self) -> str:
        said = " ".join(filter(None, (self.changed(), self.merging)))
        return html_of(str(self.folder), ("compared on", f"{self.parity.rows} rows"), self.rows(), said)


def export_adapter(
    adapter: str | Path,
    to: str,
    *,
    out: str | Path | None = None,
    data: str | None = None,
    rows: int = 200,
    rank: int = 32,
    model: str | None = None,
    onto: str = "dequantised",
    tick: Callable[[str], None] = lambda what: None,
) -> Exported:
    """Export an adapter `to` "peft", "merged" or "lora", into `out` or a folder beside it, and return how near it is.

    Raises `AfinaError`, and leaves no folder, where what is exported is not what was tested.
    """
    folder = Path(adapter)
    target = target_of(folder, to, onto, None if out is None else Path(out))
    tick("loading the adapter")
    with partial_folder(target) as partial:
        tested = LoadedAdapter(folder, model=model)
        quantised = tested.record.precision if tested.record.precision in QUANTISED else None
        rounded_to = quantised if to == "merged" and onto == "dequantised" else None
        exact = LoadedAdapter(folder, model=model, precision="fp32", rounded_to=rounded_to)
        tick("reading rows to check with")
        sample, task = sample_rows(tested, data, rows)
        for own in (tested, exact):
            as_compared(own, task)
        tick(f"writing {target}")
        loss = None
        if to == "merged":
            merge(exact, partial)
        elif to == "peft":
            write_peft(exact, partial)
        else:
            loss = as_lora(LoadedAdapter(folder, model=model, precision="fp32"), partial, rank)
        tick("loading it afresh to compare")
        outside = load_merged(tested, partial) if to == "merged" else load_peft(tested, partial)
        parity = check_parity(tested, exact, *outside, sample)
        if loss is None and not parity.equal:
            raise AfinaError(
                f"What was exported is not what was tested: logits part by up to {parity.exact_difference:.2g} "
                f"(they reach {parity.scale:.2g}) on {parity.rows} rows; nothing was written. Please report this."
            )
    merging = _what_merging_changed(tested, exact, parity) if to == "merged" and quantised is not None else None
    return Exported(target, tested.record.precision, parity, loss, merging)


def _what_merging_changed(tested: LoadedAdapter, exact: LoadedAdapter, parity: Parity) -> str:
    """Say in words and figures what became of a quantised base that was merged into."""
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
