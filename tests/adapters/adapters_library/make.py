"""Makes the checkpoints beside it with the real `adapters` library, which needs an older transformers than Afina.

    python -m venv /tmp/v && /tmp/v/bin/pip install torch adapters==1.3.0 && /tmp/v/bin/python make.py

For each small random model: its weights, one checkpoint a configuration (weights moved away from their start), and the
logits that the library computes for `input_ids` with it.
"""

import os
from pathlib import Path

import adapters
import torch
from adapters import DoubleSeqBnConfig, ParBnConfig, SeqBnConfig
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, BertConfig, DistilBertConfig, GPT2Config

os.chdir(Path(__file__).parent)  # so that the checkpoints name their models without a place
SIZES = {"vocab_size": 20, "pad_token_id": 0}
BERT = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
MODELS = {
    "bert": BertConfig(**SIZES, **BERT, max_position_embeddings=12, num_labels=3),
    "distilbert": DistilBertConfig(
        **SIZES, dim=8, n_layers=2, n_heads=2, hidden_dim=12, max_position_embeddings=12, num_labels=3
    ),
    "gpt2": GPT2Config(
        **SIZES, n_embd=8, n_layer=2, n_head=2, n_positions=12, num_labels=3, bos_token_id=1, eos_token_id=1
    ),
}
CONFIGURATIONS = {
    "houlsby": DoubleSeqBnConfig(reduction_factor=4),
    "pfeiffer": SeqBnConfig(reduction_factor=4, scaling=2.0),
    "parallel": ParBnConfig(reduction_factor=2),
}
IDS = torch.tensor([[2, 7, 11, 5, 3], [2, 9, 4, 4, 3]])


def stir(model: torch.nn.Module, deviation: float) -> None:
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.add_(torch.randn_like(value) * deviation)


for family, config in MODELS.items():
    torch.manual_seed(0)
    base = AutoModelForSequenceClassification.from_config(config)
    stir(base, 0.2)
    base.save_pretrained(family)
    for name, configuration in CONFIGURATIONS.items():
        for kind in ("own", "flexible")[: 1 if family == "gpt2" else 2]:
            if kind == "own":
                model = AutoModelForSequenceClassification.from_pretrained(family)
                adapters.init(model)
            else:
                model = adapters.AutoAdapterModel.from_pretrained(family)
            model.add_adapter("task", config=configuration)
            if kind == "flexible":
                model.add_classification_head(
                    "task", num_labels=3, id2label={0: "red", 1: "green", 2: "blue"}, overwrite_ok=True
                )
            model.train_adapter("task")
            model.set_active_adapters("task")
            model.eval()
            stir(model, 0.3)
            folder = Path(f"{family}-{name}-{kind}")
            folder.mkdir(exist_ok=True)
            model.save_adapter(str(folder), "task", use_safetensors=True)
            with torch.no_grad():
                logits = model(input_ids=IDS).logits
            save_file({"input_ids": IDS, "logits": logits}, folder / "expected.safetensors")
