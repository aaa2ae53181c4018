"""Write a folder that `PeftModel.from_pretrained` loads."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from afina.export.target import ExportTarget, export_target

if TYPE_CHECKING:
    from afina.predictor.predictor import Predictor

__all__ = ["PeftTarget"]


@export_target("peft")
@dataclass(frozen=True, kw_only=True)
class PeftTarget(ExportTarget):
    """Writes a PEFT folder, of methods that PEFT has."""

    needs: ClassVar = {"peft": "'afina[peft]'"}

    def write(self, adapter: "Predictor", folder: Path) -> None:
        from afina.export.peft import write_peft

        write_peft(adapter, folder)

    def outside(self, tested: "Predictor", folder: Path) -> tuple[Any, Any]:
        from afina.export.parity import load_peft

        return load_peft(tested, folder)
