"""Adapters that the real peft makes of language models, and what they say."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from afina.backbone.attachment import Attachment
from families import language_model

Speaker = Callable[[str], Path]


QV = ["q_proj", "v_proj"]


def stirred(model: Any, seed: int = 3) -> Any:
    """Move all that peft trains away from where it started."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.requires_grad and "original_module" not in name:
                value.add_(torch.randn(value.shape, generator=generator) * 0.2)
    return model.eval()


def saved(family: str, speaker: Speaker, folder: Path, tied: bool = False, **settings: Any) -> tuple[Path, Path]:
    """Adapt a language model with peft, move all that it trains, save it; return its base's folder and its own."""
    from peft import LoraConfig, get_peft_model

    base = speaker(family)
    if tied:
        model = language_model(family).from_pretrained(base, tie_word_embeddings=True)
        model.tie_weights()
        base = folder.parent / "tied"
        model.save_pretrained(base)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(speaker(family) / name, base)
    config = LoraConfig(**{"task_type": "CAUSAL_LM", "r": 3, "lora_alpha": 5, "target_modules": QV} | settings)
    stirred(get_peft_model(language_model(family).from_pretrained(base), config)).save_pretrained(folder)
    return base, folder


def reference(family: str, base: Path, folder: Path, ids: torch.Tensor) -> torch.Tensor:
    """What peft makes of a folder: logits."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(language_model(family).from_pretrained(base), str(folder)).eval()
    with torch.no_grad():
        return model(input_ids=ids).logits


def ours(loaded: Any, ids: torch.Tensor) -> torch.Tensor:
    with Attachment(loaded.backbone, [loaded.adapter]) as attached, torch.no_grad():
        states = attached.hidden({"input_ids": ids}).states
        return loaded.adapter.head.language(states.flatten(0, 1)).view(*ids.shape, -1)


IDS = torch.tensor([[5, 9, 17, 22, 6, 7, 8], [11, 6, 5, 30, 31, 12, 9]])


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "pissa": {"init_lora_weights": "pissa"},
    "pissa, ranks": {"init_lora_weights": "pissa", "rank_pattern": {"q_proj": 5}, "alpha_pattern": {"v_proj": 11}},
    "olora": {"init_lora_weights": "olora"},
    "eva": {"init_lora_weights": "eva"},
    "orthogonal": {"init_lora_weights": "orthogonal", "r": 4},
    "mica": {"init_lora_weights": "mica"},
    "lora_bias": {"lora_bias": True},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "tokens": {"trainable_token_indices": [9, 5, 30]},
    "tokens, named": {"trainable_token_indices": {"embed_tokens": [9, 5]}},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "head, pissa": {"target_modules": ["q_proj", "lm_head"], "init_lora_weights": "pissa"},
    "head, dora": {"target_modules": ["q_proj", "lm_head"], "use_dora": True},
    "head saved": {"modules_to_save": ["lm_head"]},
    "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "embedding, both": {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
    "embedding saved": {"modules_to_save": ["embed_tokens"]},
    "embedding saved, both": {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    "norms saved": {"modules_to_save": ["norm", "input_layernorm"]},
    "excluded": {"target_modules": "all-linear", "exclude_modules": ["v_proj"]},
    "pattern": {"target_modules": r".*layers\.1\..*(q|down)_proj", "alpha_pattern": {r"^model\.layers\.\d\..*q_proj": 3}},
    "one layer": {"layers_to_transform": [1], "layers_pattern": "layers"},
    "velora": {"velora_config": "default"},
}  # fmt: skip


def settings_of(case: str) -> dict[str, Any]:
    from peft import VeloraConfig

    made = CASES[case]
    return made | {"velora_config": VeloraConfig(num_groups=2)} if "velora_config" in made else made


def with_more_words(base: Path, folder: Path) -> int:
    """Put a tokenizer with two tokens more than the base's into an adapter's folder; return how many it has."""
    from transformers import AutoTokenizer

    mine = AutoTokenizer.from_pretrained(base)
    room = json.loads((base / "config.json").read_text())["vocab_size"] - len(mine)
    mine.add_tokens([*(f"<unused{index}>" for index in range(room)), "<ask>", "<tell>"])
    turn = "{{ '<ask> ' if m['role'] == 'user' else '<tell> ' }}{{ m['content'] }} </s> "
    mine.chat_template = f"{{% for m in messages %}}{turn}{{% endfor %}}<tell>"
    mine.save_pretrained(folder)
    return len(mine)
