"""Diagrams of metrics as inline SVG: points beside the diagonal, as large as the rows that they stand for."""

import math
from html import escape

from afina.measure.diagram import Diagram
from afina.report.figures import Axis, axis_label, svg, svg_line, svg_text
from afina.words.language import Words

__all__ = ["diagram_figure"]

_LARGEST = 11.0
"""Radius of the point that stands for most rows."""


def diagram_figure(diagram: Diagram, words: Words) -> str:
    """Draw a diagram."""
    width, height, left, bottom = 480.0, 420.0, 60.0, 48.0
    # Both axes run from 0 to 1 whatever the points, so that diagrams of several runs can be laid side by side.
    x, y = Axis(0.0, 1.0, left, width - 20), Axis(0.0, 1.0, height - bottom, 30.0)
    ticks = [place / 5 for place in range(6)]
    parts = [svg_line(left, y.at(t), width - 20, y.at(t), "grid") for t in ticks]
    parts += [svg_text(left - 8, y.at(t) + 4, axis_label(t, words), "tick", "end") for t in ticks]
    parts += [svg_text(x.at(t), height - bottom + 18, axis_label(t, words), "tick", "middle") for t in ticks]
    parts.append(svg_text((left + width) / 2, height - 8, words(diagram.across), "name", "middle"))
    parts.append(svg_text(6, 14, words(diagram.up), "name"))
    # The diagonal, on which confidence and accuracy are equal.
    parts.append(svg_line(x.at(0), y.at(0), x.at(1), y.at(1), "lead"))
    line = " ".join(f"{x.at(across):.1f},{y.at(up):.1f}" for across, up, _ in diagram.points)
    parts.append(f'<polyline points="{line}" class="curve s0"/>')
    # Without any row there would be nothing to scale by.
    most = max((rows for _, _, rows in diagram.points), default=1)
    for across, up, rows in diagram.points:
        # The area, not the radius, is in proportion to the rows.
        radius = max(2.5, _LARGEST * math.sqrt(rows / most))
        tip = f"{words.number(across, 3)}, {words.number(up, 3)} ({words.number(rows)})"
        parts.append(
            f'<circle cx="{x.at(across):.1f}" cy="{y.at(up):.1f}" r="{radius:.1f}" class="c0">'
            f"<title>{escape(tip)}</title></circle>"
        )
    return svg(width, height, parts, words(diagram.title))
