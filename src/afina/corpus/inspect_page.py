"""Show what a file holds, as one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from afina.corpus.inspect import Inspection, Lengths
from afina.corpus.told import doubted_rows, leak_lines, leaked_rows, lines_by_group, noise_lines
from afina.words.language import Words

__all__ = ["COLUMNS", "balance_lines", "doubt_lines", "findings", "inspection_page", "kind_of", "unit_of"]

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
table.rows td,table.rows th{text-align:left}
td.text{text-align:left;overflow-wrap:anywhere;white-space:pre-wrap}
"""


_ROWS = 50
"""Rows that are shown of doubted labels, and of leaked test rows."""
COLUMNS = ("mean", "median", "95% up to", "longest", "in all")
"""Columns of the table of lengths."""


def kind_of(inspection: Inspection, words: Words) -> str:
    """Say whether a file holds dialogues, and how long, or texts."""
    if inspection.tags:
        return words("sentences of tagged words, as task: tagging reads them")
    if not inspection.dialogues:
        return words("texts")
    counted = words.counted(inspection.dialogues, "{count} dialogue", "{count} dialogues")
    turns = words(", {turns} turns each", turns=words.number(inspection.turns, 1)) if inspection.turns else ""
    return counted + turns


def unit_of(inspection: Inspection, words: Words) -> str:
    """Say in what lengths are counted."""
    model = inspection.unit.removeprefix("tokens of ")
    return words("length in words") if inspection.unit == "words" else words("length in tokens of {model}", model=model)


def findings(inspection: Inspection, words: Words) -> list[tuple[bool, str]]:
    """Say what was found, a line each, and whether it asks for cleaning."""
    readable = inspection.rows - inspection.unreadable
    near = words(
        "near-duplicates of an earlier row (similarity from {similarity})",
        similarity=words.written(f"{inspection.similarity:g}"),
    )
    counts = [
        # What asks for cleaning first; what is merely worth knowing after it.
        (True, inspection.unreadable, words("rows that cannot be read")),
        (True, inspection.duplicates, words("duplicates of an earlier row")),
        (True, inspection.near_duplicates, near),
        *((True, count, words("rows without {side}", side=words(side))) for side, count in inspection.empty.items()),
        (True, inspection.several, words("rows that run several dialogues together")),
        (True, inspection.personal_rows, words("rows with personal data")),
        (False, inspection.generated, words("rows that a model wrote, of {rows}", rows=words.number(readable))),
        *((False, count, words.note(what)) for what, count in inspection.seen.items()),
    ]
    return [(warn, f"{what}: {words.number(count)}") for warn, count, what in counts if count] or [
        (False, words("nothing that asks for cleaning"))
    ]


def balance_lines(inspection: Inspection, words: Words) -> list[tuple[bool, str]]:
    """Say how labels are shared out among groups, a line each, and whether chance does not explain it."""
    return lines_by_group(inspection.groups, list(inspection.by_label), words)


def doubt_lines(inspection: Inspection, words: Words) -> list[tuple[bool, str]]:
    """Say which test rows stand among these rows, and which labels are doubted, a line each, and whether it asks for care."""
    return [*leak_lines(inspection.leaks, words), *noise_lines(inspection.noise, words)]


def _label_table(inspection: Inspection, words: Words) -> str:
    """Return rows, lengths and languages by label."""
    head = "".join(f"<th>{escape(words(name))}</th>" for name in ("label", "rows", "mean length", "languages"))
    body = ""
    for label, each in inspection.by_label.items():
        languages = ", ".join(f"{name} {words.number(count)}" for name, count in list(each.languages.items())[:4])
        cells = (label, words.number(each.rows), words.number(each.mean_length, 1), languages)
        body += "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
    return f"<table><tr>{head}</tr>{body}</table>"


