"""Write what was watched as Prometheus reads it from a file (node_exporter's textfile collector): the newest window."""

from collections.abc import Iterator
from datetime import UTC

from afina.audit.watch.watched import WatchAudit

__all__ = ["as_prometheus"]


def as_prometheus(audit: WatchAudit) -> str:
    """Return gauges of the newest window: values, values before, p-values and alarms by channel, and counts."""
    return "".join(_lines(audit))


def _lines(audit: WatchAudit) -> Iterator[str]:
    adapter = audit.findings[0].subject.name if audit.findings else audit.target
    named = {"adapter": adapter}
    yield from _gauge("windows", "Windows that were looked at", [(named, len(audit.windows))])
    alarmed = sum(bool(each.alarms) for each in audit.windows)
    yield from _gauge("windows_with_alarm", "Windows in which something had changed", [(named, alarmed)])
    if not audit.windows:
        return
    last = audit.windows[-1]
    yield from _gauge("rows", "Rows of the newest window", [(named, last.rows)])
    yield from _gauge("labelled_rows", "Rows of it whose right answer is known", [(named, last.known)])
    yield from _gauge("alarm", "1 where the newest window has an alarm", [(named, int(bool(last.alarms)))])
    if last.start is not None:
        # Windows are of UTC, wherever the machine is.
        began = last.start.replace(tzinfo=UTC).timestamp()
        yield from _gauge("window_start_seconds", "When the newest window began", [(named, began)])
    each = [({**named, "channel": check.channel}, check) for check in last.checks]
    yield from _gauge("value", "The channel's value in it", [(own, check.measured.value) for own, check in each])
    yield from _gauge("value_before", "The same before", [(own, check.measured.base) for own, check in each])
    yield from _gauge(
        "p_corrected", "p-value, corrected for channels", [(own, check.p_corrected) for own, check in each]
    )
    yield from _gauge("channel_alarm", "1 where the channel has an alarm", [(own, int(c.alarm)) for own, c in each])
    if last.estimated is not None:
        yield from _gauge("estimated_right", "Estimated share of right answers", [(named, last.estimated.value)])


def _gauge(name: str, what: str, values: list[tuple[dict[str, str], float]]) -> Iterator[str]:
    if not values:
        return
    yield f"# HELP afina_watch_{name} {what}\n# TYPE afina_watch_{name} gauge\n"
    for labels, value in values:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"afina_watch_{name}{{{inside}}} {float(value)!r}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
