"""Adapters that the real peft makes of classifiers of every family."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import afina
from afina.backbone.attachment import Attachment
from families import classifier
from pairs import batch

Loader = Callable[[str], Path]


def targets(family: str) -> list[str]:
    """Give names that peft knows query and value, or the projection that holds them, by."""
    own = {
        "distilbert": ["q_lin", "v_lin"], "modernbert": ["Wqkv"], "gpt2": ["c_attn"], "phi3": ["qkv_proj"],
        "t5": ["q", "v"], "mpnet": ["q", "v"], "deberta-v2": ["query_proj", "value_proj"],
    }  # fmt: skip
    like_bert = family in ("bert", "camembert", "roberta", "xlm-roberta", "electra", "albert")
    return own.get(family, ["query", "value"] if like_bert else ["q_proj", "v_proj"])


def trained(family: str, config: Any, family_folder: Loader, folder: Path, prepare: Any = None) -> tuple[Any, Path]:
    """Adapt a model with peft, move all that it trains, save it."""
    from peft import get_peft_model

    base = classifier(family).from_pretrained(family_folder(family))
    base.config.pad_token_id = 0
    model = get_peft_model(base, config)
    if prepare is not None:
        prepare(model)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.requires_grad and "original_module" not in name and "ranknum" not in name:
                value.add_(torch.randn_like(value) * 0.2)
    model.save_pretrained(folder)
    return model.eval(), folder


def task(family: str) -> str | None:
    return None if family in ("vit", "whisper") else "SEQ_CLS"


def lora(family: str, **settings: Any) -> Any:
    from peft import LoraConfig

    keep = {"vit": ["classifier"], "whisper": ["projector", "classifier"]}.get(family)
    # T5's and BART's heads have a name that peft does not look for.
    keep = ["classification_head"] if family in ("t5", "bart", "mbart") else keep
    defaults: dict[str, Any] = {
        "task_type": task(family), "r": 3, "target_modules": targets(family), "modules_to_save": keep,
        "fan_in_fan_out": family == "gpt2",
    }  # fmt: skip
    return LoraConfig(**(defaults | settings))


def same(family: str, model: Any, folder: Path) -> None:
    inputs = batch(family)
    loaded = afina.load(folder)
    with Attachment(loaded.backbone, [loaded.adapter]) as attached, torch.no_grad():
        (ours,) = attached(inputs)
        theirs = model(**inputs).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5)
