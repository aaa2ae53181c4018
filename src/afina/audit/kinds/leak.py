"""Look for what adapters that write give away of their training rows (`afina audit leak`)."""

from dataclasses import dataclass
from pathlib import Path

from afina.audit.kept_answers import KeptAnswers
from afina.audit.leak import LeakSettings
from afina.audit.run import LeakAudit, audit_leak
from afina.audit.targets import Looking
from afina.predictor.loading import Loading
from afina.study.audits import Audit, Tell, audit
from afina.tasks.base import Task

__all__ = ["LeakCheck"]


@audit("leak")
@dataclass(frozen=True, kw_only=True)
class LeakCheck(LeakSettings, Audit):
    """Measures membership and recitation on a study's own rows; canaries need their manifest, and the command."""

    only = "the audit leak has nothing to look at here: only what writes can give away what it learned from"

    @classmethod
    def looks_at(cls, task: Task) -> bool:
        return task.writes

    @property
    def answers(self) -> int:
        return 4 * self.rows  # of train and held-out rows each is read, and gone on with

    def look(self, target: Path, loading: Loading, tell: Tell, store: Path | None = None) -> LeakAudit:
        return audit_leak(target, settings=self, how=Looking(loading, tell, KeptAnswers(store)))
