"""Write a folder that mlx-lm loads on Apple's machines (and on Linux by its processor): the merged model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from afina.export.target import export_target
from afina.export.targets.merged import MergedTarget

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from afina.predictor.load import Told
    from afina.predictor.predictor import Predictor

__all__ = ["MlxTarget"]


@export_target("mlx")
@dataclass(frozen=True, kw_only=True)
class MlxTarget(MergedTarget):
    """Writes a merged model, in float32, which mlx-lm has opened and computed the same from."""

    needs: ClassVar = {"mlx_lm": "'afina[mlx]'"}
    library = "mlx"
    ways: ClassVar = {"mlx-lm": "pip install mlx-lm\nmlx_lm.generate --model . --prompt $asked"}

    onto: str = field(
        default="dequantised", metadata={"help": "of a quantised base its dequantised weights, or the original."}
    )

    def foresee(self, adapter: "Told") -> None:
        from afina.export.mlx import foresee_mlx

        foresee_mlx(adapter)

    def cost(self, tested: "Predictor", folder: Path, batch: "Mapping[str, np.ndarray]") -> None:
        return None  # on Apple's machines it is another figure than by Linux's processor

    def outside(self, tested: "Predictor", folder: Path) -> tuple[Any, Any]:
        from afina.export.mlx import load_mlx

        return load_mlx(folder), tested.tokenizer
