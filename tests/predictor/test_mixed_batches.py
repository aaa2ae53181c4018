"""Adapters of one base in one batch answer as each does alone, whatever they brought: heads, poolers, words, prompts."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import afina
from afina.adapters.adapter import AdapterRecord, build_adapter, save_adapter
from afina.backbone.attachment import Attachment
from afina.backbone.load import load_backbone
from afina.methods.base import make_method
from afina.predictor.predictor import Predictor, rows_of
from afina.tasks.classification import Classification
from families import classifier, language_model
from pairs import stir
from peft_writers import stirred, with_more_words

Loader = Callable[[str], Path]
TEXTS = ["my parcel is late", "where is the lamp please help", "the kettle", "my lamp is broken and my parcel is late"]


def of_peft(model: Any, config: Any, folder: Path) -> Path:
    """Adapt a model with peft, move all that it trains, save it."""
    from peft import get_peft_model

    stirred(get_peft_model(model, config), seed=len(folder.name)).save_pretrained(folder)
    return folder


def of_ours(name: str, base: Path, folder: Path) -> Path:
    """Save an adapter of a method of ours for three labels, moved away from where it starts."""
    backbone = load_backbone(str(base))
    task, method = Classification(["a", "b", "c"]), make_method(name, {})
    adapter = build_adapter(method, backbone, task.outputs, seed=0)
    stir(adapter)
    record = AdapterRecord(
        model=str(base),
        method=name,
        settings=method.settings(),
        task=task.state(),
        max_length=60,
        precision="fp32",
        seed=0,
    )
    save_adapter(folder, adapter, backbone, record)
    return folder


def classifiers(base: Path, folder: Path) -> list[Path]:
    """Save adapters that label texts in as many ways as a folder may bring: their own labels, pooler, words, prompt."""
    from peft import LoraConfig, PromptTuningConfig

    def model(labels: int, words: int | None = None) -> Any:
        torch.manual_seed(labels)
        own = classifier("bert").from_pretrained(base, num_labels=labels, ignore_mismatched_sizes=True)
        if words is not None:
            own.resize_token_embeddings(words)
        return own

    def lora(**settings: Any) -> Any:
        return LoraConfig(**{"task_type": "SEQ_CLS", "r": 2, "target_modules": ["query", "value"]} | settings)

    words = with_more_words(base, folder / "words")
    made = {
        "plain": (model(2), lora()),
        "pooler": (model(3), lora(modules_to_save=["pooler", "classifier"])),
        "words": (model(2, words), lora(modules_to_save=["word_embeddings", "classifier"])),
        "tokens": (model(4), lora(trainable_token_indices={"word_embeddings": [5, 9, 17]})),
        "prompt": (model(2), PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3)),
    }
    folders = [of_peft(own, config, folder / name) for name, (own, config) in made.items()]
    return [*folders, *(of_ours(name, base, folder / name) for name in ("head", "prefix", "bitfit", "loreft"))]


def mixed(adapters: Sequence[Predictor], texts: Sequence[str]) -> list[np.ndarray]:
    """Return each adapter's logits of these texts, each in its own tokens, from one batch of all."""
    read = [own.tokens(rows_of(texts)) for own in adapters]
    with Attachment(adapters[0].backbone, [own.adapter for own in adapters]) as attached, torch.inference_mode():
        batch = attached.batch([(tokens, np.arange(len(texts))) for tokens in read])
        return [logits.numpy() for logits in attached.outputs(batch)]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_classifiers_answer_in_one_batch_as_alone(family_folder: Loader, tmp_path: Path) -> None:
    base = family_folder("bert")
    first, *others = classifiers(base, tmp_path)
    loaded = [afina.load(first)]
    loaded += [afina.load(folder, beside=loaded[0]) for folder in others]
    texts = [*TEXTS, "my <ask> lamp"]
    for order in (loaded, loaded[::-1], loaded[2:5]):
        for own, found in zip(order, mixed(order, texts), strict=True):
            np.testing.assert_allclose(found, own.logits(texts), atol=2e-5, err_msg=own.folder.name)


def writers(base: Path, folder: Path) -> list[Path]:
    """Save adapters that write, some with words, tokens, language heads, prompts or prefixes of their own."""
    from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig

    def lora(**settings: Any) -> Any:
        return LoraConfig(**{"task_type": "CAUSAL_LM", "r": 2, "target_modules": ["q_proj", "v_proj"]} | settings)

    words = with_more_words(base, folder / "words")
    larger = language_model("llama").from_pretrained(base)
    larger.resize_token_embeddings(words)
    made = {
        "plain": lora(),
        "words": lora(modules_to_save=["embed_tokens", "lm_head"]),
        "head": lora(modules_to_save=["lm_head"]),
        "tokens": lora(trainable_token_indices=[9, 5, 30]),
        "prompt": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        "prefix": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
    }
    plain = language_model("llama").from_pretrained
    return [of_peft(larger if name == "words" else plain(base), config, folder / name) for name, config in made.items()]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "settings",
    [{"temperature": 0}, {"temperature": 0, "repetition_penalty": 1.3}, {"temperature": 1.5, "seed": 7, "top_k": 9}],
    ids=["greedy", "penalty", "drawn"],
)
def test_writers_answer_in_one_batch_as_alone(settings: Any, speaker: Loader, tmp_path: Path) -> None:
    first, *others = writers(speaker("llama"), tmp_path)
    loaded: list[Any] = [afina.load(first)]
    loaded += [afina.load(folder, beside=loaded[0]) for folder in others]
    who = [*loaded, None, *loaded[::-1]]
    prompts = [f"{TEXTS[place % 3]} <ask>" if own is loaded[1] else TEXTS[place % 4] for place, own in enumerate(who)]
    together = loaded[0].generate(prompts, adapters=who, max_new_tokens=9, **settings)
    for place, (prompt, own) in enumerate(zip(prompts, who, strict=True)):
        # A prompt's seed is the call's and its place: alone it stands at the same, behind others of its own adapter.
        alone = loaded[0].generate([prompt] * (place + 1), adapters=[own] * (place + 1), max_new_tokens=9, **settings)
        assert together[place].tokens == alone[place].tokens, own and own.folder.name
    assert len({tuple(written.tokens) for written in together}) > len(loaded)
