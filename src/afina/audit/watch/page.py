"""Draw the time line of what was watched: a small chart a channel, each window with its interval, alarms marked."""

from collections.abc import Sequence
from html import escape

from afina.audit.watch.watched import WatchAudit, shown_value, window_rows
from afina.drift.channel import CHANNELS, Measured
from afina.drift.timeline import JudgedWindow
from afina.results.findings.page import html_table
from afina.results.findings.sentence import Figure, Sentence
from afina.words.language import Words

__all__ = ["time_line"]

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 1000, 150, 70, 12, 10, 24
"""Sizes of a chart, in its own units; the page makes it as wide as it is."""
_LABELS = 6
"""Windows that are named under a chart."""
_ROOMY = 60
"""Width of a window beside whose point a word can be read."""
_STYLE = """<style>
.line{width:100%;height:auto;display:block;margin:2px 0 14px}.line text{font:12px system-ui,sans-serif;fill:var(--soft)}
.line .axis{stroke:var(--line)}.line .base{stroke:var(--soft);stroke-dasharray:5 4}.line .bar{stroke:var(--soft);opacity:.55}
.line .dot{fill:var(--ink)}.line .path{fill:none;stroke:var(--soft)}.line .alarm{fill:var(--warn);stroke:var(--warn)}
@media(max-width:640px){.line{min-width:620px}}
.line .ring{fill:none;stroke:var(--warn);stroke-width:1.6}.line .guess{fill:none;stroke:var(--ink);stroke-width:1.4}
</style>"""


def time_line(audit: WatchAudit, words: Words) -> str:
    """Return the charts of an audit as HTML; nothing where no window was tested."""
    charts = [_chart(name, audit.windows, words) for name in CHANNELS]
    estimated = _estimated(audit, words)
    if not any(charts) and not estimated:
        return ""
    rate = words(
        "Alarms: of {over} windows without any change, the probability of one false alarm or more is at most {rate}%.",
        over=words.number(audit.watching.over), rate=words.number(100 * audit.watching.false_alarms, 1),
    )  # fmt: skip
    how = words(
        "Each point is a window with its 95% interval; the dashed line is the value before, a ring an alarm, a gap a window "
        "that was not tested."
    )
    head = f"<h2>{escape(words('Time line'))}</h2><p>{escape(rate)}</p><p class=soft>{escape(how)}</p>"
    table = f"<h2>{escape(words('Windows'))}</h2>{html_table(window_rows(audit.windows, words), kind='words')}"
    return f"{_STYLE}{head}{''.join(charts)}{estimated}{table}"


def _chart(name: str, windows: Sequence[JudgedWindow], words: Words) -> str:
    points = [next((check for check in each.checks if check.channel == name), None) for each in windows]
    there = [check.measured for check in points if check is not None]
    if not there:
        return ""
    low = min(min(own.low, own.value, own.base) for own in there)
    high = max(max(own.high, own.value, own.base) for own in there)
    place = _Places(len(windows), low, high)
    parts = [place.frame(words, name, [each.name for each in windows])]
    parts += [_base(place, number, check.measured) for number, check in enumerate(points) if check is not None]
    for number, check in enumerate(points):
        if check is not None:
            here, x = check.measured, place.x(number)
            y = place.y(here.value)
            kind = "alarm" if check.alarm else "dot"
            ring = f"<circle class=ring cx={x:.1f} cy={y:.1f} r=8 />" if check.alarm else ""
            title = f"{windows[number].name}: {shown_value(name, here.value).told(words)}"
            title += f" ({here.about})" if here.about else ""
            parts.append(
                f"<line class=bar x1={x:.1f} x2={x:.1f} y1={place.y(here.low):.1f} y2={place.y(here.high):.1f} />{ring}"
                f"<circle class={kind} cx={x:.1f} cy={y:.1f} r=3><title>{escape(title)}</title></circle>"
            )
            # Another label or language may be the value's in each window: points of several are no line.
            if here.about and place.step >= _ROOMY:
                parts.append(f"<text x={x + 11:.1f} y={y + 4:.1f}>{escape(here.about)}</text>")
    title = f"<h3>{escape(words(CHANNELS[name].title))}</h3>"
    return f"{title}{_drawn(parts)}"


def _drawn(parts: Sequence[str]) -> str:
    """Return a chart, which a phone moves sideways: made as narrow as that, nobody could read it."""
    return f'<div class=wide><svg class=line viewBox="0 0 {_WIDTH} {_HEIGHT}" role=img>{"".join(parts)}</svg></div>'


