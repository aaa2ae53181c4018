"""Lay out a leak audit as one self-contained HTML page."""

from collections.abc import Sequence
from html import escape

from afina.audit.findings import Exposure, Leak, RiskyRow
from afina.audit.run import LeakAudit
from afina.measure.bootstrap import Estimate
from afina.words.language import Words

__all__ = ["canary_rows", "interval", "leak_page", "leak_rows", "risk_rows"]

Cells = list[tuple[str, ...]]
"""A table's rows, the first of them its head."""

_LOSSES = "Losses are in nats a token, beside the bare base's; in brackets 95% bootstrap intervals over rows."
_STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#5b6570;--line:#d9dee3;--warn:#8a4b00}
@media(prefers-color-scheme:dark){:root{--page:#14181d;--ink:#e6e9ec;--soft:#9aa5b0;--line:#323a43;--warn:#ffc46b}}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1060px;margin:0 auto;padding:24px 20px 60px}h1{font-size:1.5rem;margin:0}.soft{color:var(--soft)}
h2{font-size:1.1rem;margin:34px 0 8px;padding-top:12px;border-top:1px solid var(--line);overflow-wrap:anywhere}
h3{font-size:.95rem;margin:18px 0 4px}.warn{color:var(--warn)}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
td,th{padding:3px 14px 3px 0;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}
td:first-child,th:first-child{text-align:left;overflow-wrap:anywhere}th{color:var(--soft);font-weight:600}
"""


def leak_page(audit: LeakAudit, language: str = "en") -> str:
    """Return the whole HTML document."""
    words = Words(language)
    parts = [
        # Everything from rows and folders is escaped: a training text may hold markup.
        f"<h1>{words('What is given away of the training data')}</h1><p class=soft>{escape(audit.target)}</p>",
        *(f"<p class=warn>{escape(words.sentence(note))}</p>" for note in audit.notes),
        _table(leak_rows(audit.leaks, words)),
        f"<p class=soft>{escape(words(_LOSSES))}</p>",
    ]
    for leak in audit.leaks:
        parts.append(f"<h2>{escape(leak.adapter)}</h2>")
        parts += [f"<p>{escape(sentence)}</p>" for sentence in leak.told(words)]
        if leak.recitation is not None:
            parts.append(f"<h3>{words('Recited word for word')}</h3>{_table(share_rows(leak, words))}")
        if leak.exposures:
            parts.append(f"<h3>{words('Canaries')}</h3>{_table(canary_rows(leak.exposures, words))}")
        if leak.gap_by_epoch:
            epochs = [(f"{entry['epoch']:g}", f"{entry['gap']:+.3f}") for entry in leak.gap_by_epoch]
            head = (words("epoch"), words("test loss less train loss"))
            parts.append(f"<h3>{words('Gap by epoch')}</h3>{_table([head, *epochs])}")
        parts.append(f"<h3>{words('Train rows most at risk')}</h3>{_table(risk_rows(leak.rows_at_risk, words))}")
    return (
        f'<!doctype html>\n<html lang="{words("en")}"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{words("Leak check")}</title><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


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
            leak.dataset or "–", interval(membership.learned_gap), f"{membership.calibrated_auc:.2f}",
            "–" if recited is None else f"{100 * recited.train_share:.0f}%",
            "–" if recited is None else f"{100 * recited.held_out_share:.0f}%",
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
            each.key, f"{each.repeat}", _of(words, each.rank, each.of), f"{each.bits:.1f}", f"{each.most_bits:.1f}",
            f"{each.modelled_bits:.1f}", f"{each.space_bits:.1f}", f"{each.base_bits:.1f}",
        ))  # fmt: skip
    return cells


def risk_rows(rows: Sequence[RiskyRow], words: Words) -> Cells:
    """Return a row for each train row at risk."""
    cells: Cells = [tuple(map(words, ("row", "verbatim", "by the base", "loss", "base loss")))]
    for each in rows:
        runs = ("–", "–")
        if each.continuation is not None:
            runs = (_of(words, each.verbatim, each.continuation), str(each.base_verbatim))
        cells.append((each.text, *runs, f"{each.loss:.3f}", f"{each.base_loss:.3f}"))
    return cells


def _of(words: Words, some: int | None, of: int) -> str:
    return words("{some} of {of}", some=some, of=of)


def interval(estimate: Estimate) -> str:
    """Return a value with its interval, as text."""
    bounds = "" if estimate.low is None else f" [{estimate.low:+.2f}, {estimate.high:+.2f}]"
    return f"{estimate.value:+.2f}{bounds}"


def _or_dash(value: int | None) -> str:
    return "–" if value is None else str(value)


def _table(rows: Cells) -> str:
    head, *body = rows
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body)
    return f"<div class=wide><table><tr>{cells}</tr>{lines}</table></div>"
