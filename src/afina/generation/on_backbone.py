"""Write by a model of transformers that is loaded here, with adapters on it or bare."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from afina.generation.generate import write
from afina.generation.rows import Piece, Request, longest_prompt
from afina.generation.settings import GenerationSettings
from afina.generation.writes import Writes

__all__ = ["WritesOnBackbone"]


class WritesOnBackbone(Writes):
    """Says what follows from a backbone alone, of what a writer is asked."""

    backbone: Any

    @property
    def context(self) -> int:
        return int(self.backbone.context)

    @property
    def runs_on(self) -> str:
        return Path(self.backbone.name).name

    def longest_prompt(self, request: Request) -> int:
        return longest_prompt(self.backbone, request.adapter)

    def write(self, requests: Sequence[Request], settings: GenerationSettings) -> Iterator[Piece]:
        return write(self.backbone, requests, settings)
