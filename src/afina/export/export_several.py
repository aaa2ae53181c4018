"""Export several adapters of one base as one graph, each compared with what it was tested as, and all in one batch."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from afina.adapters.adapter import partial_folder
from afina.card.write import language_of_card
from afina.errors import AfinaError, UsageError
from afina.export.by_groups import thresholds_left
from afina.export.card import write_export_card
from afina.export.export import Exported, Out
from afina.export.graph_target import GraphTarget
from afina.export.held import TEXTS, hold
from afina.export.manifest import read_manifest, write_manifest
from afina.export.opened import OpenedExport, open_export
from afina.export.parity import TOLERANCE, Parity
from afina.export.sample import sample_rows
from afina.export.several import check_several
from afina.export.target import check_apart, folder_of, make_target
from afina.precision import EXACT
from afina.predictor.load import load, load_rounded
from afina.predictor.predictor import Predictor
from afina.words.language import Words

__all__ = ["compared", "export_several"]


def export_several(
    adapters: Sequence[str | Path],
    to: str,
    *,
    out: Out,
    rows: int = 200,
    model: str | None = None,
    tell: Callable[[str], None] = lambda what: None,
    **options: Any,
) -> Exported:
    """Export adapters of one base `to` one graph that takes each row's adapter by its number; return how near all are.

    Raises `UsageError` for adapters that have no graph in common, and `AfinaError`, and leaves no folder, where one answers
    otherwise than it did alone.
    """
    target, names = make_target(to, options), _names(adapters)
    if not isinstance(target, GraphTarget) or not target.several or target.lossy:
        raise UsageError(
            "Several adapters leave in one graph --to onnx or --to openvino, without --int8; else one by one."
        )
    if out.folder is None:
        raise UsageError("Several adapters leave for one folder: say by --out which.")
    place = folder_of(Path(adapters[0]), target.name, Path(out.folder), force=out.force)
    tell("loading the adapters")
    with partial_folder(place) as partial:
        tested = _loaded(adapters, model, load(adapters[0], model=model))
        check_apart(place, (*adapters, *(own.record.model for own in tested)))
        check_several(tested)
        left = [note for own in tested for note in thresholds_left(own.folder, own.task)]
        for loaded in tested:
            target.check(loaded)
        rounded_to = target.rounded_to(tested[0].record.precision)
        exact = _loaded(adapters, model, load_rounded(adapters[0], rounded_to, model=model), EXACT)
        # Written from one backbone with all of them on it, so that the base's weights are there once.
        tell(f"writing {place}")
        facts = target.files_of_several(exact, partial)
        each = {name: _facts(target, own, number) for number, (name, own) in enumerate(zip(names, exact, strict=True))}
        write_manifest(partial, replace(target.manifest(exact[0], facts), adapters=each))
        tell("loading it afresh to compare")
        pairs = zip(names, tested, _most_exact(tested, exact), strict=True)
        parities = [compared(partial, name, ours, plain, rows) for name, ours, plain in pairs]
        _check_mixed(partial, names, exact)
        held = {
            name: own | {"parity": parity.figures | {"agreeing": parity.agreeing}}
            for (name, own), (parity, _) in zip(each.items(), parities, strict=True)
        }
        write_manifest(partial, replace(read_manifest(partial, files=False), adapters=held))
        table = [_row(name, own) for name, (own, _) in zip(names, parities, strict=True)]
        # The farthest off, measured by its own outputs, as these may be of different size.
        worst = max((parity for parity, _ in parities), key=lambda own: own.exact_difference / max(1.0, own.scale))
        parity = replace(worst, agreeing=None, metrics={}, told=tuple(table))
        least = min((effect for _, effect in parities if effect is not None), default=None)
        notes = tuple(dict.fromkeys([*(note for own in tested for note in own.notes), *left]))
        made = Exported(place, tested[0].record.precision, parity, None, _remark(names), notes, least)
        words = Words(out.language or language_of_card(Path(adapters[0])))
        written = write_export_card(
            partial, tested[0], target, made.said(words), words, before=place, ways=_ways(target, names[0])
        )
    return replace(made, card=written.note)


def _names(adapters: Sequence[str | Path]) -> list[str]:
    """Return what each adapter is called: its folder, or its run's where that is called adapter as all are."""
    paths = [Path(own).resolve() for own in adapters]
    # Runs keep their adapter in a folder of that name, which tells none of them apart.
    names = [path.parent.name if path.name == "adapter" else path.name for path in paths]
    if again := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise UsageError(f"Two of the adapters are called {again}; give them folders of different names.")
    return names


