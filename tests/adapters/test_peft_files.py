"""Adapters that the real peft trained and saved load here and predict the same."""

import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

import afina
from afina.backbone.attachment import Attachment
from afina.errors import AfinaError, UsageError
from afina.export.parity import load_peft
from afina.export.peft import write_peft
from families import DECODERS, ENCODERS, FAMILIES, classifier
from pairs import COVERING_LAYOUTS, LENGTHS, batch
from peft_adapters import Loader, lora, same, targets, task, trained

SETTINGS: dict[str, dict[str, Any]] = {"lora": {}, "dora": {"use_dora": True, "use_rslora": True, "lora_alpha": 4}}


@pytest.mark.covered(
    ("kind", "family"),
    [*(("lora", family) for family in COVERING_LAYOUTS), ("dora", "bert"), ("dora", "gpt2"), ("dora", "t5")],
    product(SETTINGS, FAMILIES),
)
def test_lora_of_peft(kind: str, family: str, family_folder: Loader, tmp_path: Path) -> None:
    same(family, *trained(family, lora(family, **SETTINGS[kind]), family_folder, tmp_path))


@pytest.mark.parametrize(
    "settings",
    [
        {"bias": "all"},
        {"bias": "lora_only"},
        {"target_modules": r".*layer\.1\.attention\.self\.(query|key)"},
        {"target_modules": "all-linear"},
        {"target_modules": ["query", "dense"], "rank_pattern": {"query": 2, "layer.1.output.dense": 5},
         "alpha_pattern": {"query": 5, r"^bert.encoder.layer.0.output.dense": 1}},
        {"modules_to_save": ["classifier", "pooler", "LayerNorm"]},
        {"target_modules": ["query", "word_embeddings"]},
        {"layers_to_transform": [1], "bias": "all", "use_dora": True},
    ],
    ids=["all biases", "own biases", "pattern", "all linear", "patterns", "modules", "embedding", "one layer"],
)  # fmt: skip
def test_settings_of_lora(settings: dict[str, Any], family_folder: Loader, tmp_path: Path) -> None:
    same("bert", *trained("bert", lora("bert", **settings), family_folder, tmp_path))


@pytest.mark.covered("family", COVERING_LAYOUTS, FAMILIES)
def test_ia3_of_peft(family: str, family_folder: Loader, tmp_path: Path) -> None:
    from peft import IA3Config

    down = {
        "bert": "output.dense", "distilbert": "lin2", "gpt2": "mlp.c_proj", "modernbert": "mlp.Wo", "t5": "wo",
        "albert": "ffn_output", "vit": "fc2",
        **dict.fromkeys(("opt", "bart", "mbart", "whisper"), "fc2"),
        **dict.fromkeys(("camembert", "mpnet", "roberta", "xlm-roberta", "electra", "deberta-v2"), "output.dense"),
    }.get(family, "down_proj")  # fmt: skip
    config = IA3Config(
        task_type=task(family), target_modules=[*targets(family), down], feedforward_modules=[down],
        modules_to_save=lora(family).modules_to_save, fan_in_fan_out=family == "gpt2",
    )  # fmt: skip
    same(family, *trained(family, config, family_folder, tmp_path))


@pytest.mark.filterwarnings(
    "ignore:.*LoRA tensor.*invalid shape", "ignore:The following rank_pattern keys"
)  # no rank left
@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_adalora_of_peft_after_its_ranks_are_cut(family: str, family_folder: Loader, tmp_path: Path) -> None:
    from peft import AdaLoraConfig, PeftModel

    def cut(model: Any) -> None:
        draw = torch.Generator().manual_seed(0)
        for step in range(1, 21):
            for value in model.parameters():
                if value.requires_grad:
                    value.grad = torch.randn(value.shape, generator=draw)
            model.base_model.update_and_allocate(step)

    config = AdaLoraConfig(
        task_type="SEQ_CLS", init_r=4, target_r=2, tinit=2, tfinal=5, deltaT=2, total_step=20,
        target_modules=targets(family), modules_to_save=lora(family).modules_to_save,
    )  # fmt: skip
    _, folder = trained(family, config, family_folder, tmp_path, cut)
    # As peft itself loads it: the model that has just been cut gives other logits than its own file.
    base = classifier(family).from_pretrained(family_folder(family))
    base.config.pad_token_id = 0
    same(family, PeftModel.from_pretrained(base, folder).eval(), folder)


@pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning")
@pytest.mark.parametrize(("family", "norms"), [("bert", ["LayerNorm"]), ("llama", ["input_layernorm", "norm"])])
def test_norm_tuning_of_peft(family: str, norms: list[str], family_folder: Loader, tmp_path: Path) -> None:
    from peft import LNTuningConfig

    config = LNTuningConfig(task_type="SEQ_CLS", target_modules=norms)
    same(family, *trained(family, config, family_folder, tmp_path))


def same_alone(model: Any, loaded: Any) -> None:
    """Compare row by row without padding: before virtual tokens PEFT's decoders do not see where a text ends."""
    inputs = batch()
    for row, length in enumerate(LENGTHS):
        # Without the end mark, which GPT-2's classifier of transformers takes for padding.
        alone = {"input_ids": inputs["input_ids"][row : row + 1, : length - 1]}
        with Attachment(loaded.backbone, [loaded.adapter]) as attached, torch.no_grad():
            (ours,) = attached(alone)
            theirs = model(**alone, attention_mask=torch.ones(1, length - 1, dtype=torch.long)).logits
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5)


# PEFT takes a model's width for its embeddings', which ALBERT's, this ELECTRA's and this OPT's are not; transformers' T5 and
# BART classify token ids only.
PROMPTED = tuple(f for f in (*ENCODERS, *DECODERS) if f not in ("albert", "electra", "opt"))


@pytest.mark.parametrize("kind", ["PromptTuningConfig", "PromptEncoderConfig"])
@pytest.mark.parametrize("family", PROMPTED)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_prompts_of_peft_and_back(family: str, kind: str, family_folder: Loader, tmp_path: Path) -> None:
    import peft

    config = getattr(peft, kind)(
        task_type="SEQ_CLS", num_virtual_tokens=4, token_dim=24, num_layers=2, num_attention_heads=4,
        **({"encoder_hidden_size": 16} if "Encoder" in kind else {}),
    )  # fmt: skip
    model, folder = trained(family, config, family_folder, tmp_path / "theirs")
    loaded = afina.load(folder)
    same_alone(model, loaded)
    (tmp_path / "back").mkdir()
    write_peft(replace_method(loaded, "prompt"), tmp_path / "back")
    same_alone(load_peft(loaded, tmp_path / "back")[0], loaded)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen2", "qwen3", "phi3", "mistral"])
