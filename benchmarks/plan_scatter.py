"""Draw what runs took against what was planned of them, each with its range.

python benchmarks/plan_scatter.py benchmarks/results/plan.json docs/images/plan.svg
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from plan import took_of

PANELS = (
    ("memory", "train", "memory of training, MB", 1e6), ("memory", "evaluate", "memory of evaluating, MB", 1e6),
    ("time", "train", "time of training, s", 1.0), ("time", "evaluate", "time of evaluating, s", 1.0),
)  # fmt: skip
SIZE, LEFT, TOP = 300, 60, 40
INSIDE, OUTSIDE = "#0072b2", "#d55e00"


def panel(runs: list[dict[str, Any]], what: str, phase: str, title: str, unit: float) -> str:
    """Return one diagram, on scales by factors of ten."""
    points = []
    for run in runs:
        if (took := took_of(run, phase, what)) is not None and took > 0:
            said = run["planned"][what][phase]
            points.append([own / unit for own in (said["low"], said["value"], said["high"], took)])
    low = math.log10(min(min(own) for own in points)) - 0.05
    high = math.log10(max(max(own) for own in points)) + 0.05

    def at(value: float) -> float:
        return SIZE * (math.log10(value) - low) / (high - low)

    parts = [f'<text x="0" y="-12">{title}</text>', f'<rect width="{SIZE}" height="{SIZE}" fill="none" stroke="#999"/>']
    parts.append(f'<line x1="0" y1="{SIZE}" x2="{SIZE}" y2="0" stroke="#bbb"/>')
    ticks = [digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5)]
    for tick in (own for own in ticks if low <= math.log10(own) <= high):
        parts.append(f'<text x="{at(tick):.1f}" y="{SIZE + 18}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="-6" y="{SIZE - at(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for least, value, most, took in points:
        colour = INSIDE if least <= took <= most else OUTSIDE
        x = at(took)
        bar = f'x1="{x:.1f}" y1="{SIZE - at(least):.1f}" x2="{x:.1f}" y2="{SIZE - at(most):.1f}"'
        parts.append(f'<line {bar} stroke="{colour}" stroke-opacity="0.4"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{SIZE - at(value):.1f}" r="3" fill="{colour}"/>')
    return "".join(parts)


def scatter(runs: list[dict[str, Any]]) -> str:
    """Return all diagrams: across what was measured, up what was planned with its range."""
    step = SIZE + LEFT + 30
    parts = []
    for place, own in enumerate(PANELS):
        x, y = LEFT + step * (place % 2), TOP + (SIZE + 70) * (place // 2)
        parts.append(f'<g transform="translate({x},{y})">{panel(runs, *own)}</g>')
    height = TOP + 2 * (SIZE + 70)
    parts.append(
        f'<text x="{LEFT}" y="{height - 14}">across: measured; up: planned, with its range. Orange: outside the range.</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * step} {height}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )  # fmt: skip


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(scatter(json.loads(Path(sys.argv[1]).read_text())["runs"]))
