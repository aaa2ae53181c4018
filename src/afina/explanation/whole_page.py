"""Lay out what a study's classifiers go by as one self-contained HTML page."""

from collections.abc import Sequence
from html import escape

from afina.explanation.page import faithful_words
from afina.explanation.whole import SureMistake, Whole
from afina.words.language import Words

__all__ = ["whole_page"]

_STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#5b6570;--line:#d9dee3;--warn:#8a4b00;--bar:#266edc}
@media(prefers-color-scheme:dark){:root{--page:#14181d;--ink:#e6e9ec;--soft:#9aa5b0;--line:#323a43;--warn:#ffc46b;
--bar:#5b9bff}}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:1100px;margin:0 auto;padding:24px 20px 60px}h1{font-size:1.5rem;margin:0}
h2{font-size:1.1rem;margin:34px 0 8px;padding-top:12px;border-top:1px solid var(--line);overflow-wrap:anywhere}
h3{font-size:.98rem;margin:18px 0 6px}.small{font-size:.86rem;color:var(--soft)}.warn{color:var(--warn)}p{margin:6px 0}
.side{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:8px 26px}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
td,th{padding:3px 14px 3px 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:600}.word{display:flex;gap:8px;align-items:center;font-size:.9rem;min-width:0}
.word b{flex:1;font-weight:400;overflow-wrap:anywhere}.word i{display:block;height:8px;border-radius:4px;
background:var(--bar)}
.word span{flex:0 0 84px}.word em{flex:0 0 5.5em;font-style:normal;color:var(--soft);white-space:nowrap}
details{margin:6px 0}summary{cursor:pointer}summary,p,td:first-child{overflow-wrap:anywhere}
"""


def whole_page(runs: Sequence[Whole], language: str = "en") -> str:
    """Return the whole HTML document; texts and words are escaped."""
    words = Words(language)
    title = words("What these classifiers go by")
    parts = [f"<h1>{title}</h1>"]
    for one in runs:
        parts += _of_run(one, words)
    return (
        f'<!doctype html>\n<html lang="{words("en")}"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{title}</title><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _of_run(one: Whole, words: Words) -> list[str]:
    facts = words(
        "{rows} test rows explained by {way}, accuracy {accuracy}%",
        rows=words.number(one.rows), way=one.way, accuracy=words.number(100 * one.accuracy, 1),
    )  # fmt: skip
    parts = [
        f"<h2>{escape(one.method)} · {escape(one.dataset)}</h2><p class=small>{escape(one.run)}: {escape(facts)}</p>"
    ]
    parts += [f"<p class=small>{escape(line)}</p>" for line in faithful_words(one.faithfulness, words)]
    parts += [f"<p class=warn>{escape(words.sentence(note))}</p>" for note in one.notes]
    parts.append(
        f"<h3>{words('Words most often decisive, by the class that was predicted')}</h3>{_decisive(one, words)}"
    )
    if one.errors:
        head = [words(name) for name in ("label", "taken for", "rows", "decisive words")]
        rows = [
            (
                group.label,
                group.taken_for,
                words("{some} of {of}", some=group.rows, of=group.of),
                ", ".join(group.words) or "—",
            )
            for group in one.errors
        ]
        parts.append(f"<h3>{words('Errors in groups')}</h3>{_table(head, rows)}")
    if one.mistakes:
        parts.append(
            f"<h3>{words('Surest, and wrong')}</h3>" + "".join(_mistake(mistake, words) for mistake in one.mistakes)
        )
    return parts


def _decisive(one: Whole, words: Words) -> str:
    most = max((word.decisive for each in one.words.values() for word in each), default=1)
    columns = []
    for label, each in one.words.items():
        lines = [
            f"<div class=word><b>{escape(word.word)}</b><span><i style='width:{100 * word.decisive / most:.0f}%'></i></span>"
            f"<em>{words('{some} of {of}', some=word.decisive, of=word.texts)}</em></div>"
            for word in each
        ]
        none = f"<p class=small>{words('no word twice')}</p>"
        columns.append(f"<div><h3>{escape(label)}</h3>{''.join(lines) or none}</div>")
    return f"<div class=side>{''.join(columns)}</div>"


def _mistake(mistake: SureMistake, words: Words) -> str:
    summary = words(
        "labelled {label}, answered {prediction} with {probability}%",
        label=mistake.label, prediction=mistake.prediction, probability=words.number(100 * mistake.probability, 1),
    )  # fmt: skip
    agree = (
        words("{some} of {of} other runs say the same", some=mistake.agree, of=mistake.others) if mistake.others else ""
    )
    doubt = (
        f"; {words('look at the label: all of them do')}" if mistake.others and mistake.agree == mistake.others else ""
    )
    head = [words(name) for name in ("train row that pulls towards it", "label", "cosine")]
    rows = [(each.text, each.label, words.signed(each.cosine, 2)) for each in mistake.teachers]
    table = _table(head, rows) if rows else ""
    return (
        f"<details open><summary>{escape(summary)}</summary><p>{escape(mistake.text)}</p>"
        f"<p class=small>{escape(agree)}{escape(doubt)}{'.' if agree else ''}</p>{table}</details>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=wide><table><tr>{cells}</tr>{lines}</table></div>"
