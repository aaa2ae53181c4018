"""Hold one base model in each of the forms that its adapters want, its weights in memory once.

What writes wants the model's language head, what tags words and what labels texts want other classes of it: they are loaded
when the first adapter asks, and take the tensors that are there already.
"""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import nn

from afina.adapters.format import Base
from afina.backbone.load import Backbone, load_backbone
from afina.backbone.model_files import BUILT_IN, model_path
from afina.predictor.load import Standing

__all__ = ["Bases"]


@dataclass
class Bases:
    """Loads a base model in the forms that are asked for, and keeps them."""

    model: str
    precision: str
    device: str = "cpu"
    trust_remote_code: bool = False
    same: tuple[str, ...] = ()
    """Other names under which adapters may know it."""
    _loaded: dict[Base, Backbone] = field(default_factory=dict)
    _lock: Any = field(default_factory=Lock)

    @property
    def name(self) -> str:
        """Return what requests call it: a folder's or file's own name, or that of the hub."""
        # A place may be written in several ways; a hub name is what it is.
        is_place = self.model.startswith((".", "/", "~")) or Path(self.model).exists()
        return Path(self.model).name.removesuffix(".gguf") if is_place else self.model

    def backbone(self, form: Base) -> Backbone:
        """Return the model in a form; raises `UsageError` where it cannot have it."""
        with self._lock:
            # Under the lock, so that two requests at one time do not load it twice.
            if form not in self._loaded:
                made = load_backbone(
                    self.model, precision=self.precision, device=self.device,
                    trust_remote_code=self.trust_remote_code, speaks=form.speaks, tags=form.tags,
                )  # fmt: skip
                # A form for tags and one for labels differ in their heads alone: equal weights are kept once.
                for other in self._loaded.values():
                    _share(made.model, other.model)
                self._loaded[form] = made
            return self._loaded[form]

    def standing(self, form: Base) -> Standing:
        """Return the same for adapters that are to stand on it."""
        return Standing(self.backbone(form), self.precision, f"the model {self.name}")

    def loaded(self) -> list[Backbone]:
        """Return the forms that are there."""
        with self._lock:
            return list(self._loaded.values())

    def is_called(self, name: str) -> bool:
        """Return whether an adapter's name for its base is one of this model's; a folder that moved is known by its name."""
        hub = BUILT_IN[self.model].hub if self.model in BUILT_IN else None
        if name in (self.model, hub, *self.same) or model_path(name, weights=False) == model_path(self.model):
            return True
        # Only where nothing stands at that path now: what is there is what is meant.
        moved = name.startswith((".", "/")) and not Path(name).exists()
        return moved and Path(name).name == Path(self.model).name

    def bytes(self) -> int:
        """Return what its weights take, each counted once."""
        # By address, as the forms of the model share their weights.
        each = {own.data_ptr(): own.nbytes for one in self.loaded() for own in one.model.parameters()}
        return sum(each.values())


def _share(model: nn.Module, other: nn.Module) -> None:
    """Give a model in place its equal's tensors wherever they are the same."""
    there = dict(other.named_parameters())
    for name, parameter in list(model.named_parameters()):
        like = there.get(name)
        if (
            type(parameter) is not nn.Parameter
            or like is None
            or like.shape != parameter.shape
            or like.dtype != parameter.dtype
        ):
            continue
        # Compared number by number: the same name does not make a weight the same.
        if torch.equal(like, parameter):
            home, _, last = name.rpartition(".")
            setattr(model.get_submodule(home), last, like)
