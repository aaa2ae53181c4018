"""Look for what adapters do to one group and not to another, and for what they lean to (`afina audit bias`)."""

from dataclasses import dataclass
from pathlib import Path

from afina.audit.bias.perturb import CHANGES
from afina.audit.bias.questions import BiasSettings
from afina.audit.bias.run import BiasAudit, audit_bias, looks_for_bias
from afina.audit.kept_answers import KeptAnswers
from afina.data.groups.word_swaps import SWAP_AXES
from afina.predictor.loading import Loading
from afina.study.audits import Audit, Tell, audit
from afina.tasks.base import Task

__all__ = ["BiasCheck"]


@audit("bias")
@dataclass(frozen=True, kw_only=True)
class BiasCheck(BiasSettings, Audit):
    """Compares groups on a study's test rows, the same texts said by others or typed otherwise, and sets of sentences."""

    only = "the audit bias has nothing to look at here: bias is looked for in what gives classes or writes"

    @classmethod
    def looks_at(cls, task: Task) -> bool:
        return looks_for_bias(task)

    @property
    def answers(self) -> int:
        # Each row framed for every group and once more, with its words and with others', and typed otherwise.
        again = sum(len(axis.groups) + 1 + 2 * (axis.name in SWAP_AXES) for axis in self.axes()) + len(CHANGES)
        return self.rows + again * self.swap_rows

    @property
    def grouped_by(self) -> tuple[tuple[str, ...], str | None]:
        return self.columns, self.words

    def look(self, target: Path, loading: Loading, tell: Tell, store: Path | None = None) -> BiasAudit:
        return audit_bias(target, self, loading=loading, tell=tell, store=KeptAnswers(store))
