"""Figures as inline SVG: drawn to be read, in colours that everybody can tell apart and in either light."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from afina.measure.metrics.base import higher_is_better
from afina.report.tables import at_epoch
from afina.results.cohort_report import CohortMember, CohortReport
from afina.results.material import Group, Material
from afina.results.mistakes import Mistakes
from afina.results.shown import scaled, shown_interval
from afina.results.statistics import Cell
from afina.words.language import Words

__all__ = [
    "Axis",
    "axis_label",
    "cost_figure",
    "coverage_figure",
    "curves_figure",
    "metric_figure",
    "pareto_front",
    "svg",
    "svg_line",
    "svg_text",
    "timeline_figure",
]

_LONGEST_LABEL = 32
_FEW_ANSWERED = 5
"""Answers below which a share of them is no point of a curve."""
_ROW = 32
"""Height of a method's row."""
_SHAPES = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True)
class Axis:
    """A linear scale from values to pixels, with ticks at round numbers."""

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        # Round steps (1, 2, 2.5 or 5 times a power of ten) are what people read axes by.
        raw = (self.high - self.low) / about
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw)
        first = math.ceil(self.low / step - 1e-9) * step
        return [first + i * step for i in range(int((self.high - first) / step + 1e-9) + 1)]


def _axis(values: Sequence[float], start: float, stop: float, *, margin: float = 0.08, zero: bool = False) -> Axis:
    low, high = min(values), max(values)
    pad = (high - low) * margin or abs(high) * 0.05 or 1.0
    return Axis(0.0 if zero else low - pad, high + pad, start, stop)


def axis_label(value: float, words: Words) -> str:
    return words.shortest(value) if abs(value) < 1e5 else f"{words.shortest(value / 1000)}k"


def svg(width: float, height: float, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width:.0f}px" role="img" '
        f'aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'
    )


def svg_text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def svg_line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _mark(x: float, y: float, colour: int, shape: int, tip: str) -> str:
    kind = f'class="c{colour % 8}"'
    name = _SHAPES[shape % len(_SHAPES)]
    if name == "circle":
        body = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" {kind}>'
    elif name == "square":
        body = f'<rect x="{x - 5.5:.1f}" y="{y - 5.5:.1f}" width="11" height="11" {kind}>'
    else:
        points = [(0, -7), (7, 0), (0, 7), (-7, 0)] if name == "diamond" else [(0, -7), (6.5, 5.5), (-6.5, 5.5)]
        body = f'<polygon points="{" ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in points)}" {kind}>'
    return f"{body}<title>{escape(tip)}</title></{body[1:].split(' ', 1)[0]}>"


def metric_figure(material: Material, dataset: str, words: Words) -> str:
    """Draw dots with intervals: one row a method, one shape a model."""
    groups = [group for group in material.groups if group.dataset == dataset]
    rows = [
        name for name in material.methods if any(cell.method == name and cell.runs for g in groups for cell in g.cells)
    ]
    done = [(i, cell) for i, group in enumerate(groups) for cell in group.cells if cell.test is not None]
    if not done:
        return ""
    metric = done[0][1].metric
    scale = scaled(metric)
    left, width, top = *_beside_names(rows), 14.0
    height = top + _ROW * len(rows) + 44
    bounds = [value for _, cell in done if cell.test is not None for value in shown_interval(cell.test, metric)]
    axis = _axis(bounds, left, width - 20)
    parts = [svg_line(axis.at(t), top, axis.at(t), top + _ROW * len(rows), "grid") for t in axis.ticks()]
    parts += [svg_text(axis.at(t), height - 26, axis_label(t, words), "tick", "middle") for t in axis.ticks()]
    unit = ", %" if scale == 100 else ""
    parts.append(
        svg_text((left + width - 20) / 2, height - 8, f"{words(metric)}, {words('test')}{unit}", "name", "middle")
    )
    for place, name in enumerate(rows):
        middle = top + _ROW * place + _ROW / 2
        parts.append(svg_text(left - 10, middle + 4, name, "", "end"))
        for model, cell in done:
            if cell.method != name or cell.test is None:
                continue
            # Models of one method stand a little apart, or their intervals would lie on each other.
            y = middle + (model - (len(groups) - 1) / 2) * (22 / max(1, len(groups)))
            shown = shown_interval(cell.test, metric)
            if shown[-1] > shown[0]:
                parts.append(svg_line(axis.at(shown[0]), y, axis.at(shown[-1]), y, f"whisker s{place % 8}"))
            tip = f"{name}, {Path(cell.model).name}: {words.number(scale * cell.test.mean, 2)}"
            parts.append(_mark(axis.at(scale * cell.test.mean), y, place, model, tip))
    legend = _model_legend(groups, left, width) if len(groups) > 1 else ""
    return legend + svg(width, height, parts, f"{metric} by method on {dataset}")


