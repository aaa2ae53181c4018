"""Say of a quantised checkpoint, whoever made it, how large it is, in what its layers are kept, and what they lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.errors import UsageError
from afina.json_files import read_json_object

if TYPE_CHECKING:
    from afina.evaluation.evaluate import Evaluation

__all__ = ["QuantisedReport", "report_of"]


@dataclass(frozen=True, kw_only=True)
class QuantisedReport:
    """Holds what is known of a quantised checkpoint."""

    folder: str
    model: str | None
    """The model that it was made of, where that is known."""
    precision: str
    layers: tuple[dict[str, Any], ...]
    """Each quantised linear layer: its path, inputs, outputs, and error: the squared change over the squares."""
    errors_of: str
    """The kind of error: `outputs` on texts, or the `weights` themselves; empty where nothing is known of them."""
    bytes_on_disk: int
    bytes_before: int | None
    """The same of the model that it was made of."""
    bytes_in_memory: int
    memory_before: int
    """Bytes of the weights when they are loaded, and of the same weights in 16 bits."""
    seconds: float | None
    """Seconds that it took to make, where that is known."""
    notes: tuple[str, ...] = ()
    measured: "Evaluation | None" = None
    """The model measured, beside what it was made of where that was given."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        measured = None if self.measured is None else self.measured.as_dict()
        return {**vars(self), "layers": list(self.layers), "notes": list(self.notes), "measured": measured}

    def by_depth(self) -> list[tuple[str, int, float]]:
        """Return for each of the model's layers its path, how many linear layers it has, and their mean error."""
        grouped: dict[str, list[float]] = {}
        for layer in self.layers:
            if layer["error"] is not None:
                grouped.setdefault(_layer_of(layer["layer"]), []).append(layer["error"])
        return [(path, len(errors), sum(errors) / len(errors)) for path, errors in grouped.items()]


def report_of(folder: str, original: str | None = None, *, trust_remote_code: bool = False) -> QuantisedReport:
    """Look at a quantised checkpoint; with the `original` model the change of each weight is measured.

    Raises `UsageError` for a model whose weights are not quantised, or not in a form that is read.
    """
    from afina.backbone.load import load_backbone, stored_at
    from afina.backbone.model_files import model_path
    from afina.backbone.quantise import is_quantised, parameter_count, weight_bytes, weight_shape

    if (precision := stored_at(folder, trust_remote_code=trust_remote_code)) is None:
        raise UsageError(f"The weights of '{folder}' are not quantised; leave --report out to quantise it.")
    place = Path(model_path(folder))
    known = read_json_object(place / "quantisation.json") if (place / "quantisation.json").is_file() else {}
    backbone = load_backbone(folder, trust_remote_code=trust_remote_code)
    linear = {path: own for path, own in backbone.model.named_modules() if is_quantised(own)}
    layers: Sequence[dict[str, Any]] = known.get("layers") or [
        {"layer": path, "inputs": weight_shape(own)[1], "outputs": weight_shape(own)[0], "error": None}
        for path, own in linear.items()
    ]
    errors_of = ("outputs" if known.get("tokens") else "weights") if known.get("layers") else ""
    if original is not None and not errors_of:
        layers, errors_of = _changes(folder, original, linear, trust_remote_code), "weights"
    return QuantisedReport(
        folder=folder, model=original or known.get("model"), precision=precision, layers=tuple(layers),
        errors_of=errors_of, bytes_on_disk=_bytes_in(place), bytes_before=known.get("bytes_before"),
        bytes_in_memory=weight_bytes(backbone.model), memory_before=2 * parameter_count(backbone.model),
        seconds=known.get("seconds"), notes=(*known.get("notes", ()), *backbone.notes),
    )  # fmt: skip


def _changes(folder: str, original: str, linear: dict[str, Any], trust_remote_code: bool) -> list[dict[str, Any]]:
    """Return by how much each weight differs from the original's, read layer by layer."""
    from afina.backbone.quantise import full_weight
    from afina.backbone.streamed import Streamed
    from afina.ops.rounding import output_error

    source = Streamed.open(original, trust_remote_code=trust_remote_code)
    changes: list[dict[str, Any]] = []
    for layer in source.layers:
        inside = {path: module for path, module in linear.items() if path.startswith(f"{layer}.")}
        with source.at(layer):
            for path, module in inside.items():
                plain: Any = source.backbone.model.get_submodule(path)
                weight = plain.weight.T if type(plain).__name__ == "Conv1D" else plain.weight
                dense = full_weight(module)
                if dense.shape != weight.shape:
                    raise UsageError(
                        f"{path} is of size {tuple(dense.shape)} in {folder} and {tuple(weight.shape)} in {original}; give "
                        "the model that it was made of."
                    )
                error = output_error(weight, dense, None)
                changes.append({"layer": path, "inputs": weight.shape[1], "outputs": weight.shape[0], "error": error})
    if not changes:
        raise UsageError(
            f"{original} has none of the layers that {folder} quantises; give the model that it was made of."
        )
    return changes


def _bytes_in(place: Path) -> int:
    return sum(file.stat().st_size for file in place.glob("*.safetensors")) if place.is_dir() else 0


def _layer_of(path: str) -> str:
    """Return the part of a path up to its number: `layers.3` of `layers.3.mlp.up_proj`."""
    parts = path.split(".")
    last = max((place for place, part in enumerate(parts) if part.isdigit()), default=len(parts) - 1)
    return ".".join(parts[: last + 1])
