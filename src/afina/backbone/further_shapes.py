"""List the shapes of decoders by which architectures without a row are recognised, beside the rows themselves."""

from dataclasses import replace

from afina.backbone.row import ArchitectureRow, Part
from afina.backbone.rows import ROWS

__all__ = ["SHAPES"]

_LLAMA = ROWS["llama"]
SHAPES: dict[str, ArchitectureRow] = {
    "one norm for both sublayers": replace(_LLAMA, norms=("input_layernorm",)),
    "norms behind the sublayers": replace(_LLAMA, norms=("post_attention_layernorm", "post_feedforward_layernorm")),
    "no gate": replace(_LLAMA, roles={role: path for role, path in _LLAMA.roles.items() if role != "ffn_gate"}),
    "no gate, GPT-2's names": replace(
        _LLAMA,
        roles={
            **{role: path for role, path in _LLAMA.roles.items() if not role.startswith("ffn")},
            "ffn_up": "mlp.c_fc",
            "ffn_down": "mlp.c_proj",
        },
    ),
    "gate and up in one": replace(
        _LLAMA,
        roles={
            **_LLAMA.roles,
            "ffn_gate": Part("mlp.gate_up_proj", 0, 2),
            "ffn_up": Part("mlp.gate_up_proj", 1, 2),
        },
    ),
    "one norm, no gate": replace(
        _LLAMA,
        roles={
            **{role: path for role, path in _LLAMA.roles.items() if not role.startswith("ffn")},
            "attention_out": "self_attn.dense",
            "ffn_up": "mlp.fc1",
            "ffn_down": "mlp.fc2",
        },
        norms=("input_layernorm",),
        outer_norms=("final_layernorm",),
    ),
}
"""Further shapes of decoders, for architectures without a row: OLMo 2, Cohere, Arcee, StarCoder 2, GLM, Phi 2 ..."""