def _loaded(
    adapters: Sequence[str | Path], model: str | None, first: Predictor, precision: str | None = None
) -> list[Predictor]:
    """Return the adapters on the first one's backbone; raises `UsageError` for one of another base."""
    return [first, *(load(own, model=model, precision=precision, beside=first) for own in adapters[1:])]


def _most_exact(tested: list[Predictor], exact: list[Predictor]) -> list[Predictor]:
    """Return who gives the numbers that a graph is held to: where all are in float32, they themselves."""
    return tested if all(own.record.precision == EXACT for own in tested) else exact


def _facts(target: GraphTarget, loaded: Predictor, number: int) -> dict[str, Any]:
    """Return what the manifest says of one of the adapters."""
    alone = target.manifest(loaded, {"precision": EXACT})
    return {
        "source": alone.source, "task": alone.task, "max_length": alone.max_length,
        "reading": {"answers": loaded.task.answer_form}, "outputs": None if loaded.task.embeds else loaded.task.outputs,
        "probe": f"probe-{number}.npz",
    }  # fmt: skip


def compared(folder: Path, name: str, tested: Predictor, exact: Predictor, rows: int) -> tuple[Parity, float | None]:
    """Hold one adapter of a folder beside itself alone; raises `AfinaError` where it is not what was tested."""
    opened = open_export(folder, adapter=name)
    parity, effect = hold(tested, exact, opened, sample_rows(tested, None, rows)[0])
    write_manifest(folder, read_manifest(folder, files=False))  # `hold` has written what it asked since
    if not parity.equal:
        raise AfinaError(
            f"What was exported of {name} is not what was tested: logits part by up to {parity.exact_difference:.2g} (they "
            f"reach {parity.scale:.2g}); nothing was written. Please report this."
        )
    return parity, effect


def _check_mixed(folder: Path, names: Sequence[str], each: Sequence[Predictor]) -> None:
    """Ask all adapters in one batch; raises `AfinaError` where a row is answered otherwise than alone."""
    opened: list[OpenedExport] = [open_export(folder, adapter=name) for name in names]
    first: Any = opened[0].session
    read = each[0].tokenizer(list(TEXTS[:4]), truncation=True, max_length=16, padding=True, return_token_type_ids=True)
    inputs = {name: np.tile(np.array(read[name], np.int64), (len(names), 1)) for name in opened[0].asked}
    numbers = np.arange(4 * len(names)) % len(names)
    # All of them in one batch: a choice that leaks from row to row shows here alone.
    mixed = first.session.outputs({**inputs, "adapter": numbers})
    for number, single in enumerate(opened):
        alone, rows = single.session.outputs(inputs), numbers == number
        apart = float(np.abs(mixed[rows][:, : alone.shape[1]] - alone[rows]).max())
        if apart > TOLERANCE * max(1.0, float(np.abs(alone).max())):
            raise AfinaError(
                f"In a batch with others {names[number]} answers otherwise than alone, by up to {apart:.2g}; nothing was "
                "written. Please report this."
            )


def _row(name: str, parity: Parity) -> tuple[str, str]:
    value, scale = Words().written(f"{parity.exact_difference:.2g}"), Words().written(f"{parity.scale:.3g}")
    return name, Words()("{value} (they reach {scale})", value=value, scale=scale)


def _remark(names: Sequence[str]) -> str:
    return (
        f"In this graph, by the numbers of the input adapter, are {', '.join(names)}, in this order from 0; what a card says "
        f"of data and results is of {names[0]}."
    )


def _ways(target: GraphTarget, name: str) -> dict[str, str]:
    """Return the ways to ask such a graph, in which it has to be said who answers."""
    replacements = {
        "predict.py $asked": f"predict.py {name} $asked",
        "predict . $asked": f"predict . $asked --adapter {name}",
    }
    ways = dict(target.ways)
    for old, new in replacements.items():
        ways = {runtime: lines.replace(old, new) for runtime, lines in ways.items()}
    return ways