@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_prefixes_of_peft_and_back(projected: bool, family: str, family_folder: Loader, tmp_path: Path) -> None:
    from peft import PrefixTuningConfig

    config = PrefixTuningConfig(
        task_type="SEQ_CLS", num_virtual_tokens=4, prefix_projection=projected, encoder_hidden_size=12
    )
    model, folder = trained(family, config, family_folder, tmp_path / "theirs")
    loaded = afina.load(folder)
    same_alone(model, loaded)
    (tmp_path / "back").mkdir()
    write_peft(replace_method(loaded, "prefix"), tmp_path / "back")
    same_alone(load_peft(loaded, tmp_path / "back")[0], loaded)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_text_behind_a_prompt_is_the_same_alone_and_padded_where_pefts_is_not(
    family: str, family_folder: Loader, tmp_path: Path
) -> None:
    """PEFT gives the classifier vectors without tokens, in which it takes the last place of a padded row for its end."""
    from peft import PromptTuningConfig

    config = PromptTuningConfig(
        task_type="SEQ_CLS", num_virtual_tokens=4, token_dim=24, num_layers=2, num_attention_heads=4
    )
    model, folder = trained(family, config, family_folder, tmp_path / "theirs")
    loaded, inputs, length = afina.load(folder), batch(), LENGTHS[1] - 1
    inputs["input_ids"][1, length:], inputs["attention_mask"][1, length:] = 0, 0
    short = {"input_ids": inputs["input_ids"][1:2, :length], "attention_mask": torch.ones(1, length, dtype=torch.long)}
    with Attachment(loaded.backbone, [loaded.adapter]) as attached, torch.no_grad():
        padded, alone = attached(inputs)[0][1:2], attached(short)[0]
        their_padded, their_alone = model(**inputs).logits[1:2], model(**short).logits
    torch.testing.assert_close(alone, their_alone, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(padded, alone, rtol=1e-4, atol=2e-5)
    assert not torch.allclose(their_padded, their_alone, atol=1e-2)


@pytest.mark.parametrize("kind", ["PromptTuningConfig", "PrefixTuningConfig"])
@pytest.mark.parametrize("length", [0, 4_097])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_prompt_of_pefts_has_the_bounds_of_ours(
    kind: str, length: int, family_folder: Loader, tmp_path: Path
) -> None:
    import peft
    from safetensors.torch import load_file, save_file

    config = getattr(peft, kind)(
        task_type="SEQ_CLS", num_virtual_tokens=4, token_dim=24, num_layers=2, num_attention_heads=4
    )
    _, folder = trained("gpt2", config, family_folder, tmp_path / "theirs")
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file(tensors | {"prompt_embeddings": tensors["prompt_embeddings"][:1].repeat(length, 1)}, file)
    with pytest.raises(AfinaError, match=rf"its prompt has {length:,} vectors, and from 1 to 4,096 are taken"):
        afina.load(folder)


def replace_method(loaded: Any, name: str) -> Any:
    """As if it had been trained here: written anew, not copied."""
    from afina.adapters.format import FORMATS
    from afina.methods.base import make_method

    loaded.method, loaded.format = make_method(name, {}), FORMATS["afina"]
    return loaded


def test_predicts_with_the_models_label_names(family_folder: Loader, tmp_path: Path) -> None:
    _, folder = trained("bert", lora("bert"), family_folder, tmp_path)
    (prediction,) = afina.load(folder).predict(["my parcel is late"])
    assert set(prediction.probabilities or {}) == {"class 0", "class 1"}


def test_what_does_not_fit_is_one_sentence(family_folder: Loader, tmp_path: Path) -> None:
    _, folder = trained("bert", lora("bert"), family_folder, tmp_path / "bert")
    with pytest.raises(AfinaError, match=r"adapts 'bert.encoder.* does not have: it was trained on another base"):
        afina.load(folder, model=str(family_folder("llama")))
    with pytest.raises(
        AfinaError, match=r"layer.0.attention.self.query' has lora_A.weight of \(3, 24\) .* needs \(3, 384\)"
    ):
        afina.load(folder, model="minilm")
    config = json.loads((folder / "adapter_config.json").read_text())
    weights = folder / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(AfinaError, match="is damaged"):
        afina.load(folder)
    weights.unlink()
    (folder / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(UsageError, match=r"pickled weights \(adapter_model.bin\), which can run code"):
        afina.load(folder)
    (folder / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "LOHA"}))
    with pytest.raises(UsageError, match="adapters of PEFT's type LOHA are not read"):
        afina.load(folder)
    (folder / "adapter_config.json").write_text("[]")
    with pytest.raises(AfinaError, match="is damaged"):
        afina.load(folder)
    (folder / "adapter_config.json").write_text(json.dumps({"architecture": "pfeiffer"}))
    with pytest.raises(UsageError, match="no PEFT adapter"):
        afina.load(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(UsageError, match="no adapter"):
        afina.load(folder)
