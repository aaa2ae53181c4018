"""Write an adapter alone as a LoRA that llama.cpp puts onto the base model's GGUF file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from afina.export.runtime_target import RuntimeTarget
from afina.export.target import export_target
from afina.export.targets.lora import LoRATarget

if TYPE_CHECKING:
    from afina.data.rows import Rows
    from afina.export.parity import Parity
    from afina.predictor.load import Told
    from afina.predictor.predictor import Predictor

__all__ = ["GgufLoRATarget"]


@export_target("gguf-lora")
@dataclass(frozen=True, kw_only=True)
class GgufLoRATarget(LoRATarget, RuntimeTarget):
    """Writes `adapter.gguf`, a LoRA of at most a rank by truncated SVD, and a Modelfile for Ollama."""

    needs: ClassVar = {"gguf": "'afina[gguf]'"}
    library = "gguf"
    ways: ClassVar = {
        "llama.cpp": "llama-cli -m path/to/base.gguf --lora adapter.gguf -p $asked",
        "Ollama": "ollama create tuned -f Modelfile\nollama run tuned $asked",
    }

    runtime: ClassVar = "llama.cpp"
    made_with: ClassVar = ("torch", "transformers", "gguf")

    base_type: str = field(
        default="none", metadata={"help": "write the base model beside it in this type (f16, q8_0 and so on), or none."}
    )

    def __post_init__(self) -> None:
        from afina.export.gguf.types import check_type

        super().__post_init__()
        if self.base_type != "none":
            object.__setattr__(self, "base_type", check_type(self.base_type, "--base-type"))
            object.__setattr__(self, "has_base", True)

    def foresee(self, adapter: "Told") -> None:
        from afina.export.gguf.foreseen import foresee_lora

        foresee_lora(adapter)

    def check(self, tested: "Predictor") -> None:
        from afina.export.gguf.lora import check_lora

        check_lora(tested)

    def write(self, adapter: "Predictor", folder: Path) -> Mapping[str, float]:
        from afina.export.gguf.lora import write_lora

        return write_lora(adapter, folder, self.rank, self._base)

    def compare(
        self, tested: "Predictor", exact: "Predictor", folder: Path, rows: "Rows | None"
    ) -> "tuple[Parity, float | None]":
        from afina.export.gguf.lora import compare_lora
        from afina.export.manifest import write_manifest

        parity, effect, later = compare_lora(tested, exact, folder, rows, self._base)
        if later is not None:
            write_manifest(folder, self.manifest(tested, later))
        return parity, effect

    def rounded_to(self, precision: str) -> str | None:
        return None  # a LoRA goes onto the original weights

    @property
    def _base(self) -> str | None:
        return None if self.base_type == "none" else self.base_type
