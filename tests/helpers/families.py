"""Small models of every architecture, with random weights, saved as real folders with real tokenizers."""

import copy
import io
import pickle
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from afina.backbone.load import Backbone, load_backbone

WORDS = """
the a my your parcel order invoice lamp kettle app login password refund return late broken charged twice where is not
works when i please help team cat sat on mat good bad film great terrible news sport market science phone
""".split()  # noqa: SIM905
SPECIAL = ["<pad>", "<unk>", "<cls>", "<sep>", "</s>"]


def configuration(family: str, width: int = 24, inner: int = 37) -> Any:
    """Return a small configuration: odd sizes, two layers, more query heads than key heads where the family allows."""
    import transformers as t

    size = len(SPECIAL) + len(WORDS) + 26
    bert = {"vocab_size": size, "hidden_size": width, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": inner, "max_position_embeddings": 64, "pad_token_id": 0}  # fmt: skip
    llama = bert | {"num_key_value_heads": 2, "bos_token_id": None, "eos_token_id": 4}
    bart = {"vocab_size": size, "d_model": width, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": inner,
            "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": inner, "max_position_embeddings": 64,
            "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 4, "forced_eos_token_id": None}  # fmt: skip
    makers = {
        "bert": lambda: t.BertConfig(**bert),
        "distilbert": lambda: t.DistilBertConfig(
            vocab_size=size, dim=width, n_layers=2, n_heads=4, hidden_dim=inner, max_position_embeddings=64, pad_token_id=0
        ),
        "roberta": lambda: t.RobertaConfig(**bert, bos_token_id=2, eos_token_id=3),
        "modernbert": lambda: t.ModernBertConfig(
            **bert, local_attention=8, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3
        ),
        "gpt2": lambda: t.GPT2Config(
            vocab_size=size, n_embd=width, n_layer=2, n_head=4, n_positions=64, bos_token_id=4, eos_token_id=4
        ),
        "llama": lambda: t.LlamaConfig(**llama),
        "mistral": lambda: t.MistralConfig(**llama, sliding_window=None),
        "qwen2": lambda: t.Qwen2Config(**llama),
        "qwen3": lambda: t.Qwen3Config(**llama, head_dim=width // 4),
        "qwen3_moe": lambda: t.Qwen3MoeConfig(
            **llama, head_dim=width // 4, moe_intermediate_size=inner - inner % 8, num_experts=4, num_experts_per_tok=2
        ),
        "xlm-roberta": lambda: t.XLMRobertaConfig(**bert, bos_token_id=2, eos_token_id=3),
        "camembert": lambda: t.CamembertConfig(**bert, bos_token_id=2, eos_token_id=3),
        # Positions count from 1, which is written into transformers' code.
        "mpnet": lambda: t.MPNetConfig(**bert | {"pad_token_id": 1}),
        "nomic_bert": lambda: t.NomicBertConfig(**bert),
        "gte": lambda: t.GteConfig(**bert),
        "electra": lambda: t.ElectraConfig(**bert, embedding_size=16),
        "deberta-v2": lambda: t.DebertaV2Config(
            **bert, relative_attention=True, position_buckets=8, pos_att_type=["c2p", "p2c"], share_att_key=True,
            norm_rel_ebd="layer_norm", position_biased_input=False, type_vocab_size=0,
        ),
        "albert": lambda: t.AlbertConfig(**bert, embedding_size=16, num_hidden_groups=1),
        "opt": lambda: t.OPTConfig(
            vocab_size=size, hidden_size=width, num_hidden_layers=2, num_attention_heads=4, ffn_dim=inner, pad_token_id=0,
            max_position_embeddings=64, word_embed_proj_dim=16, bos_token_id=4, eos_token_id=4,
        ),
        "gemma2": lambda: t.Gemma2Config(
            **llama, head_dim=width // 4, sliding_window=4, query_pre_attn_scalar=width // 4, attn_logit_softcapping=5.0
        ),
        "gemma3_text": lambda: t.Gemma3TextConfig(
            **llama, head_dim=width // 4, sliding_window=4, query_pre_attn_scalar=width // 4
        ),
        "phi3": lambda: t.Phi3Config(**llama),
        "t5": lambda: t.T5Config(
            vocab_size=size, d_model=width, d_kv=width // 4, d_ff=inner, num_layers=2, num_decoder_layers=2, num_heads=4,
            relative_attention_num_buckets=8, feed_forward_proj="gated-gelu", pad_token_id=0, eos_token_id=4,
            decoder_start_token_id=0,
        ),
        "bart": lambda: t.BartConfig(**bart, decoder_start_token_id=4),
        "mbart": lambda: t.MBartConfig(**bart),
        "vit": lambda: t.ViTConfig(
            hidden_size=width, num_hidden_layers=2, num_attention_heads=4, intermediate_size=inner, image_size=8,
            patch_size=4, num_channels=1,
        ),
        "whisper": lambda: t.WhisperConfig(
            vocab_size=size, d_model=width, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=inner,
            decoder_layers=1, decoder_attention_heads=4, decoder_ffn_dim=inner, num_mel_bins=8, max_source_positions=10,
            classifier_proj_size=16, pad_token_id=0, bos_token_id=4, eos_token_id=4, decoder_start_token_id=4,
        ),
    }  # fmt: skip
    return makers[family]()


DECODERS = ("gpt2", "llama", "mistral", "opt", "qwen2", "qwen3", "qwen3_moe", "gemma2", "gemma3_text", "phi3")
ENCODERS = (
    "bert", "distilbert", "modernbert", "roberta", "xlm-roberta", "camembert", "mpnet", "nomic_bert", "gte", "electra",
    "deberta-v2", "albert",
)  # fmt: skip
BOTH = ("t5", "bart", "mbart")
TEXT = (*ENCODERS, *DECODERS, *BOTH)
FAMILIES = (*TEXT, "vit", "whisper")


def classifier(family: str) -> Any:
    """Return transformers' class of classifiers for a family's inputs."""
    import transformers as t

    kinds = {"vit": t.AutoModelForImageClassification, "whisper": t.AutoModelForAudioClassification}
    return kinds.get(family, t.AutoModelForSequenceClassification)


def language_model(family: str) -> Any:
    """Return transformers' class of language models for a family."""
    import transformers as t

    return t.AutoModelForSeq2SeqLM if family in BOTH else t.AutoModelForCausalLM


def tagger(family: str) -> Any:
    """Return transformers' class that tags tokens; some families have none."""
    import transformers as t

    return t.AutoModelForTokenClassification


def save_family(
    family: str, folder: Path, *, num_labels: int = 2, speaks: bool = False, tags: bool = False,
    sizes: tuple[int, int] = (24, 37), layers: int | None = None,
) -> Path:  # fmt: skip
    """Save a small model with its classifier (of texts, or of tokens), or its language head, and a word-level tokenizer.

    Decoders have no pad token. `sizes` are the width and that of the feed-forward layer, `layers` their number where two
    would take twice as long and show nothing more.
    """
    import torch

    torch.manual_seed(0)
    config = configuration(family, *sizes)
    if layers is not None:
        config.num_hidden_layers = layers
    # Names of their own, or BART's configuration, which expects three classes, does not keep that there are two.
    config.id2label = {index: f"class {index}" for index in range(num_labels)}
    model = (tagger if tags else language_model if speaks else classifier)(family).from_config(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            # Weights large enough, and biases and norms far enough from their usual start, that no fault can hide.
            if value.ndim == 1:
                value.add_(torch.randn_like(value) * 0.1)
            elif "embed" not in name and family != "t5":  # whose weights start large enough
                value.mul_(4)
    model.save_pretrained(folder)
    if family in TEXT:
        tokenizer(family).save_pretrained(folder)
    return folder


def load_family(folder: Path, **settings: Any) -> Backbone:
    """Return a small model's backbone, a copy of one that is loaded once: loading takes longer than most tests."""
    packed, apart = _loaded(folder, **settings)
    return _Unpack(packed, apart).load()


@cache
def _loaded(folder: Path, **settings: Any) -> tuple[bytes, list[Any]]:
    backbone = load_backbone(str(folder), **settings)
    packing = _Pack(backbone.tokenizer)
    packing.dump(backbone)
    return packing.file.getvalue(), packing.apart


class _Pack(pickle.Pickler):
    """Packs all but the tokenizer, which copies share, and tensors: a few times as fast as `copy.deepcopy`."""

    def __init__(self, tokenizer: Any) -> None:
        self.file = io.BytesIO()
        super().__init__(self.file, protocol=5)
        self.apart = [tokenizer]
        self.places = {id(tokenizer): 0}

    def persistent_id(self, thing: Any) -> int | None:
        if id(thing) not in self.places:
            if not isinstance(thing, Tensor):
                return None
            self.places[id(thing)] = len(self.apart)
            self.apart.append(thing)
        return self.places[id(thing)]


class _Unpack(pickle.Unpickler):
    """Unpacks a copy with tensors of its own; one that stands at several places is one there too."""

    def __init__(self, packed: bytes, apart: list[Any]) -> None:
        super().__init__(io.BytesIO(packed))
        self.apart = apart
        self.made = {0: apart[0]}

    def persistent_load(self, place: int) -> Any:
        if place not in self.made:
            self.made[place] = copy.deepcopy(self.apart[place])
        return self.made[place]


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
    if family in BOTH:
        inner.post_processor = processors.TemplateProcessing(
            single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 4)]
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=inner, unk_token="<unk>", pad_token="<pad>", eos_token="</s>",
            model_input_names=["input_ids", "attention_mask"],
        )  # fmt: skip
    inner.post_processor = processors.TemplateProcessing(
        single="<cls> $A <sep>", pair="<cls> $A <sep> $B:1 <sep>:1", special_tokens=[("<cls>", 2), ("<sep>", 3)]
    )
    names = ["input_ids", "attention_mask"] + (
        ["token_type_ids"] if family in ("bert", "electra", "albert", "nomic_bert") else []
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", pad_token="<pad>", cls_token="<cls>", sep_token="<sep>",
        model_input_names=names,
    )  # fmt: skip
