"""Look for what adapters that give classes do to one group and not to another (`afina audit bias`)."""

from dataclasses import dataclass
from pathlib import Path

from afina.audit.bias.perturb import CHANGES
from afina.audit.bias.questions import BiasSettings
from afina.audit.bias.run import BiasAudit, audit_bias, gives_classes
from afina.audit.kept_answers import KeptAnswers
from afina.measure.gaps import RATES
from afina.predictor.loading import Loading
from afina.study.audits import Audit, Tell, audit
from afina.tasks.base import Task

__all__ = ["BiasCheck"]


@audit("bias")
@dataclass(frozen=True, kw_only=True)
class BiasCheck(BiasSettings, Audit):
    """Compares groups on a study's test rows, and answers to the same texts said by others or typed otherwise."""

    checks = (*RATES, "swaps", "swap_direction", *CHANGES)
    only = "the audit bias has nothing to look at here: bias is looked for in answers that are classes"

    @classmethod
    def looks_at(cls, task: Task) -> bool:
        return gives_classes(task)

    def look(self, target: Path, loading: Loading, tell: Tell, store: Path | None = None) -> BiasAudit:
        return audit_bias(target, self, loading=loading, tell=tell, store=KeptAnswers(store))
