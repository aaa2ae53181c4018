"""Read accelerate's configuration file (`accelerate config`) for what it says of several processes on this machine.

Each of its keys is known here: one that would change what is computed is heeded or refused, and one that is new is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afina.errors import UsageError, nearest, shown
from afina.yaml_file import read_yaml

__all__ = ["FSDP_KEYS", "KEYS", "Launch", "read_launch"]

_OFF = (None, False, "no", "NO", "", 0)
_KINDS = {"FSDP": True, "MULTI_GPU": False, "MULTI_CPU": False}
"""The kinds of `distributed_type`, and whether each divides the model's weights."""
KEYS: Mapping[str, str] = {
    **dict.fromkeys(("distributed_type", "num_processes", "num_machines", "gpu_ids", "use_cpu", "fsdp_config"), "heeded"),
    **dict.fromkeys(("compute_environment", "mixed_precision"), "heeded"),
    # How processes find each other, and what is asked of a script: they meet by a file here.
    **dict.fromkeys(("machine_rank", "main_process_ip", "main_process_port", "rdzv_backend", "same_network"), "nothing"),
    **dict.fromkeys(("main_training_function", "debug", "enable_cpu_affinity"), "nothing"),
    **dict.fromkeys(
        (
            "deepspeed_config", "megatron_lm_config", "parallelism_config", "fp8_config", "dynamo_config",
            "mpirun_config", "downcast_bf16", "command_file", "commands", "tpu_name", "tpu_zone", "tpu_use_cluster",
            "tpu_use_sudo", "tpu_vm", "tpu_env",
        ),
        "refused",
    ),
}  # fmt: skip
"""The fate of each key: `heeded`, `nothing` (it changes nothing here), or `refused` unless it is off."""
FSDP_KEYS: Mapping[str, str] = {
    **dict.fromkeys(("fsdp_version", "fsdp_reshard_after_forward", "fsdp_offload_params"), "heeded"),
    "fsdp_activation_checkpointing": "heeded",
    # Layers are divided one by one, adapters are written whole, and a model is read by one process after another.
    **dict.fromkeys(("fsdp_auto_wrap_policy", "fsdp_transformer_layer_cls_to_wrap", "fsdp_min_num_params"), "nothing"),
    **dict.fromkeys(("fsdp_state_dict_type", "fsdp_cpu_ram_efficient_loading"), "nothing"),
}  # fmt: skip
"""The same of the keys in `fsdp_config`."""


@dataclass(frozen=True)
class Launch:
    """Says how many processes carry out a run together, on what, and what they divide."""

    processes: int
    on_cpu: bool
    shards: bool
    reshards: bool = True
    offloads: bool = False
    cards: str | None = None
    """Numbers of the cards to take, comma-separated; None for all."""


def read_launch(path: Path) -> Launch:
    """Return what accelerate's file says; raises `UsageError` for what is wrong, unknown, or cannot be done here."""
    values = read_yaml(path)
    if not isinstance(values, Mapping) or "distributed_type" not in values:
        raise UsageError(f"{path} is no file of `accelerate config`: it has no distributed_type.")
    _check_keys(path, values, KEYS)
    kind = str(values["distributed_type"])
    if kind not in _KINDS:
        raise UsageError(f"{path}: distributed_type is {shown(kind)}; here it may be {', '.join(_KINDS)}.")
    if values.get("compute_environment", "LOCAL_MACHINE") != "LOCAL_MACHINE":
        raise UsageError(
            f"{path}: compute_environment should be LOCAL_MACHINE, not {shown(values['compute_environment'])}."
        )
    if values.get("num_machines", 1) != 1:
        raise UsageError(
            f"{path}: num_machines is {shown(values['num_machines'])}; a run is carried out by processes of one machine: "
            "set it to 1 (runs go to several machines by executor: ray)."
        )
    if values.get("mixed_precision") not in _OFF:
        raise UsageError(
            f"{path}: mixed_precision is {shown(values['mixed_precision'])}; set it to 'no' there, and precision: in the "
            "study."
        )
    processes = values.get("num_processes")
    if type(processes) is not int or processes < 2:
        raise UsageError(f"{path}: num_processes should be a whole number from 2, not {shown(processes)}.")
    on_cpu = kind == "MULTI_CPU" or bool(values.get("use_cpu"))
    cards = values.get("gpu_ids")
    shards = _KINDS[kind]
    divided = _fsdp(path, values.get("fsdp_config") or {}) if shards else {}
    return Launch(processes, on_cpu, shards, cards=None if cards in (None, "all") else str(cards), **divided)


def _fsdp(path: Path, values: Any) -> dict[str, bool]:
    if not isinstance(values, Mapping):
        raise UsageError(f"{path}: fsdp_config should be keys with values, not {shown(values)}.")
    _check_keys(path, values, FSDP_KEYS)
    if values.get("fsdp_version", 1) != 2:
        raise UsageError(f"{path}: fsdp_version should be 2, not {shown(values.get('fsdp_version', 1))}.")
    if values.get("fsdp_activation_checkpointing") not in _OFF:
        raise UsageError(
            f"{path}: fsdp_activation_checkpointing is a matter of the study: leave it out there, and set "
            "gradient_checkpointing: true."
        )
    choices = {
        "reshards": values.get("fsdp_reshard_after_forward", True),
        "offloads": values.get("fsdp_offload_params", False),
    }
    for key, value in choices.items():
        if not isinstance(value, bool):
            name = "fsdp_reshard_after_forward" if key == "reshards" else "fsdp_offload_params"
            raise UsageError(f"{path}: {name} should be true or false, not {shown(value)}.")
    return choices


def _check_keys(path: Path, values: Mapping[Any, Any], known: Mapping[str, str]) -> None:
    for key, value in values.items():
        if key not in known:
            raise UsageError(f"{path}: unknown key {shown(key)}{nearest(str(key), known)}")
        if known[key] == "refused" and value not in (*_OFF, {}, []):
            raise UsageError(f"{path}: {key} cannot be heeded here; leave it out.")
