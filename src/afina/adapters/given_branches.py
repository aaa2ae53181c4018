"""Take branches that another program trained in the place of a method that makes them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from afina.adapters.adapter import Adapter
from afina.backbone.anatomy import Site
from afina.backbone.branch import Frozen, Placed
from afina.backbone.head import Head
from afina.backbone.labels import answers_each_label, gives_several_numbers
from afina.backbone.load import Backbone
from afina.errors import AfinaError, UsageError
from afina.methods.base import Method
from afina.tasks.base import the

__all__ = ["GivenBranches", "given_adapter", "label_state", "start_branches", "take_head"]


@dataclass(frozen=True, kw_only=True)
class GivenBranches(Method):
    """Stands for the method of branches that are there already."""

    name = "peft"
    made: Mapping[str, Placed] = field(default_factory=dict)
    together: nn.Module | None = None
    """The module that all branches share; None where the method has none."""

    def branch(self, site: Site) -> Placed:
        return self.made[site.name]

    def shared(self, sites: Sequence[Site]) -> nn.Module | None:
        return self.together


def given_adapter(
    made: Mapping[str, tuple[Site, Placed]], head: Head, backbone: Backbone, together: nn.Module | None = None
) -> Adapter:
    """Return the adapter of branches by name, each with its site, ready to be used on the backbone."""
    method = GivenBranches(made={key: branch for key, (_, branch) in made.items()}, together=together)
    adapter = Adapter(method, [site for site, _ in made.values()], head).to(backbone.device)
    start_branches(adapter.placed(), backbone, backbone.model)
    return adapter


def start_branches(placed: Iterable[tuple[Site, Placed]], backbone: Backbone, model: nn.Module) -> None:
    """Let branches read the frozen model; what `start` draws or copies afresh gives way to what was trained."""
    with torch.no_grad():
        for site, branch in placed:
            # Copies, as `start` writes into the very parameters.
            values = {key: value.clone() for key, value in branch.named_parameters()}
            branch.start(Frozen(model, backbone.anatomy, site))
            for key, parameter in branch.named_parameters():
                parameter.copy_(values[key])


def take_head(head: Head, stored: Mapping[str, Tensor], folder: Path) -> None:
    """Copy a stored head's tensors into a head; raises `AfinaError` for one that is missing or has another shape."""
    with torch.no_grad():
        for key, parameter in head.named_parameters():
            if key not in stored:
                raise AfinaError(
                    f"{folder} lacks '{key}' of the classification head, and its base model has none that was trained; "
                    "what it was trained with is lost."
                )
            if parameter.shape != stored[key].shape:
                raise AfinaError(
                    f"{folder}: '{key}' is {tuple(stored[key].shape)}, the model needs {tuple(parameter.shape)}."
                )
            parameter.copy_(stored[key])


def label_state(names: Sequence[str], backbone: Backbone) -> dict[str, Any]:
    """Return the state of the task that a head with these labels is for: one label is a number.

    Raises `UsageError` where the base's head gives several numbers.
    """
    if backbone.tags:
        return the(tags=True).of_labels(names).state()
    if len(names) > 1 and gives_several_numbers(backbone.config):
        raise UsageError(
            f"The head of {backbone.name} gives {len(names)} numbers for a text (problem_type: regression), of which no task "
            "is made here; give a base with one number, or with labels."
        )
    if len(names) > 1 and answers_each_label(backbone.config):
        return the(several=True).of_labels(names).state()
    # Several labels and no other word: one of them is right, as PEFT's head is trained.
    return the(problem_type="single_label_classification" if len(names) > 1 else "regression").of_labels(names).state()
