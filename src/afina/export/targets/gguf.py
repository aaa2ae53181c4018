"""Write one file for llama.cpp, Ollama and what is built on them: the merged model, its tokenizer and template."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from afina.export.runtime_target import RuntimeTarget
from afina.export.target import export_target
from afina.export.targets.merged import MergedTarget

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from afina.data.rows import Rows
    from afina.export.costs import Cost
    from afina.export.parity import Parity
    from afina.predictor.load import Told
    from afina.predictor.predictor import Predictor

__all__ = ["GgufTarget"]


@export_target("gguf")
@dataclass(frozen=True, kw_only=True)
class GgufTarget(MergedTarget, RuntimeTarget):
    """Writes `model.gguf`, and a Modelfile for Ollama."""

    needs: ClassVar = {"gguf": "'afina[gguf]'"}
    library = "gguf"
    ways: ClassVar = {
        "llama.cpp": "llama-cli -m model.gguf -p $asked",
        "Ollama": "ollama create tuned -f Modelfile\nollama run tuned $asked",
    }
    runtime: ClassVar = "llama.cpp"
    made_with: ClassVar = ("torch", "transformers", "gguf")
    lossy = True  # how near it has to be is judged by `compare`, by the type of the weights

    type: str = field(
        default="f16", metadata={"help": "the type of the weights: f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0 or f32."}
    )

    def __post_init__(self) -> None:
        from afina.export.gguf.types import check_type

        super().__post_init__()
        object.__setattr__(self, "type", check_type(self.type))

    def foresee(self, adapter: "Told") -> None:
        from afina.export.gguf.foreseen import foresee_model

        foresee_model(adapter)

    def check(self, tested: "Predictor") -> None:
        from afina.export.gguf.model import check_model

        check_model(tested)

    def write(self, adapter: "Predictor", folder: Path) -> None:
        from afina.export.gguf.model import write_model

        write_model(adapter, folder, self.type)

    def compare(
        self, tested: "Predictor", exact: "Predictor", folder: Path, rows: "Rows | None"
    ) -> "tuple[Parity, float | None]":
        from afina.export.gguf.llama_cpp import llama_cpp_there
        from afina.export.gguf.model import compare_model, facts_for_later
        from afina.export.manifest import write_manifest

        parity, effect = compare_model(tested, exact, folder, rows, self.type)
        if llama_cpp_there():  # without it nothing was asked that could be asked again
            later = facts_for_later(exact, folder, self.type, parity)
            write_manifest(folder, self.manifest(tested, later))
        return parity, effect

    def cost(self, tested: "Predictor", folder: Path, batch: "Mapping[str, np.ndarray]") -> "Cost | None":
        import torch

        from afina.export.costs import cost_in, weights_in
        from afina.export.gguf.llama_cpp import llama_cpp_there
        from afina.export.gguf.model import MODEL

        if not llama_cpp_there():
            return None
        given = (str(folder / MODEL), str(torch.get_num_threads()))
        return cost_in("llama_cpp", given, batch, weights_in(folder / MODEL))

    def remark(self, tested: "Predictor", exact: "Predictor", parity: "Parity") -> str | None:
        from afina.backbone.quantise import packed

        if packed(tested.record.precision) is None:
            return None
        onto = "its original weights" if exact.backbone.rounding is None else "the weights that they stand for"
        return (
            f"The base was quantised to {tested.record.precision}; the adapter was merged into {onto}, and that rounded to "
            f"{self.type}. From the adapter as it was tested its logits differ by up to {parity.difference:.2g}."
        )
