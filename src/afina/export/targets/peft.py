"""Write a folder that `PeftModel.from_pretrained` loads."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from afina.card.form import PEFT_WAYS
from afina.export.target import ExportTarget, export_target

if TYPE_CHECKING:
    from afina.export.parity import Parity
    from afina.predictor.predictor import Predictor

__all__ = ["PeftTarget"]


@export_target("peft")
@dataclass(frozen=True, kw_only=True)
class PeftTarget(ExportTarget):
    """Writes a PEFT folder, of methods that PEFT has."""

    needs: ClassVar = {"peft": "'afina[peft]'"}
    library = "peft"
    ways = PEFT_WAYS

    def write(self, adapter: "Predictor", folder: Path) -> None:
        from afina.export.peft import write_peft

        write_peft(adapter, folder)

    def outside(self, tested: "Predictor", folder: Path) -> tuple[Any, Any]:
        from afina.export.parity import load_peft

        return load_peft(tested, folder)

    def remark(self, tested: "Predictor", exact: "Predictor", parity: "Parity") -> str | None:
        from afina.words.language import Words

        form = tested.method.peft
        note = None if form is None else form.reading_note(tested.backbone)
        return None if note is None else Words().sentence(note)
