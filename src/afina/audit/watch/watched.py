"""Hold what watching found: each window, and of each channel one finding over all of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from afina.audit.watch.looking import Unlike
from afina.drift.channel import CHANNELS, Measured
from afina.drift.estimate import Shifts
from afina.drift.timeline import ChannelCheck, JudgedWindow, Watching
from afina.measure.bootstrap import Estimate
from afina.results.findings.audited import Audited, Cells
from afina.results.findings.finding import Evidence, Finding, Subject
from afina.results.findings.sentence import Figure, Filled, Sentence
from afina.words.language import Words

__all__ = ["WatchAudit", "findings_of", "shown_value", "window_rows"]


@dataclass(frozen=True, kw_only=True)
class WatchAudit(Audited):
    """Holds what was found in rows that came after release."""

    title = Sentence("What has changed since release")
    claims_not = (
        Sentence(
            "What leaves words, vectors, languages and answers as they were raises no alarm, and rows too few to test "
            "raise none either: no alarm does not mean that nothing has changed."
        ),
        Sentence(
            "An estimated share of right answers holds while the adapter errs as it did on the rows that it was tested "
            "on; what is new to it may be answered surely and wrongly."
        ),
    )

    checks = tuple(CHANNELS)

    windows: Sequence[JudgedWindow] = ()
    watching: Watching = field(default_factory=Watching)
    shifts: Shifts | None = None
    """Errors of the estimated share of right answers on rows that were held out, None where none is estimated."""
    unlike: Sequence[Unlike] = ()
    """Rows most unlike those before, of the last window with an alarm, else of the last."""

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | {
            "false_alarms": {"rate": self.watching.false_alarms, "over": self.watching.over, "level": self.watching.level},
            "season": self.watching.season, "estimate_errors": None if self.shifts is None else asdict(self.shifts),
            "windows": [_window(each) for each in self.windows], "unlike": [asdict(each) for each in self.unlike],
        }  # fmt: skip


def _window(judged: JudgedWindow) -> dict[str, Any]:
    values = {name: value for name, value in vars(judged).items() if name not in ("checks", "start", "estimated")}
    checks = {
        each.channel: asdict(each.measured) | {"p_corrected": each.p_corrected, "alarm": each.alarm}
        for each in judged.checks
    }
    return {
        **values, "start": None if judged.start is None else judged.start.isoformat(),
        "estimated": None if judged.estimated is None else asdict(judged.estimated), "channels": checks,
        "alarm": bool(judged.alarms),
    }  # fmt: skip


def window_rows(windows: Sequence[JudgedWindow], words: Words) -> Cells:
    """Return a row for each window, the last first."""
    head = ("window", "rows", "labelled", "right answers", "estimated", "alarms")
    cells: Cells = [tuple(map(words, head))]
    for each in reversed(windows):
        right = next((check.measured for check in each.checks if check.channel == "right"), None)
        alarms = ", ".join(words(CHANNELS[check.channel].title) for check in each.alarms)
        cells.append((
            each.name, words.number(each.rows), words.number(each.known),
            _percent(None if right is None else right.value, words),
            _percent(None if each.estimated is None else each.estimated.value, words),
            words("too few rows") if each.few else words("learned from") if each.learned else alarms or "–",
        ))  # fmt: skip
    return cells


def _percent(share: float | None, words: Words) -> str:
    return "–" if share is None else f"{words.number(100 * share, 1)}%"


def findings_of(
    subject: Subject, windows: Sequence[JudgedWindow], how: Watching, unlike: Sequence[Unlike]
) -> list[Finding]:
    """Return a finding for each channel that was measured in any window."""
    tested = [window for window in windows if window.checks]
    findings = []
    for name in CHANNELS:
        each = [(window, check) for window in tested for check in window.checks if check.channel == name]
        if each:
            findings.append(_finding(subject, name, each, how, unlike))
    return findings


def _finding(
    subject: Subject,
    name: str,
    each: Sequence[tuple[JudgedWindow, ChannelCheck]],
    how: Watching,
    unlike: Sequence[Unlike],
) -> Finding:
    channel = CHANNELS[name]
    alarms = [(window, check) for window, check in each if check.alarm]
    # The furthest, by chance and not by size: a small window is easily far off.
    window, check = min(each, key=lambda pair: pair[1].measured.p)
    values: dict[str, Filled] = {
        "what": Sentence(channel.title), "value": shown_value(name, check.measured.value), "window": window.name,
        "base": shown_value(name, check.measured.base), "windows": len(each),
    }  # fmt: skip
    if check.measured.about:
        values["what"] = Sentence("{what} ({about})", {"what": Sentence(channel.title), "about": check.measured.about})
    verdict = Sentence(
        "{what}: no more than chance explains in any of {windows} windows; furthest in {window}, {value}, {base} before.",
        values,
    )
    if alarms:
        verdict = Sentence(
            "{what}: an alarm in {alarms} of {windows} windows, the first {first}; furthest in {window}, {value}, {base} "
            "before.",
            {**values, "alarms": len(alarms), "first": alarms[0][0].name},
        )
    # As a probability over all windows that the rate is promised for, beside that rate.
    over = min(1.0, check.p_corrected * how.over)
    return Finding(
        audit="watch", check=name, measured=Sentence("change of: {what}", {"what": Sentence(channel.title)}),
on=Sentence("{windows} windows", {"windows": len(each)}),
        subject=subject, rows=sum(own.looked_at for own, _ in each), value=_change(check.measured), found=bool(alarms),
        verdict=verdict, p_value=check.measured.p, p_corrected=over,
        evidence=[_evidence(each) for each in unlike] if alarms and channel.part == "inputs" else (),
    )  # fmt: skip


def _change(measured: Measured) -> Estimate:
    """Return how far the value is from that before, whichever way, with its interval."""
    off, ends = measured.value - measured.base, (measured.low - measured.base, measured.high - measured.base)
    low, high = ends if off >= 0 else (-ends[1], -ends[0])
    return Estimate(abs(off), low, high)


def _evidence(unlike: Unlike) -> Evidence:
    remark = Sentence(
        "{place}; {times} times as far from the rows before as they are from each other",
        {"place": unlike.place, "times": Figure(unlike.distance, 1)},
    )
    return Evidence(text=unlike.text, remark=remark)


def shown_value(name: str, value: float) -> Sentence | Figure:
    """Return a channel's value as people read it: a share in percent."""
    channel = CHANNELS[name]
    if channel.share:
        return Sentence("{share}%", {"share": Figure(100 * value, 1)})
    return Figure(value, channel.digits)
