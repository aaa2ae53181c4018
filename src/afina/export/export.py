"""Export an adapter: write it, load it afresh by its own library, and compare, before the folder stands there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from afina.adapters.adapter import partial_folder
from afina.card.write import language_of_card
from afina.errors import AfinaError
from afina.export.by_groups import thresholds_left
from afina.export.card import ExportFigures, write_export_card
from afina.export.costs import ExportCosts, costs_of
from afina.export.parity import TOLERANCE, Parity
from afina.export.push import Pushed
from afina.export.room import room_for
from afina.export.sample import as_compared, sample_rows
from afina.export.target import check_apart, folder_of, make_target
from afina.measure.shown import html_of
from afina.precision import EXACT
from afina.predictor.load import load, load_rounded, told_by
from afina.predictor.predictor import Predictor
from afina.words.language import Words

__all__ = ["Exported", "Out", "export_adapter"]

_ENGLISH = Words()


@dataclass(frozen=True)
class Out:
    """Says where an export goes, and what its card is like."""

    folder: str | Path | None = None
    """A folder beside the adapter unless given."""
    force: bool = False
    """Replace an export that stands there; a person's words in its card stay."""
    language: str | None = None
    """The card's language; that of the adapter's card unless given."""


@dataclass(frozen=True)
class Exported:
    """Holds an export's folder, and how near it is to what was tested."""

    folder: Path
    precision: str
    """That of the adapter as it was trained and tested."""
    parity: Parity
    loss: Mapping[str, float] | None
    """The share of each weight change's norm that a conversion to LoRA left out."""
    merging: str | None
    """The target's remark (`ExportTarget.remark`), for example on what became of a quantised base."""
    notes: tuple[str, ...] = ()
    """Assumptions made when the adapter was loaded."""
    effect: float | None = None
    """The largest change that the adapter's branches make to the base's outputs with the same head, if it was measured."""
    costs: ExportCosts | None = None
    """Size, time and memory beside the adapter's; None where what was written is run by others alone."""
    pushed: Pushed | None = None
    """The place on a hub that it was uploaded to; None where that was not asked for."""
    card: str | None = None
    """A note on its card, where a person had changed the card before."""

    def rows(self, words: Words = _ENGLISH) -> list[tuple[str, str]]:
        """Return what was compared, as a table has it."""
        parity = self.parity
        exact, scale = words.written(f"{parity.exact_difference:.2g}"), words.written(f"{parity.scale:.3g}")
        rows = [
            (words("largest difference of logits"), words("{value} (they reach {scale})", value=exact, scale=scale)),
        ]
        # In a lower precision the adapter itself is rounded, which is told apart from what the export does.
        if self.precision != EXACT:
            name = words("the same, from the adapter in {precision}", precision=self.precision)
            rows.append((name, words.written(f"{parity.difference:.2g}")))
        if parity.agreeing is not None:
            name = words("rows with the same label") if parity.unit == "rows" else words("words with the same label")
            rows.append(
                (name, words("{some} of {of}", some=words.number(parity.agreeing), of=words.number(parity.outputs)))
            )
        for name, (ours, theirs) in parity.metrics.items():
            values = {"ours": words.number(ours, 4), "theirs": words.number(theirs, 4)}
            rows.append((words(name), words("{ours} adapter, {theirs} exported", **values)))
        if self.effect is not None:
            name = words("largest change of logits that the adapter makes")
            rows.append((name, words.written(f"{self.effect:.2g}")))
        rows += [(words.note(name), words.note(value)) for name, value in parity.told]
        if self.loss:
            share = words.written(f"{100 * max(self.loss.values()):.2g}")
            rows.append((words("left out of the changes, at most"), f"{share}%"))
        if self.costs is not None:
            rows += self.costs.rows(words)
        return rows

    def changed(self, words: Words = _ENGLISH) -> str | None:
        """Say how many labels changed and why; None where none did."""
        parity = self.parity
        if parity.agreeing is None or parity.agreeing == parity.outputs:
            return None
        lossy = self.loss and max(self.loss.values()) > 0
        why = words("what the rank left out")
        if not lossy:
            why = words("rounding, {precision} against float32", precision=self.precision)
        if parity.narrowed is not None:
            why = words("rounding to eight bits")
        changed, of = words.number(parity.outputs - parity.agreeing), words.number(parity.outputs)
        return words("{some} of {of} labels changed: {why}.", some=changed, of=of, why=why)

    def unnoticed(self, words: Words = _ENGLISH) -> str | None:
        """Say so where the adapter changes its base by less than the comparison would notice; None where by more."""
        # Ten times what the comparison lets pass: below that an adapter that was left out might go unnoticed.
        if self.effect is None or self.effect > 10 * TOLERANCE * max(1.0, self.parity.scale):
            return None
        return words(
            "The adapter changes what its base gives by {value} at most, which the comparison hardly tells from nothing: "
            "it was trained too little to see whether it is in what was exported.",
            value=words.written(f"{self.effect:.2g}"),
        )

    def said(self, words: Words) -> ExportFigures:
        """Return what its card says of it."""
        remark = None if self.merging is None else words.note(self.merging)
        sentences = filter(None, (self.changed(words), self.unnoticed(words), remark))
        return ExportFigures(self.rows(words), self.parity.rows, list(sentences))

    def __repr__(self) -> str:
        compared = "; ".join(f"{name}: {value}" for name, value in self.rows())
        return f"Exported('{self.folder}', compared on {self.parity.rows} rows: {compared})"

    def _repr_html_(self) -> str:
        noted = map(Words().sentence, self.notes)
        remarks = " ".join(filter(None, (*noted, self.changed(), self.unnoticed(), self.merging)))
        return html_of(str(self.folder), ("compared on", f"{self.parity.rows} rows"), self.rows(), remarks)


