"""Hold the settings that all who load an adapter share: where its base model is, and how it is loaded."""

from dataclasses import dataclass
from pathlib import Path

from afina.backbone.model_files import device_named
from afina.predictor.load import load
from afina.predictor.predictor import Predictor

__all__ = ["Loading"]


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Says how a base model is loaded; raises `UsageError` for a device that is none or is not here."""

    model: str | None = None
    """The base model, where it is not where it was."""
    device: str = "auto"
    """`auto` is an NVIDIA GPU where there is one."""
    precision: str | None = None
    """That which the adapter was trained in, unless given."""
    trust_remote_code: bool = False
    offload: str | None = None
    """`disk` leaves the base's layers in its files."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", device_named(self.device))

    def load(self, adapter: str | Path, *, beside: Predictor | None = None) -> Predictor:
        """Load an adapter; `beside` another it shares that one's base."""
        return load(
            adapter, model=self.model, precision=self.precision, device=self.device,
            trust_remote_code=self.trust_remote_code, beside=beside, offload=self.offload,
        )  # fmt: skip
