"""Read the steps that a run kept, and measure how its parameters moved.

Of a branch that an equal layer could stand for (LoRA's, say) it is the change of the weight that is looked at, fold(W) - W:
how large it is beside W, and its singular values, of which those that are not zero are its rank. Of others it is the
parameters themselves.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.errors import AfinaError, UsageError
from afina.precision import EXACT

if TYPE_CHECKING:
    from torch import Tensor

    from afina.adapters.adapter import Adapter
    from afina.backbone.load import Backbone

__all__ = ["Moved", "MovedPlace", "PlaceAtStep", "read_moved"]

_SHOWN = 16
"""Largest singular values that are kept of each place."""
_ZERO = 1e-5
"""Share of the largest singular value below which another is none: float32's rounding of a product."""


@dataclass(frozen=True)
class PlaceAtStep:
    """Holds what a branch was at one step."""

    step: int
    norm: float
    """Frobenius norm of the weight's change, or of the parameters' distance from their start."""
    share: float | None
    """The norm, as a share of the frozen weight's; None where no weight is changed."""
    singular: tuple[float, ...]
    """Largest singular values of the change, in falling order; none of what is no matrix."""
    rank: int | None
    """Number of singular values that are not zero."""
    gradient: float | None
    """Norm of the gradient of this step, as it was taken; None at the start."""
    cosine: float | None
    """Cosine of the way so far to the whole way; None at the start."""


@dataclass(frozen=True)
class MovedPlace:
    """Holds how a branch, the head, or a layer of the model itself moved."""

    name: str
    layer: int | None
    role: str
    steps: tuple[PlaceAtStep, ...]