def inspection_page(inspection: Inspection, words: Words) -> str:
    """Return the whole HTML document."""
    rows = words.counted(inspection.rows, "{count} row", "{count} rows")
    listed = "".join(
        f"<li{' class=warn' if warn else ''}>{escape(told)}</li>" for warn, told in findings(inspection, words)
    )
    forms = ", ".join(words.note(form) for form in inspection.forms)
    parts = [
        f"<h1>{escape(Path(inspection.path).name)}</h1><p class=soft>{escape(rows)} · {escape(kind_of(inspection, words))} · "
        f"{escape(forms)}</p>",
        f"<h2>{escape(words('What was found'))}</h2><ul>{listed}</ul>",
        f"<h2>{escape(_begun(unit_of(inspection, words)))}</h2>",
        _lengths(inspection.lengths, words),
        *(
            f"<h3>{escape(_begun(words(name)))}</h3>{_histogram(lengths, words)}"
            for name, lengths in inspection.lengths.items()
        ),
    ]
    for title, counts in (
        ("labels", inspection.labels), ("words by tag", inspection.tags), ("languages", inspection.languages), ("personal data, occurrences", inspection.personal),
        ("forms", _noted(inspection.forms, words)), ("rows that cannot be read", _noted(inspection.problems, words)),
    ):  # fmt: skip
        if counts:
            parts.append(f"<h2>{escape(_begun(words(title)))}</h2>{_bars(counts, words)}")
    if inspection.by_label:
        parts.append(f"<h2>{escape(_begun(words('by label')))}</h2>{_label_table(inspection, words)}")
    if lines := doubt_lines(inspection, words):
        listed = "".join(f"<li{' class=warn' if warn else ''}>{escape(line)}</li>" for warn, line in lines)
        parts.append(f"<h2>{escape(words('Test rows and labels'))}</h2><ul>{listed}</ul>")
        leaks, noise = inspection.leaks, inspection.noise
        every = 0 if leaks is None else leaks.exact + leaks.near
        parts.append(_shown("Test rows among the train rows", leaked_rows(leaks, words, _ROWS), every, words))
        every = 0 if noise is None else noise.doubted
        parts.append(_shown("Labels to look at again", doubted_rows(noise, words, _ROWS), every, words))
    if lines := balance_lines(inspection, words):
        listed = "".join(f"<li{' class=warn' if warn else ''}>{escape(line)}</li>" for warn, line in lines)
        limits = words(
            "Groups found by words are rows that hold those words, not people; gaps in them have many causes."
        )
        parts.append(
            f"<h2>{escape(_begun(words('labels by groups of people')))}</h2><ul>{listed}</ul><p class=soft>{escape(limits)}</p>"
        )
    if inspection.examples:
        parts.append(f"<h2>{escape(words('Examples'))}</h2>")
        for kind, shown in inspection.examples.items():
            body = "".join(f"<tr><td>{escape(at)}</td><td class=text>{escape(said)}</td></tr>" for at, said in shown)
            parts.append(f"<h3>{escape(_begun(words(kind)))}</h3><table>{body}</table>")
    return (
        f'<!doctype html>\n<html lang="{words("en")}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,'
        f'initial-scale=1"><title>{escape(Path(inspection.path).name)}</title><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _shown(title: str, cells: Sequence[Sequence[str]], every: int, words: Words) -> str:
    """Return a table of rows with what they say last, and how many of all it has; nothing without rows."""
    if not cells:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in cells[0])
    body = "".join(
        "<tr>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[:-1])
        + f"<td class=text>{escape(row[-1])}</td></tr>"
        for row in cells[1:]
    )
    more = ""
    if every > len(cells) - 1:
        count = {"some": words.number(len(cells) - 1), "of": words.number(every)}
        more = f"<p class=soft>{escape(words('{some} of {of}; the file of --json lists more', **count))}</p>"
    return f"<h3>{escape(words(title))}</h3><table class=rows><tr>{head}</tr>{body}</table>{more}"


def _noted(counts: Mapping[str, int], words: Words) -> dict[str, int]:
    return {words.note(what): count for what, count in counts.items()}


def _begun(text: str) -> str:
    # Only the first letter: the rest may be a name.
    return text[:1].upper() + text[1:]


def _lengths(lengths: Mapping[str, Lengths], words: Words) -> str:
    rows = ""
    for name, each in lengths.items():
        figures = map(words.number, (each.median, each.p95, each.longest, each.total))
        cells = "".join(f"<td>{figure}</td>" for figure in (words.number(each.mean, 1), *figures))
        rows += f"<tr><td>{escape(words(name))}</td>{cells}</tr>"
    head = "".join(f"<th>{escape(words(column))}</th>" for column in COLUMNS)
    return f"<table><tr><th></th>{head}</tr>{rows}</table>"


def _histogram(lengths: Lengths, words: Words) -> str:
    starts = [0, *(end + 1 for end in lengths.ends[:-1])]
    steps = zip(starts, lengths.ends, lengths.counts, strict=True)
    ranges = {
        words("{first} to {last}", first=words.number(start), last=words.number(end)): count
        for start, end, count in steps
    }
    return _bars(ranges, words)


def _bars(counts: Mapping[str, int], words: Words) -> str:
    most, total = max(counts.values()), sum(counts.values())
    body = "".join(
        f"<tr><td>{escape(str(name))}</td><td>{words.number(count)}</td>"
        f"<td>{words.number(100 * count / max(1, total), 1)}%</td>"
        f'<td class=bar><i style="width:{100 * count / max(1, most):.1f}%"></i></td></tr>'
        for name, count in counts.items()
    )
    return f"<table>{body}</table>"