def export_adapter(
    adapter: str | Path,
    to: str,
    *,
    out: str | Path | Out | None = None,
    data: str | None = None,
    rows: int = 200,
    model: str | None = None,
    tell: Callable[[str], None] = lambda what: None,
    **options: Any,
) -> Exported:
    """Export an adapter `to` one of the targets, into `out` or a folder beside it, and return how near it is.

    `options` are the target's own, such as `rank` of "lora" and `onto` of "merged". Raises
    `AfinaError`, and leaves no folder, where what is exported is not what was tested.
    """
    folder, target = Path(adapter), make_target(to, options)
    out = out if isinstance(out, Out) else Out(out)
    place = folder_of(folder, target.name, None if out.folder is None else Path(out.folder), force=out.force)
    described = told_by(folder, model)
    check_apart(place, (folder, data, described.record.model))
    target.foresee(described)
    tell("loading the adapter")
    # Around the folder and within it: making it and filling it may each find the disk full.
    with room_for(place), partial_folder(place) as partial, room_for(place):
        tested = load(folder, model=model)
        target.check(tested)
        left = thresholds_left(folder, tested.task)
        rounded_to = target.rounded_to(tested.record.precision)
        # The adapter in float32, so that a difference that is found is the export's and not one of rounding.
        in_full = tested.record.precision == EXACT
        exact = tested if in_full else load_rounded(folder, rounded_to, model=model)
        tell("reading rows to check with")
        sample, task = sample_rows(tested, data, rows)
        as_compared(tested, task)
        target = target.reading(tested, data, sample)
        # What is compared is not what a target has written from, which may change weights in place.
        given = load(folder, model=model, precision=EXACT) if in_full or target.consumes else exact
        for loaded in (exact, given):
            as_compared(loaded, task)
        tell(f"writing {place}")
        loss = target.write(given, partial)
        tell("loading it afresh to compare")
        parity, effect = target.compare(tested, exact, partial, sample)
        if not target.lossy and not parity.equal:
            raise AfinaError(
                f"What was exported is not what was tested: logits part by up to {parity.exact_difference:.2g} "
                f"(they reach {parity.scale:.2g}) on {parity.rows} rows; nothing was written. {_why(tested)}"
            )
        tell("measuring what it takes")
        known = None if parity.narrowed is None else parity.narrowed.after
        costs, unmeasured = costs_of(tested, sample, lambda batch: known or target.cost(tested, partial, batch))
        remark = target.remark(tested, exact, parity)
        notes = (*tested.notes, *left, *parity.notes, *filter(None, [unmeasured]))
        made = Exported(place, tested.record.precision, parity, loss, remark, notes, effect, costs=costs)
        # A card's words are a person's to choose; unless told they are those of the adapter's.
        words = Words(out.language or language_of_card(folder))
        written = write_export_card(partial, tested, target, made.said(words), words, before=place)
    return replace(made, card=written.note)


def _why(tested: Predictor) -> str:
    """Return what may have parted the two, where something was assumed of the adapter; else it is a fault of ours."""
    return " ".join(map(Words().sentence, tested.notes)) or "Please report this."
