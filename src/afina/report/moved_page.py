"""Lay out how a run's parameters moved as one self-contained HTML page of figures and tables."""

from collections import Counter
from collections.abc import Callable, Sequence
from html import escape

from afina.report.figures import Axis, axis_label, svg, svg_line, svg_text
from afina.report.moved import Moved, MovedPlace, PlaceAtStep
from afina.words.language import Words

__all__ = ["moved_page", "moved_rows", "short_names"]

_STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#5b6570;--line:#d9dee3}
@media(prefers-color-scheme:dark){:root{--page:#14181d;--ink:#e6e9ec;--soft:#9aa5b0;--line:#323a43}}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1120px;margin:0 auto;padding:24px 20px 60px}h1{font-size:1.5rem;margin:0}.soft{color:var(--soft)}
h2{font-size:1.1rem;margin:30px 0 8px;padding-top:12px;border-top:1px solid var(--line)}.wide{overflow-x:auto}
.side{display:grid;grid-template-columns:repeat(auto-fit,minmax(330px,1fr));gap:18px}figure{margin:0}
.hues span{display:inline-block;margin-right:16px}.hues i{display:inline-block;width:18px;height:3px;margin:0 6px 4px 0}
figcaption{font-size:.9rem;color:var(--soft);margin-bottom:4px}svg{width:100%;height:auto}
svg text{fill:var(--soft);font-size:11px}svg .grid{stroke:var(--line)}svg polyline{fill:none;stroke-width:1.8;opacity:.85}
table{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums}
td,th{padding:2px 12px 2px 0;text-align:right;border-bottom:1px solid var(--line)}
td:first-child,th:first-child{text-align:left;overflow-wrap:anywhere}th{color:var(--soft);font-weight:600}
"""
_WIDTH, _HEIGHT, _LEFT, _BELOW = 420.0, 210.0, 52.0, 26.0


def moved_page(moved: Moved, language: str = "en") -> str:
    """Return the whole HTML document."""
    words = Words(language)
    title = words("How the parameters moved")
    figures = [
        _figure(moved, words("size of the change"), lambda at: at.norm, words),
        _figure(moved, words("its share of the frozen weight's, %"), lambda at: _times(at.share, 100), words),
        _figure(moved, words("norm of the gradient, as the step took it"), lambda at: at.gradient, words),
        _figure(moved, words("cosine of the way so far to the whole way"), lambda at: at.cosine, words),
        _figure(moved, words("rank: singular values that are not zero"), lambda at: at.rank, words),
    ]
    spectra = [_spectrum(place, words) for place in moved.places if place.steps[-1].singular]
    head, *rows = moved_rows(moved, words)
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    deep = words("Each line is a branch, from the lowest layer (light) to the highest (dark), or the head (dashed).")
    return (
        f'<!doctype html>\n<html lang="{words("en")}"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{title}</title><style>{_STYLE}</style></head><body><main>'
        f"<h1>{title}</h1><p class=soft>{escape(moved.run)} · {escape(moved.method)} · {escape(moved.model)}</p>"
        f"<p class=soft>{deep}</p>{_legend(moved)}<div class=side>{''.join(figures)}</div>"
        f"<h2>{words('Singular values of the change, by step')}</h2>"
        f"<p class=soft>{words('The later the step, the darker.')}</p>"
        f"<div class=side>{''.join(spectra)}</div>"
        f"<h2>{words('At the last step')}</h2><div class=wide><table><tr>{cells}</tr>{lines}</table></div>"
        "</main></body></html>\n"
    )


def short_names(names: Sequence[str]) -> list[str]:
    """Leave out of dotted names the parts that all begin with, and those that all of the usual length have at one place."""
    parts = [name.split(".") for name in names]
    dotted = [own for own in parts if len(own) > 1]
    # All but the last part may be left out, by which a name is told.
    alike_at = [len({own[place] for own in dotted}) == 1 for place in range(min(map(len, dotted), default=1) - 1)]
    begin = alike_at.index(False) if False in alike_at else len(alike_at)
    parts = [own[begin:] if len(own) > 1 and len(dotted) > 1 else own for own in parts]
    most = Counter(map(len, parts)).most_common(1)[0][0] if parts else 0
    alike = [own for own in parts if len(own) == most]
    differ = [len({own[place] for own in alike}) > 1 for place in range(most)]
    if not any(differ):
        return list(names)
    return [
        ".".join(part for part, differs in zip(own, differ, strict=True) if differs)
        if len(own) == most
        else ".".join(own)
        for own in parts
    ]


def moved_rows(moved: Moved, words: Words) -> list[tuple[str, ...]]:
    """Return a table of the last step, a row a place, its head first."""
    head = ("place", "size of the change", "share, %", "largest singular value", "rank", "gradient")
    halfway = min(range(len(moved.steps)), key=lambda number: abs(moved.steps[number] - moved.steps[-1] / 2))
    rows = [(*map(words, head), words("cosine at step {step}", step=moved.steps[halfway]))]
    for place in moved.places:
        last, middle = place.steps[-1], place.steps[halfway]
        rows.append((
            place.name, words.number(last.norm, 4), words.number(_times(last.share, 100), 2),
            words.number(last.singular[0] if last.singular else None, 4), "—" if last.rank is None else str(last.rank),
            words.number(last.gradient, 4), words.number(middle.cosine, 2),
        ))  # fmt: skip
    return rows


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _figure(moved: Moved, title: str, of: Callable[[PlaceAtStep], float | None], words: Words) -> str:
    """Draw a line for each place, over the steps."""
    lines = [
        (place, [(at.step, value) for at in place.steps if (value := of(at)) is not None]) for place in moved.places
    ]
    lines = [(place, points) for place, points in lines if len(points) > 1]
    if not lines:
        return ""
    layers = max((place.layer or 0 for place, _ in lines), default=0) + 1
    drawn = [
        (points, _shade(place, layers), "4 3" if place.layer is None else "", place.name) for place, points in lines
    ]
    return _frame(title, drawn, words)


def _spectrum(place: MovedPlace, words: Words) -> str:
    """Draw the singular values of a place, a line a step, the later the darker."""
    there = [at for at in place.steps if at.singular]
    drawn = [
        (
            [(number, value) for number, value in enumerate(at.singular, start=1)],
            f"hsl(215 75% {72 - 34 * order / max(1, len(there) - 1):.0f}%)", "", words("step {step}", step=at.step),
        )
        for order, at in enumerate(there)
    ]  # fmt: skip
    return _frame(place.name, drawn, words)


def _frame(title: str, drawn: Sequence[tuple[Sequence[tuple[float, float]], str, str, str]], words: Words) -> str:
    xs = [x for points, *_ in drawn for x, _ in points]
    ys = [y for points, *_ in drawn for _, y in points]
    low, high = min(0.0, *ys), max(ys)
    across = Axis(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, _LEFT, _WIDTH - 14)
    up = Axis(low, high if high > low else low + 1, _HEIGHT - _BELOW, 10)
    parts = [svg_line(_LEFT, up.at(tick), _WIDTH - 14, up.at(tick), "grid") for tick in up.ticks(4)]
    parts += [svg_text(_LEFT - 6, up.at(tick) + 4, axis_label(tick, words), "tick", "end") for tick in up.ticks(4)]
    parts += [
        svg_text(across.at(tick), _HEIGHT - 8, axis_label(tick, words), "tick", "middle") for tick in across.ticks(5)
    ]
    for points, colour, dash, name in drawn:
        line = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{line}" style="stroke:{colour}" stroke-dasharray="{dash}"><title>{escape(name)}</title>'
            "</polyline>"
        )
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg(_WIDTH, _HEIGHT, parts, title)}</figure>"


_HEAD = "#d9730d"
_HUES = {
    "query": 215,
    "key": 160,
    "value": 275,
    "attention_out": 190,
    "layer": 215,
    "ffn_up": 330,
    "ffn_down": 0,
    "ffn_gate": 90,
}
_OTHER = 50
"""The hue of what has none of its own."""


def _shade(place: MovedPlace, layers: int) -> str:
    """Return a colour by the layer, with a hue for each role, that is seen in light and in dark."""
    if place.layer is None:
        return _HEAD
    return f"hsl({_HUES.get(place.role, _OTHER)} 70% {68 - 30 * place.layer / max(1, layers - 1):.0f}%)"


def _legend(moved: Moved) -> str:
    """Say which hue stands for which role; nothing where all lines are of one."""
    hue = {
        place.role: _HEAD if place.layer is None else f"hsl({_HUES.get(place.role, _OTHER)} 70% 53%)"
        for place in moved.places
    }
    if len(hue) < 2:
        return ""
    named = "".join(f'<span><i style="background:{colour}"></i>{escape(role)}</span>' for role, colour in hue.items())
    return f'<p class="soft hues">{named}</p>'
