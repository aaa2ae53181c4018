"""Show what a file holds, as one self-contained HTML page."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

from afina.corpus.inspect import Inspection, Lengths

__all__ = ["findings", "inspection_page"]

_STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#5b6570;--line:#d9dee3;--wash:#f4f6f8;--bar:#0b62a3;--warn:#8a4b00}
@media(prefers-color-scheme:dark){:root{--page:#14181d;--ink:#e6e9ec;--soft:#9aa5b0;--line:#323a43;--wash:#1c2229;--bar:#6cb6f0;--warn:#ffc46b}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:860px;margin:0 auto;padding:24px 20px 60px}h1{font-size:1.5rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:34px 0 8px;padding-top:12px;border-top:1px solid var(--line)}h3{font-size:.95rem;margin:18px 0 4px}
.soft{color:var(--soft)}ul{margin:8px 0;padding-left:20px}li.warn{color:var(--warn)}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
td,th{padding:3px 12px 3px 0;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}
td:first-child,th:first-child{text-align:left;white-space:nowrap}th{color:var(--soft);font-weight:600}
td.bar{width:60%;text-align:left}td.bar i{display:block;background:var(--bar);height:12px;border-radius:2px;min-width:1px;margin-top:5px}
td.text{text-align:left;overflow-wrap:anywhere;white-space:pre-wrap}
"""


def findings(found: Inspection) -> list[tuple[bool, str]]:
    """Say what was found, a line each, and whether it asks for cleaning."""
    readable = found.rows - found.unreadable
    told = [
        (True, found.unreadable, "rows that cannot be read"),
        (True, found.duplicates, "duplicates of an earlier row"),
        (True, found.near_duplicates, f"near-duplicates of an earlier row (similarity from {found.similarity:g})"),
        *((True, count, f"rows without {side}") for side, count in found.empty.items()),
        (True, found.several, "rows that run several dialogues together"),
        (True, found.personal_rows, "rows with personal data"),
        (False, found.generated, f"rows that a model wrote, of {readable:,}"),
        *((False, count, what) for what, count in found.seen.items()),
    ]
    return [(warn, f"{what}: {count:,}") for warn, count, what in told if count] or [
        (False, "nothing that asks for cleaning")
    ]


def inspection_page(found: Inspection) -> str:
    """Return the whole HTML document."""
    kinds = f"{found.dialogues:,} dialogues, {found.turns:.1f} turns each" if found.turns else "texts"
    listed = "".join(f"<li{' class=warn' if warn else ''}>{escape(told)}</li>" for warn, told in findings(found))
    parts = [
        f"<h1>{escape(Path(found.path).name)}</h1><p class=soft>{found.rows:,} rows · {escape(kinds)} · "
        f"{escape(', '.join(found.forms))}</p>",
        f"<h2>What was found</h2><ul>{listed}</ul>",
        f"<h2>Lengths in {escape(found.unit)}</h2>",
        _lengths(found.lengths),
        *(f"<h3>{escape(name.capitalize())}</h3>{_histogram(lengths)}" for name, lengths in found.lengths.items()),
    ]
    for title, counts in (
        ("Labels", found.labels), ("Languages", found.languages), ("Personal data, occurrences", found.personal),
        ("Forms", found.forms), ("Rows that cannot be read", found.problems),
    ):  # fmt: skip
        if counts:
            parts.append(f"<h2>{title}</h2>{_bars(counts)}")
    if found.examples:
        parts.append("<h2>Examples</h2>")
        for kind, rows in found.examples.items():
            body = "".join(f"<tr><td>{escape(at)}</td><td class=text>{escape(said)}</td></tr>" for at, said in rows)
            parts.append(f"<h3>{escape(kind.capitalize())}</h3><table>{body}</table>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,'
        f'initial-scale=1"><title>{escape(Path(found.path).name)}</title><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _lengths(lengths: Mapping[str, Lengths]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{each.mean:,.1f}</td><td>{each.median:,.0f}</td><td>{each.p95:,.0f}</td>"
        f"<td>{each.longest:,}</td><td>{each.total:,}</td></tr>"
        for name, each in lengths.items()
    )
    head = "<tr><th></th><th>mean</th><th>median</th><th>95% up to</th><th>longest</th><th>all</th></tr>"
    return f"<table>{head}{rows}</table>"


def _histogram(lengths: Lengths) -> str:
    starts = [0, *(end + 1 for end in lengths.ends[:-1])]
    steps = zip(starts, lengths.ends, lengths.counts, strict=True)
    return _bars({f"{start:,} to {end:,}": count for start, end, count in steps})


def _bars(counts: Mapping[str, int]) -> str:
    most, total = max(counts.values()), sum(counts.values())
    body = "".join(
        f"<tr><td>{escape(str(name))}</td><td>{count:,}</td><td>{100 * count / max(1, total):.1f}%</td>"
        f'<td class=bar><i style="width:{100 * count / max(1, most):.1f}%"></i></td></tr>'
        for name, count in counts.items()
    )
    return f"<table>{body}</table>"