@dataclass(frozen=True)
class Moved:
    """Holds how a run's parameters moved."""

    run: str
    model: str
    method: str
    steps: tuple[int, ...]
    places: tuple[MovedPlace, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as values that JSON can hold."""
        return asdict(self)


def read_moved(folder: Path) -> Moved:
    """Measure what a run's folder kept; raises `UsageError` where it kept nothing, `AfinaError` for a damaged file."""
    from afina.adapters.adapter import build_adapter
    from afina.adapters.format import format_of
    from afina.adapters.record import read_record
    from afina.backbone.load import load_backbone
    from afina.study.kept_steps import CHECKPOINTS
    from afina.tasks.base import restore
    from afina.train.checkpoint import read_checkpoint

    files = sorted((folder / CHECKPOINTS).glob("step-*.safetensors"))
    if len(files) < 2 and (folder / "adapter" / "afina.json").is_file():
        fitted = read_record(folder / "adapter").make_method()
        if fitted.gradient_free:
            raise UsageError(f"{folder} kept no steps: {fitted.name} is fitted at once, and takes none.")
    if len(files) < 2:
        raise UsageError(
            f"{folder} kept no steps ({CHECKPOINTS}/ has {len(files)}): it should be a run's folder, STUDY/runs/RUN, of a "
            "study with keep_checkpoints: 5."
        )
    if not (folder / "adapter" / "afina.json").is_file():
        raise UsageError(f"{folder} has no adapter yet: the run has to end before its way can be told.")
    record = read_record(folder / "adapter")
    base = format_of(folder / "adapter").base(record)
    method, task = record.make_method(), restore(record.task)
    backbone = load_backbone(
        record.model, precision=EXACT if method.owns_backbone else record.precision, speaks=base.speaks, tags=base.tags
    )
    adapter = build_adapter(method, backbone, task.outputs, seed=0)
    read = [read_checkpoint(path) for path in files]
    read_steps = [(state["step"], state["gradient_norms"], tensors) for tensors, state in filter(None, read)]
    trainable = adapter.trainable(backbone)
    missing = sorted(set(trainable) - set(read_steps[0][2]))
    if missing:
        raise AfinaError(f"{files[0]} lacks '{missing[0]}': it was kept by another run.")
    places: dict[str, list[PlaceAtStep]] = {}
    names = _places(adapter, backbone)
    for step, norms, tensors in read_steps:
        changes = _changes(adapter, backbone, trainable, tensors)
        for name, (_, _, names_of) in names.items():
            gradient = [norms[each] ** 2 for each in names_of if each in norms]
            measured = changes.get(name)
            norm, share, singular, rank = (
                (_distance(tensors, read_steps[0][2], names_of), None, (), None) if measured is None else measured
            )
            places.setdefault(name, []).append(
                PlaceAtStep(
                    step, norm, share, singular, rank, sum(gradient) ** 0.5 if gradient else None,
                    _cosine(tensors, read_steps[0][2], read_steps[-1][2], names_of),
                )
            )  # fmt: skip
    return Moved(
        folder.name, record.model, record.method, tuple(step for step, _, _ in read_steps),
        tuple(MovedPlace(name, *names[name][:2], tuple(steps)) for name, steps in places.items()),
    )  # fmt: skip


def _places(adapter: "Adapter", backbone: "Backbone") -> dict[str, tuple[int | None, str, list[str]]]:
    """Return by name the layer, role and parameters of each branch, of the head, and of a layer that is trained itself."""
    measures: dict[str, tuple[int | None, str, list[str]]] = {}
    trainable, layers = adapter.trainable(backbone), adapter.layers(backbone)
    left = set(trainable)
    for site, _ in adapter.placed():
        start = f"branches.{site.name.replace('.', '/')}."
        names_of = [name for name in trainable if name.startswith(start)]
        left -= set(names_of)
        if names_of:
            measures[site.name] = (site.layer, site.role, names_of)
    for name in (name for name in trainable if name in left):
        layer = layers.get(name)
        if name.startswith("head."):
            key, role = "head", "head"
        elif layer is not None and layer >= 0:
            key, role = f"layer {layer}", "layer"
        else:
            key, role = "beside the layers", "model"
        measures.setdefault(key, (layer if role == "layer" else None, role, []))[2].append(name)
    return measures


def _changes(
    adapter: "Adapter", backbone: "Backbone", trainable: Mapping[str, Any], tensors: Mapping[str, "Tensor"]
) -> dict[str, tuple[float, float | None, tuple[float, ...], int | None]]:
    """Return what each branch makes of its layer's weight with the parameters of a step."""
    import torch

    from afina.backbone.branch import Frozen

    if not adapter.method.mergeable:
        return {}
    measures: dict[str, tuple[float, float | None, tuple[float, ...], int | None]] = {}
    with torch.no_grad():
        for name, value in trainable.items():
            value.copy_(tensors[name])
        for site, branch in adapter.placed():
            if site.kind != "linear":
                continue
            linear = Frozen(backbone.model, backbone.anatomy, site).linear()
            weight = linear.weight.float()
            change = branch.fold(weight.clone(), linear.bias)[0].float() - weight
            if not change.any():
                measures[site.name] = (0.0, 0.0, (), 0)
                continue
            values = torch.linalg.svdvals(change)
            rank = int((values > _ZERO * values[0]).sum())
            norm = float(change.norm())
            shown = tuple(float(value) for value in values[: min(rank, _SHOWN)])
            measures[site.name] = (norm, norm / float(weight.norm()), shown, rank)
    return measures


def _way(tensors: Mapping[str, "Tensor"], start: Mapping[str, "Tensor"], names: list[str]) -> "Tensor":
    import torch

    return torch.cat([(tensors[name].float() - start[name].float()).flatten() for name in names])


def _distance(tensors: Mapping[str, "Tensor"], start: Mapping[str, "Tensor"], names: list[str]) -> float:
    return float(_way(tensors, start, names).norm())


def _cosine(
    tensors: Mapping[str, "Tensor"], start: Mapping[str, "Tensor"], end: Mapping[str, "Tensor"], names: list[str]
) -> float | None:
    names_of, whole = _way(tensors, start, names), _way(end, start, names)
    length = float(names_of.norm() * whole.norm())
    return float(names_of @ whole) / length if length > 0 else None
