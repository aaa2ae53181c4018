"""Turn changes of weights into low-rank factors: a LoRA near to any adapter that has an equal layer."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from afina.adapters.merged import fold_into
from afina.backbone.quantise import full_weight
from afina.errors import AfinaError, UsageError
from afina.export.peft import refuse_classical, write_file, write_tokenizer
from afina.export.target import unmergeable
from afina.methods.lora import LoRA
from afina.predictor.predictor import Predictor

__all__ = ["Changes", "LowRankLoss", "as_lora", "low_rank_changes"]


class LowRankLoss(dict[str, float]):
    """Maps each module to the share of its change (Frobenius norm) that a low rank leaves out."""


class Changes(NamedTuple):
    """Holds what an adapter changes, as factors A (r, in) and B (out, r) of each module by its path in the whole model."""

    factors: dict[str, tuple[Tensor, Tensor]]
    biases: dict[str, Tensor]
    """All biases of those modules, where it changes one."""
    loss: LowRankLoss
    transposed: bool
    """True if the model stores weights as (in, out)."""


def as_lora(loaded: Predictor, folder: Path, rank: int) -> LowRankLoss:
    """Write the adapter's changes of weights as a LoRA of at most `rank`, by truncated SVD; return what is left out.

    Changes the backbone in place. Raises `UsageError` for a method that changes no matrix.
    """
    changes = low_rank_changes(loaded, rank, "lora")
    write_tokenizer(loaded, folder)
    write_file(folder, LoRA.peft.of_factors(changes.factors, changes.biases, transposed=changes.transposed), loaded)
    return changes.loss


def low_rank_changes(loaded: Predictor, rank: int, to: str) -> Changes:
    """Return the adapter's changes of weights at most at this rank, for an export `to` this target.

    Changes the backbone in place. Raises `UsageError` for a method that changes no matrix.
    """
    refuse_classical(loaded)
    if loaded.task.embeds or loaded.own_language is not None:
        what = "has no head" if loaded.task.embeds else "brought a language head of its own"
        raise UsageError(f"{loaded.folder} {what}, which --to {to} does not write; export it --to merged or --to peft.")
    modules = dict(loaded.backbone.model.named_modules())
    places = {site.module: site.transposed for site, _ in loaded.adapter.placed()}
    try:
        # Folded into the loaded backbone itself, which is not used any more after this.
        before = {name: _weight_and_bias(modules[name], transposed) for name, transposed in places.items()}
        for site, branch in loaded.adapter.placed():
            fold_into(modules[site.module], site, branch)
    except (AfinaError, AttributeError):  # no equal layer, or not at a layer with a weight at all
        raise unmergeable(loaded.record.method, "low-rank", to) from None
    root, loss = loaded.backbone.prefix, LowRankLoss()
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    biases: dict[str, Tensor] = {}
    for name, (weight, bias) in before.items():
        after, new_bias = _weight_and_bias(modules[name], places[name])
        if weight.ndim != 2 or isinstance(modules[name], torch.nn.Embedding) or (bias is None) != (new_bias is None):
            raise UsageError(f"{loaded.record.method} changes {name}, which is not a matrix with a low-rank form.")
        b, a, loss[name] = _factors(after - weight, rank)
        factors[f"{root}{name}"] = a, b
        if bias is not None and new_bias is not None and not torch.equal(bias, new_bias):
            biases[f"{root}{name}"] = new_bias
    if not any(b.any() for _, b in factors.values()):
        raise UsageError(f"{loaded.record.method} changes no matrix; there is nothing for a LoRA to hold.")
    if biases:
        # PEFT trains either all of the adapted layers' biases or none.
        parameters = {name: modules[name].bias for name in before}
        biases = {f"{root}{name}": bias.detach().float() for name, bias in parameters.items() if bias is not None}
    return Changes(factors, biases, loss, any(places.values()))


def _weight_and_bias(module: torch.nn.Module, transposed: bool) -> tuple[Tensor, Tensor | None]:
    weight, bias = full_weight(module).float(), getattr(module, "bias", None)
    return (weight.T if transposed else weight).clone(), None if bias is None else bias.detach().float().clone()


def _factors(change: Tensor, rank: int) -> tuple[Tensor, Tensor, float]:
    """Return B (out, r) and A (r, in) of a change, r at most `rank` and as small as loses nothing, and the lost share."""
    # In float64: small singular values decide how many ranks are needed.
    u, s, v = torch.linalg.svd(change.double(), full_matrices=False)
    needed = int((s > 1e-6 * s[0]).sum()) if s[0] > 0 else 1
    used = max(1, min(rank, needed))
    # The singular values are shared between A and B, so that neither is much larger than the other.
    root = s[:used].sqrt()
    whole = float(s.norm())
    lost = float(s[used:].norm()) / whole if whole > 0 else 0.0
    return (u[:, :used] * root).float().contiguous(), (root[:, None] * v[:used]).float().contiguous(), lost