def _base(place: "_Places", number: int, measured: Measured) -> str:
    """Return the piece of the dashed line at one window: where seasons are compared, what was before is each one's own."""
    half = place.step / 2
    x, y = place.x(number), place.y(measured.base)
    return f"<line class=base x1={x - half:.1f} x2={x + half:.1f} y1={y:.1f} y2={y:.1f} />"


def _estimated(audit: WatchAudit, words: Words) -> str:
    """Return the chart of the estimated share of right answers, beside the true one where it is known."""
    guesses = [(number, each.estimated) for number, each in enumerate(audit.windows) if each.estimated is not None]
    if not guesses or audit.shifts is None:
        return ""
    known = [
        (number, check.measured.value) for number, each in enumerate(audit.windows) for check in each.checks
        if check.channel == "right"
    ]  # fmt: skip
    low = min([own.low for _, own in guesses] + [value for _, value in known])
    high = max([own.high for _, own in guesses] + [value for _, value in known])
    place = _Places(len(audit.windows), low, high)
    parts = [place.frame(words, "confidence", [each.name for each in audit.windows])]
    for number, guess in guesses:
        x = place.x(number)
        parts.append(
            f"<line class=bar x1={x:.1f} x2={x:.1f} y1={place.y(guess.low):.1f} y2={place.y(guess.high):.1f} />"
            f"<circle class=guess cx={x:.1f} cy={place.y(guess.value):.1f} r=4 />"
        )
    parts += [f"<circle class=dot cx={place.x(at):.1f} cy={place.y(value):.1f} r=3 />" for at, value in known]
    errors = Sentence(
        "Estimated by confidence, without labels (rings); true where labels came (points). On {samples} samples of test rows "
        "made unlike the rest it was {error} percentage points off on average, and nine of ten less than {most}; to take the "
        "share to be unchanged was {unchanged} off.",
        {
            "samples": audit.shifts.samples, "error": Figure(100 * audit.shifts.mean_error, 1),
            "most": Figure(100 * audit.shifts.largest_usual, 1), "unchanged": Figure(100 * audit.shifts.unchanged_error, 1),
        },
    )  # fmt: skip
    return f"<h3>{escape(words('estimated right answers'))}</h3><p class=soft>{escape(errors.told(words))}</p>{_drawn(parts)}"


class _Places:
    """Turns windows and values into places of a chart."""

    def __init__(self, windows: int, low: float, high: float) -> None:
        # A line that is flat has a little room above and below it all the same.
        room = 0.06 * (high - low) or 0.05 * abs(high) or 0.01
        self.low, self.high, self.windows = low - room, high + room, windows

    @property
    def step(self) -> float:
        return (_WIDTH - _LEFT - _RIGHT) / max(1, self.windows)

    def x(self, window: int) -> float:
        return _LEFT + (window + 0.5) * self.step

    def y(self, value: float) -> float:
        return _TOP + (self.high - value) / (self.high - self.low) * (_HEIGHT - _TOP - _BOTTOM)

    def frame(self, words: Words, channel: str, names: Sequence[str]) -> str:
        """Return the axes: two values on the left, some windows' names below."""
        bottom = _HEIGHT - _BOTTOM
        parts = [f"<line class=axis x1={_LEFT} x2={_WIDTH - _RIGHT} y1={bottom} y2={bottom} />"]
        for value in (self.low + 0.1 * (self.high - self.low), self.high - 0.1 * (self.high - self.low)):
            label = shown_value(channel, value).told(words)
            parts.append(f"<text x={_LEFT - 8} y={self.y(value) + 4:.1f} text-anchor=end>{escape(label)}</text>")
        for number in sorted({round(each * (len(names) - 1) / (_LABELS - 1)) for each in range(_LABELS)}):
            # The first and the last name begin and end with the chart, or half of them would be cut off.
            at = "start" if number == 0 and len(names) > 2 else "end" if number == len(names) - 1 > 1 else "middle"
            at = "middle" if self.step >= 2 * _ROOMY else at  # where windows are few, each name stands below its point
            x = {"start": _LEFT, "end": _WIDTH - _RIGHT}.get(at, self.x(number))
            parts.append(f"<text x={x:.1f} y={_HEIGHT - 6} text-anchor={at}>{escape(names[number])}</text>")
        return "".join(parts)