def _model_legend(groups: Sequence[Group], left: float, width: float) -> str:
    parts, x = [], left
    for place, group in enumerate(groups):
        name = Path(group.model).name
        parts += [_mark(x, 12, 7, place, name), svg_text(x + 12, 16, name)]
        x += 40 + 7.8 * len(name)
    return svg(width, 24, parts, "models")


def _beside_names(names: Sequence[str]) -> tuple[float, float]:
    """Return where a plot begins that has names at its left, and where it ends: long names do not make it narrow."""
    left = 24 + 7.8 * max(map(len, names))
    return left, max(920.0, left + 600)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices, by rising cost, of points (cost, value) that none beats in value at no more cost."""
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        # By rising cost, so a point belongs to the front only if it is better than all that are cheaper.
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


def cost_figure(group: Group, cost: str, words: Words, colours: Sequence[str]) -> str:
    """Draw the metric against memory (`memory_bytes`) or time (`seconds`), with the Pareto front."""
    done = [cell for cell in group.cells if cell.test is not None and getattr(cell, cost) is not None]
    if not done:
        return ""
    metric, factor = done[0].metric, 1e-6 if cost == "memory_bytes" else 1.0
    scale = scaled(metric)
    sign = 1 if higher_is_better(metric) else -1
    points = [(factor * getattr(cell, cost).mean, scale * (cell.test.mean if cell.test else 0)) for cell in done]
    width, height, left, bottom = 590.0, 380.0, 56.0, 46.0
    x = _axis([p[0] for p in points], left, width - 70, zero=True)
    y = _axis([p[1] for p in points], height - bottom, 26, margin=0.12)
    parts = [svg_line(left, y.at(t), width - 14, y.at(t), "grid") for t in y.ticks(8)]
    parts += [svg_text(left - 8, y.at(t) + 4, axis_label(t, words), "tick", "end") for t in y.ticks(8)]
    parts += [svg_text(x.at(t), height - bottom + 16, axis_label(t, words), "tick", "middle") for t in x.ticks(4)]
    name = words("peak memory, MB") if cost == "memory_bytes" else words("training time, s")
    parts.append(svg_text((left + width) / 2, height - 8, name, "name", "middle"))
    unit = ", %" if scale == 100 else ""
    parts.append(svg_text(6, 12, f"{words(metric)}, {words('test')}{unit}", "name"))
    front = pareto_front([(p[0], sign * p[1]) for p in points])
    steps = " ".join(f"{x.at(points[i][0]):.1f},{y.at(points[i][1]):.1f}" for i in front)
    parts.append(f'<polyline points="{steps}" class="front"/>')
    for cell, (a, b) in zip(done, points, strict=True):
        tip = f"{cell.method}: {words.compact(a)}, {words.number(b, 2)}"
        parts.append(_mark(x.at(a), y.at(b), colours.index(cell.method), 0, tip))
    taken = [(x.at(a) - 6, y.at(b) - 6, 12.0, 12.0) for a, b in points]
    for index in sorted(range(len(done)), key=lambda i: i not in front):
        parts.append(
            _place_label(x.at(points[index][0]), y.at(points[index][1]), done[index].method, taken, width, height)
        )
    return svg(width, height, parts, f"{metric} against {name}")


def coverage_figure(mistakes: Mistakes, words: Words) -> str:
    """Draw the accuracy of answers that are sure enough by the share of rows that they are; a mark a threshold."""
    points = [own for own in mistakes.coverage() if own.answered]
    sure = np.sort(mistakes.probability)[::-1] if mistakes.probability is not None else np.zeros(0)
    every = mistakes.coverage(sorted(set(sure[:: max(1, len(sure) // 60)].tolist()), reverse=True))
    width, height, left, bottom = 560.0, 330.0, 56.0, 46.0
    x = Axis(0.0, 103.0, left, width - 14)
    shares = [100 * own.right / own.answered for own in [*points, *every] if own.answered >= _FEW_ANSWERED] or [
        0.0,
        100.0,
    ]
    y = _axis(shares, height - bottom, 30, margin=0.12)
    parts = [svg_line(left, y.at(t), width - 14, y.at(t), "grid") for t in y.ticks(8)]
    parts += [svg_text(left - 8, y.at(t) + 4, axis_label(t, words), "tick", "end") for t in y.ticks(8)]
    parts += [
        svg_text(x.at(t), height - bottom + 18, axis_label(t, words), "tick", "middle") for t in range(0, 101, 20)
    ]
    parts.append(svg_text((left + width) / 2, height - 8, words("answered (%)"), "name", "middle"))
    parts.append(svg_text(6, 14, words("accuracy of these (%)"), "name"))
    line = " ".join(
        f"{x.at(100 * own.share):.1f},{y.at(100 * own.right / own.answered):.1f}"
        for own in every if own.answered >= _FEW_ANSWERED
    )  # fmt: skip
    parts.append(f'<polyline points="{line}" class="curve s0"/>')
    marked = [own for own in points if own.answered >= _FEW_ANSWERED]
    places = [(x.at(100 * own.share), y.at(100 * own.right / own.answered)) for own in marked]
    taken = [(at - 7, up_ - 7, 14.0, 14.0) for at, up_ in places]
    for point, (at, up) in zip(marked, places, strict=True):
        name = words.shortest(point.at_least) if point.at_least else words("all")
        tip = f"{name}: {words.number(100 * point.share, 1)}%, {words.number(100 * point.right / point.answered, 1)}%"
        parts.append(_mark(at, up, 0, 0, tip))
        parts.append(_place_label(at, up, name, taken, width, height))
    return svg(width, height, parts, words("Answers that are sure enough"))


def _place_label(
    x: float, y: float, text: str, taken: list[tuple[float, float, float, float]], width: float, height: float
) -> str:
    """Put a label beside its point where it covers no other label or point; the nearest free place wins.

    Of a long one the start is put: its point says all of it.
    """
    text = text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"
    size = 7.2 * len(text)
    choices = [
        (9, 4),
        (9, -9),
        (9, 16),
        (-9 - size, 4),
        (-9 - size, -9),
        (-9 - size, 16),
        (-size / 2, -11),
        (-size / 2, 20),
    ]
    choices += [(9, 30), (9, -24), (-9 - size, 30), (-9 - size, -24), (14, 44), (14, -38)]
    for dx, dy in choices:
        box = (x + dx, y + dy - 10, size, 12.0)
        inside = box[0] >= 50 and box[0] + size <= width and box[1] >= 12 and box[1] + 12 <= height - 40
        if inside and not any(_overlap(box, other) for other in taken):
            break
    else:
        box = (min(x + 9, width - size), y - 6, size, 12.0)
    taken.append(box)
    lead = ""
    if abs(box[1] + 10 - y) > 20:
        lead = svg_line(x, y, box[0], box[1] + 6, "lead")
    return lead + svg_text(box[0], box[1] + 10, text)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def curves_figure(group: Group, words: Words, colours: Sequence[str]) -> str:
    """Draw train (dashed) and test (solid) by epoch, means over seeds; one panel a method."""
    done = [cell for cell in group.cells if len(_epochs(cell)) > 1]
    if not done:
        return ""
    series = {
        (cell.method, split): [v for epoch in _epochs(cell) if (v := at_epoch(cell, epoch, split)) is not None]
        for cell in done for split in ("train", "test")
    }  # fmt: skip
    every = [value for values in series.values() for value in values]
    # As wide as its name: of long ones fewer stand side by side.
    panel, tall = max(290.0, 18 + 8.0 * max(len(cell.method) for cell in done)), 220.0
    across = max(1, min(4, len(done), int(1180 // panel)))
    down = math.ceil(len(done) / across)
    width, height = 44 + panel * across, 26 + tall * down + 14
    parts = []
    for place, cell in enumerate(done):
        left, top = 40 + panel * (place % across), 22 + tall * (place // across)
        y = _axis(every, top + tall - 34, top + 4)
        epochs = _epochs(cell)
        x = Axis(min(epochs) - 0.15, max(epochs) + 0.15, left, left + panel - 18)
        parts += [svg_line(left, y.at(t), left + panel - 18, y.at(t), "grid") for t in y.ticks(4)]
        if place % across == 0:
            parts += [svg_text(left - 6, y.at(t) + 4, axis_label(t, words), "tick", "end") for t in y.ticks(4)]
        marks = epochs if len(epochs) <= 6 else [epochs[0], epochs[len(epochs) // 2], epochs[-1]]
        parts += [svg_text(x.at(e), top + tall - 20, str(e), "tick", "middle") for e in marks]
        parts.append(svg_text(left, top - 4, cell.method, "strong"))
        for split in ("train", "test"):
            line = " ".join(
                f"{x.at(e):.1f},{y.at(v):.1f}" for e, v in zip(epochs, series[cell.method, split], strict=True)
            )
            parts.append(f'<polyline points="{line}" class="curve {split} s{colours.index(cell.method) % 8}"/>')
    parts.append(svg_text(40 + (width - 40) / 2, height - 4, words("epoch"), "name", "middle"))
    return svg(width, height, parts, f"learning curves, {group.title}")


def _epochs(cell: Cell) -> list[int]:
    epochs = {entry.epoch for run in cell.runs for entry in run.history}
    return sorted(epoch for epoch in epochs if at_epoch(cell, epoch, "test") is not None)  # not each is evaluated


def timeline_figure(cohort: CohortReport, words: Words) -> str:
    """Draw each member of a cohort from its first step to its last, a tick an epoch; one line a seed, named once a method."""
    members = sorted(cohort.members, key=lambda member: (-max(_ends(cohort, member.label)), member.label))
    labels = list(dict.fromkeys(member.label for member in members))
    left, width, top, step = *_beside_names(labels), 14.0, 9
    height = top + step * len(members) + 5 * len(labels) + 44
    x = _axis([0.0, *(member.until or 0.0 for member in members)], left, width - 20, zero=True)
    parts = [svg_line(x.at(t), top, x.at(t), height - 44, "grid") for t in x.ticks() if x.at(t) <= width]
    parts += [svg_text(x.at(t), height - 26, axis_label(t, words), "tick", "middle") for t in x.ticks()]
    parts.append(svg_text((left + width - 20) / 2, height - 8, words("seconds of training steps"), "name", "middle"))
    y = top
    for place, label in enumerate(labels):
        with_label = [member for member in members if member.label == label]
        parts.append(svg_text(left - 10, y + step * len(with_label) / 2 + 5, label, "", "end"))
        for member in with_label:
            y += step
            until = member.until or 0.0
            tip = f"{member.run}: {_ending(member, words)}, {words.number(until, 1)} s"
            parts.append(
                f'<line x1="{x.at(0):.1f}" y1="{y:.1f}" x2="{x.at(until):.1f}" y2="{y:.1f}" class="bar s{place % 8}">'
                f"<title>{escape(tip)}</title></line>"
            )
            parts += [svg_line(x.at(end), y - 3, x.at(end), y + 3, f"s{place % 8}") for end in member.epochs]
            if member.why != "finished":
                parts.append(_mark(x.at(until), y, place, 2, tip))
        y += 5
    return svg(width, height, parts, f"{words('Runs that trained together')}: {cohort.cohort}")


def _ending(member: CohortMember, words: Words) -> str:
    """Say how a member's way through its cohort ended."""
    text = words("left the race" if member.why == "lost" else member.why)  # as it was called before
    if member.race is not None:
        text += f" ({words('place')} {member.race.place} / {member.race.of})"
    return f"{text} ({member.error})" if member.error else text


def _ends(cohort: CohortReport, label: str) -> list[float]:
    return [member.until or 0.0 for member in cohort.members if member.label == label]
