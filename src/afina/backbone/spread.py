"""Divide a backbone's weights among the processes of a run: torch's FSDP2 (`fully_shard`), a layer at a time."""

import warnings
from dataclasses import replace
from typing import Any

from afina.backbone.load import Backbone, load_backbone
from afina.backbone.quantise import packed
from afina.backbone.team import Team
from afina.errors import AfinaError

__all__ = ["load_spread"]


def load_spread(team: Team, name: str, *, precision: str, device: str, **settings: Any) -> Backbone:
    """Load a backbone as `load_backbone` does, of whose weights this process keeps its part; all processes have to ask.

    One process after another reads the model into main memory, so that it is there whole only once at a time. The language
    head stays whole in each. Raises `AfinaError` for weights in codes, which cannot be divided.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    assert team.launched is not None
    if packed(precision) is not None:
        raise AfinaError(
            f"Weights in {precision} cannot be divided among processes; set precision: bf16, or let each process hold the "
            "model whole (distributed_type: MULTI_GPU)."
        )
    offloads = team.launched.offloads and device != "cpu"
    divided: dict[str, Any] = {
        "mesh": init_device_mesh(device, (team.size,)), "reshard_after_forward": team.launched.reshards,
        "offload_policy": CPUOffloadPolicy() if offloads else OffloadPolicy(),
    }  # fmt: skip
    # Nothing here changes what a model gives out in its place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
    with team.in_turn():
        backbone = load_backbone(name, precision=precision, device="cpu", **settings)
        for site in backbone.anatomy.of_kind("layer"):
            fully_shard(backbone.model.get_submodule(site.module), **divided)
        fully_shard(backbone.model, **divided)
    backbone.linears = {}  # copies of whole weights
    if (language := backbone.language) is not None:
        # It is asked outside of the model's pass, for a few states at a time.
        language.linear.to(device)
        bias = None if language.bias is None else language.bias.to(device)
        backbone.language = replace(language, bias=bias)
    return backbone
