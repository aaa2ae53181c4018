"""Small models of every architecture, with random weights, saved as real folders with real tokenizers."""

from pathlib import Path
from typing import Any

WORDS = """
the a my your parcel order invoice lamp kettle app login password refund return late broken charged twice where is not
works when i please help team cat sat on mat good bad film great terrible news sport market science phone
""".split()  # noqa: SIM905
SPECIAL = ["<pad>", "<unk>", "<cls>", "<sep>", "</s>"]


def configuration(family: str) -> Any:
    """Return a small configuration: odd sizes, two layers, more query heads than key heads where the family allows."""
    import transformers as t

    size = len(SPECIAL) + len(WORDS) + 26
    bert = {"vocab_size": size, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 37, "max_position_embeddings": 64, "pad_token_id": 0}  # fmt: skip
    llama = bert | {"num_key_value_heads": 2, "bos_token_id": None, "eos_token_id": 4}
    makers = {
        "bert": lambda: t.BertConfig(**bert),
        "distilbert": lambda: t.DistilBertConfig(
            vocab_size=size, dim=24, n_layers=2, n_heads=4, hidden_dim=37, max_position_embeddings=64, pad_token_id=0
        ),
        "roberta": lambda: t.RobertaConfig(**bert, bos_token_id=2, eos_token_id=3),
        "modernbert": lambda: t.ModernBertConfig(
            **bert, local_attention=8, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3
        ),
        "gpt2": lambda: t.GPT2Config(
            vocab_size=size, n_embd=24, n_layer=2, n_head=4, n_positions=64, bos_token_id=4, eos_token_id=4
        ),
        "llama": lambda: t.LlamaConfig(**llama),
        "mistral": lambda: t.MistralConfig(**llama, sliding_window=None),
        "qwen2": lambda: t.Qwen2Config(**llama),
        "qwen3": lambda: t.Qwen3Config(**llama, head_dim=6),
    }
    return makers[family]()


FAMILIES = ("bert", "distilbert", "gpt2", "llama", "mistral", "modernbert", "qwen2", "qwen3", "roberta")
DECODERS = ("gpt2", "llama", "mistral", "qwen2", "qwen3")


def save_family(family: str, folder: Path, *, num_labels: int = 2) -> Path:
    """Save a small model with its classifier and a word-level tokenizer; decoders come without a pad token."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    config = configuration(family)
    config.num_labels = num_labels
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            # Weights large enough, and biases and norms far enough from their usual start, that no fault can hide.
            if value.ndim == 1:
                value.add_(torch.randn_like(value) * 0.1)
            elif "embed" not in name:
                value.mul_(4)
    model.save_pretrained(folder)
    tokenizer(family).save_pretrained(folder)
    return folder


def tokenizer(family: str) -> Any:
    """Return a word-level tokenizer; encoders mark the start and the sentences, decoders mark nothing."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: place for place, word in enumerate([*SPECIAL, *dict.fromkeys(WORDS)])}
    for letter in "abcdefghijklmnopqrstuvwxyz":
        words.setdefault(letter, len(words))
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    if family in DECODERS:
        return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="</s>")
    inner.post_processor = processors.TemplateProcessing(
        single="<cls> $A <sep>", pair="<cls> $A <sep> $B:1 <sep>:1", special_tokens=[("<cls>", 2), ("<sep>", 3)]
    )
    names = ["input_ids", "attention_mask"] + (["token_type_ids"] if family == "bert" else [])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", pad_token="<pad>", cls_token="<cls>", sep_token="<sep>",
        model_input_names=names,
    )  # fmt: skip
