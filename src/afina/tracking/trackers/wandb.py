"""Weights & Biases' runs, of which the study is the group; WANDB_PROJECT and the program's other variables hold."""

import hashlib
import os
from typing import Any

from afina.errors import UsageError
from afina.tracking.run_objects import ByRunObjects
from afina.tracking.tracker import Settings, tracker

__all__ = ["WeightsAndBiases"]

_PROJECT = "afina"


@tracker("wandb")
class WeightsAndBiases(ByRunObjects):
    """Sends runs to Weights & Biases, or keeps them where WANDB_DIR says with WANDB_MODE=offline."""

    package, extra = "wandb", "wandb"

    @classmethod
    def check(cls) -> None:
        super().check()
        import wandb

        # It would ask for a key at the terminal, in the middle of the study's own lines.
        if os.environ.get("WANDB_MODE") not in ("offline", "disabled") and wandb.api.api_key is None:
            raise UsageError(
                "report_to: wandb knows no key of yours; run `wandb login` first, or set WANDB_MODE=offline."
            )

    def start(self, run: str, settings: Settings) -> Any:
        import wandb

        # Its files lie in its own place: it makes links, which are not followed in a study's folder.
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT), group=self.study, name=run, config=dict(settings),
            # One id in all starts, so that a run that goes on is the one that began.
            id=hashlib.sha256(f"{self.folder.resolve()}/{run}".encode()).hexdigest()[:16], resume="allow",
            reinit="create_new", settings=wandb.Settings(console="off", silent=True),
        )  # fmt: skip

    def end(self, of_program: Any, *, failed: bool) -> None:
        of_program.finish(exit_code=1 if failed else 0)
