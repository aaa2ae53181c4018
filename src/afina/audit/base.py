"""Define what an audit is, and keep the registry: one file an audit, in `kinds/`.

An audit is a frozen dataclass of its settings, which a study's `audits:` may say: `{bias: {groups: [gender]}}`. It looks at
an adapter or at a study's finished runs, and gives findings (`results/findings/`), which a table, a page, a JSON file and the
gate of a pipeline show alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from afina.predictor.loading import Loading
from afina.registry import Registry
from afina.results.findings.audited import Audited
from afina.settings import checked_settings
from afina.tasks.base import Task

__all__ = ["AUDITS", "Audit", "Tell", "audit", "make_audit"]

Tell = Callable[[str], None]
"""Called with one line of progress."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Looks at what was trained, in one way."""

    name: ClassVar[str] = ""
    checks: ClassVar[tuple[str, ...]] = ()
    """Names of its tests, for `--fail-above CHECK=NUMBER`."""

    @classmethod
    def looks_at(cls, task: Task) -> bool:
        """Return whether it has anything to look at in what was trained for a task."""
        raise NotImplementedError

    def look(self, target: Path, loading: Loading, tell: Tell) -> Audited:
        """Look at an adapter's or a study's folder; raises `UsageError` where it cannot, in one sentence."""
        raise NotImplementedError


AUDITS: Registry[type[Audit]] = Registry("audit", "afina.audit.kinds")
"""All audits by name."""
audit = AUDITS.register


def make_audit(name: str, settings: Mapping[str, Any] | None = None) -> Audit:
    """Make an audit of what a person wrote; raises `UsageError` for an unknown name or setting, with the nearest."""
    cls = AUDITS.named(name)
    return cls(**checked_settings(cls, name, settings or {}))
