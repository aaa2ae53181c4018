"""Write and read checkpoints: all that a run needs to go on as if never interrupted, in one file written atomically."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from afina.backbone.tensor_file import save_tensors
from afina.errors import AfinaError
from afina.whole_file import whole_file

__all__ = ["damaged", "read_checkpoint", "write_checkpoint"]


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a state that JSON can hold; a kill at any moment leaves the whole old file or the whole new one."""
    plain: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, value in tensors.items():
        there = value.detach().cpu().contiguous()
        # A file has no two names for one tensor, as bitsandbytes has of the table that all moments in 8 bits share.
        place = there.untyped_storage().data_ptr()
        plain[name] = there.clone() if place in places else there
        places.add(place)
    try:
        with whole_file(path) as partial:
            save_tensors(plain, partial, metadata={"state": json.dumps(state)})
    except OSError as error:
        raise AfinaError(
            f"{path} cannot be written ({error.strerror or error}); the last checkpoint is kept."
        ) from error


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return tensors and state, or None where there is no checkpoint; raises `AfinaError` for a damaged one."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            state = json.loads(file.metadata()["state"])
            # A file that opens may still be of another kind.
            if not isinstance(state, dict):
                raise TypeError("it holds no state")
            return tensors, state
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: BaseException) -> AfinaError:
    """Return the error for a checkpoint that is damaged."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return AfinaError(f"The checkpoint {path} is damaged ({text}); delete it to start this run again.")
