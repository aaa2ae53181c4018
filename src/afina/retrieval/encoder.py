"""Make vectors of texts: by an encoder as it is, or with an adapter on it."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from afina.errors import AfinaError, UsageError
from afina.retrieval.settings import IndexSettings

__all__ = ["Encoder", "base_of", "resolved_precision", "tokenizer_of", "weights_digest"]

_SAMPLE = 1 << 16
"""Bytes of each of a weight file's places that are looked at."""
_PLACES = 64


class Encoder:
    """An encoder that is loaded, with an adapter or bare."""

    def __init__(self, settings: IndexSettings, device: str = "auto") -> None:
        """Load it; raises `UsageError` where it is not there, or reads no texts."""
        from afina.backbone.load import load_backbone
        from afina.backbone.model_files import device_named

        self.pooling, self.adapter = settings.pooling, None
        place, precision = device_named(device), settings.precision
        if settings.adapter is None:
            self.backbone = load_backbone(settings.model, precision=precision, device=place)
            self.tokenizer, self.longest = self.backbone.tokenizer, self.backbone.context
        else:
            from afina.predictor.load import load

            loaded = load(settings.adapter, model=settings.model, precision=precision, device=place)
            self.backbone, self.adapter, self.tokenizer = loaded.backbone, loaded.adapter, loaded.tokenizer
            self.longest = self.backbone.context
        if self.tokenizer is None:
            raise UsageError(f"{settings.model} reads no texts; take an encoder of texts, such as minilm.")
        # Beyond it a text costs memory by its square, and chunks are shorter by far.
        self.longest = min(self.longest, 4096)

    @property
    def width(self) -> int:
        """Return how many numbers a vector has."""
        return int(self.backbone.anatomy.width)

    def vectors(
        self, texts: Sequence[str], *, batch_size: int = 32, tick: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Return a vector for each text, (N, D) float32, computed with others of like length."""
        from afina.data.rows import Rows
        from afina.data.tokens.tokenize import tokenize
        from afina.train.embed import embed

        if not texts:
            return np.zeros((0, self.width), np.float32)
        # A tokenizer that adds no marks makes nothing of a blank text.
        rows = Rows([text if text.strip() else "?" for text in texts], None, np.zeros(len(texts), dtype=np.int64))
        tokens = tokenize(self.tokenizer, rows, self.longest)
        made = embed(self.backbone, tokens, self.pooling, batch_size=batch_size, tick=tick, adapter=self.adapter)
        # Narrow numbers overflow in some models; a ranking by such vectors would be none.
        if not np.isfinite(made).all():
            raise AfinaError(f"{self.backbone.name} makes vectors that are no numbers; set precision: fp32.")
        return made


def base_of(settings: IndexSettings) -> str:
    """Return the model whose tokenizer counts, which an adapter names unless a person gave another."""
    if settings.adapter is None or settings.model != IndexSettings().model:
        return settings.model
    from afina.predictor.load import told_by

    return told_by(Path(settings.adapter)).record.model


@cache
def tokenizer_of(model: str) -> tuple[Any, int]:
    """Return a model's tokenizer, to count with, and the most tokens that it reads; read once in a process."""
    from afina.backbone.load import load_tokenizer

    return load_tokenizer(model)


def resolved_precision(precision: str, model: str, device: str = "auto") -> str:
    """Return what `auto` is here: what the model's weights are stored in, else the narrower that the hardware computes in."""
    from afina.backbone.load import stored_at
    from afina.backbone.model_files import device_named
    from afina.backbone.storage.base import worth_trying
    from afina.precision import EXACT

    # What was said is what the index is made in, here and on every other machine.
    if precision != "auto":
        return precision
    stored = stored_at(model)
    return stored or next((kind.name for kind in worth_trying(device_named(device))), EXACT)


def weights_digest(settings: IndexSettings) -> str:
    """Return what tells this encoder's weights from others': a digest of samples of its files, and of the adapter's.

    Samples, since a query should not wait for gigabytes: the first and last bytes of each file and of many places between.
    """
    from afina.backbone.model_files import model_path

    digest = hashlib.blake2b(digest_size=16)
    folders: list[Any] = [Path(model_path(settings.model))]
    if settings.adapter is not None:
        folders.append(Path(settings.adapter))
    for folder in folders:
        for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
            size = path.stat().st_size
            digest.update(f"{path.name}\0{size}\0".encode())
            with path.open("rb") as file:
                # At even places through the file: a change of some weights is met by one of them.
                for place in sorted({*np.linspace(0, max(0, size - _SAMPLE), _PLACES).astype(int).tolist()}):
                    file.seek(place)
                    digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
