"""Look for what adapters that write give away of their training rows (`afina audit leak`)."""

from dataclasses import dataclass
from pathlib import Path

from afina.audit.base import Audit, Tell, audit
from afina.audit.leak import LeakSettings
from afina.audit.run import LeakAudit, audit_leak
from afina.predictor.loading import Loading
from afina.tasks.base import Task

__all__ = ["LeakCheck"]


@audit("leak")
@dataclass(frozen=True, kw_only=True)
class LeakCheck(LeakSettings, Audit):
    """Measures membership and recitation on a study's own rows; canaries need their manifest, and the command."""

    checks = ("membership", "recitation", "canaries")

    @classmethod
    def looks_at(cls, task: Task) -> bool:
        return task.writes

    def look(self, target: Path, loading: Loading, tell: Tell) -> LeakAudit:
        return audit_leak(target, settings=self, loading=loading, tell=tell)
