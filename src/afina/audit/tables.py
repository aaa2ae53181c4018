"""Lay out what a leak audit measured as tables, for the terminal and the page."""

from collections.abc import Sequence

from afina.audit.findings import Exposure, Leak, RiskyRow
from afina.measure.bootstrap import Estimate
from afina.results.findings.audited import Cells
from afina.words.language import Words

__all__ = ["canary_rows", "interval", "leak_rows", "risk_rows", "tables_of"]

_LOSSES = "Losses are in nats a token, beside the bare base's; in brackets 95% bootstrap intervals over rows."


def tables_of(leaks: Sequence[Leak], words: Words) -> list[tuple[str, Cells]]:
    """Return all tables of an audit with their titles, for the page; rows at risk stand there as the findings' rows."""
    tables = [(words(_LOSSES), leak_rows(leaks, words))]
    for leak in leaks:
        named = leak.subject.name
        if leak.recitation is not None:
            tables.append((f"{words('Recited word for word')}: {named}", share_rows(leak, words)))
        if leak.exposures:
            tables.append((f"{words('Canaries')}: {named}", canary_rows(leak.exposures, words)))
        if leak.gap_by_epoch:
            epochs = [(words.shortest(entry["epoch"]), words.signed(entry["gap"], 3)) for entry in leak.gap_by_epoch]
            head = (words("epoch"), words("test loss less train loss"))
            tables.append((f"{words('Gap by epoch')}: {named}", [head, *epochs]))
    return tables


def leak_rows(leaks: Sequence[Leak], words: Words) -> Cells:
    """Return the summary table: a row for each adapter, with what each test found."""
    head = (
        "method",
        "rank",
        "epochs",
        "seed",
        "model",
        "data",
        "learned gap",
        "AUC",
        "recited",
        "held-out",
        "canaries",
        "leaks",
    )
    cells: Cells = [tuple(map(words, head))]
    for leak in leaks:
        membership, recited = leak.membership, leak.recitation
        best = max((each.repeat for each in leak.exposures), default=0)
        bits = [each.bits for each in leak.exposures if each.repeat == best]
        cells.append((
            leak.method, _or_dash(leak.rank), _or_dash(leak.epochs), str(leak.seed), leak.model.rsplit("/", 1)[-1],
            leak.dataset or "–", interval(membership.learned_gap, words), words.number(membership.calibrated_auc, 2),
            "–" if recited is None else f"{words.number(100 * recited.train_share)}%",
            "–" if recited is None else f"{words.number(100 * recited.held_out_share)}%",
            words("{bits} bits at {repeat}", bits=words.number(sum(bits) / len(bits), 1), repeat=best) if best else "–",
            ", ".join(words(name) for name, there in leak.leaks.items() if there) or words("none found"),
        ))  # fmt: skip
    return cells


def share_rows(leak: Leak, words: Words) -> Cells:
    """Return how many rows are recited, by length of the verbatim run, beside held-out rows and the base."""
    assert leak.recitation is not None
    head = ("tokens in one run", "train rows", "by the base", "held-out rows", "by the base")
    cells: Cells = [tuple(map(words, head))]
    for share in leak.recitation.shares:
        cells.append((
            words("{tokens} or more", tokens=share.tokens), _of(words, share.train_recited, share.train_rows),
            str(share.base_train_recited),
            _of(words, share.held_out_recited, share.held_out_rows), str(share.base_held_out_recited),
        ))  # fmt: skip
    return cells


def canary_rows(exposures: Sequence[Exposure], words: Words) -> Cells:
    """Return a row for each canary, those planted most often first."""
    head = ("secret of", "planted", "rank", "exposure, bits", "at most", "modelled", "of", "base")
    cells: Cells = [tuple(map(words, head))]
    for each in sorted(exposures, key=lambda each: -each.repeat):
        cells.append((
            each.key, f"{each.repeat}", _of(words, each.rank, each.of), words.number(each.bits, 1),
            words.number(each.most_bits, 1), words.number(each.modelled_bits, 1), words.number(each.space_bits, 1),
            words.number(each.base_bits, 1),
        ))  # fmt: skip
    return cells


def risk_rows(rows: Sequence[RiskyRow], words: Words) -> Cells:
    """Return a row for each train row at risk."""
    cells: Cells = [tuple(map(words, ("row", "verbatim", "by the base", "loss", "base loss")))]
    for each in rows:
        runs = ("–", "–")
        if each.continuation is not None:
            runs = (_of(words, each.verbatim, each.continuation), str(each.base_verbatim))
        cells.append((each.text, *runs, words.number(each.loss, 3), words.number(each.base_loss, 3)))
    return cells


def _of(words: Words, some: int | None, of: int) -> str:
    return words("{some} of {of}", some=some, of=of)


def interval(estimate: Estimate, words: Words) -> str:
    """Return a value with its interval, as text."""
    bounds = ""
    if estimate.low is not None and estimate.high is not None:
        bounds = f" [{words.signed(estimate.low, 2)}{words.between}{words.signed(estimate.high, 2)}]"
    return f"{words.signed(estimate.value, 2)}{bounds}"


def _or_dash(value: int | None) -> str:
    return "–" if value is None else str(value)
