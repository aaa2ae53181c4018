"""Write the changes of weights of any method that has an equal layer as a LoRA, in a folder of PEFT's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from afina.card.form import PEFT_WAYS
from afina.errors import UsageError
from afina.export.target import ExportTarget, export_target

if TYPE_CHECKING:
    from afina.predictor.predictor import Predictor

__all__ = ["LoRATarget"]


@export_target("lora")
@dataclass(frozen=True, kw_only=True)
class LoRATarget(ExportTarget):
    """Writes a LoRA of at most a rank, by truncated SVD."""

    needs: ClassVar = {"peft": "'afina[peft]'"}
    library = "peft"
    ways = PEFT_WAYS
    lossy = True
    consumes = True

    rank: int = field(default=32, metadata={"help": "the highest rank."})

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UsageError(f"--rank should be at least 1, not {self.rank}.")

    def write(self, adapter: "Predictor", folder: Path) -> Mapping[str, float]:
        from afina.export.low_rank import as_lora

        return as_lora(adapter, folder, self.rank)

    def outside(self, tested: "Predictor", folder: Path) -> tuple[Any, Any]:
        from afina.export.parity import load_peft

        return load_peft(tested, folder)
