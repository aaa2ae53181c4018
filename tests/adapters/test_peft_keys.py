"""Every key of an adapter made elsewhere is computed as PEFT does, or refused by its name."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import afina
from afina.adapters.peft_keys import forms, keys_of, keys_table, read_peft_config
from afina.backbone.attachment import Attachment
from afina.backbone.flight import Pass, Read
from afina.errors import AfinaError, UsageError
from families import language_model
from peft_writers import CASES, IDS, QV, Speaker, ours, reference, saved, settings_of, stirred

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "adapters_from_elsewhere.md"


KINDS = tuple(forms())


def configuration(kind: str) -> Any:
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING

    return PEFT_TYPE_TO_CONFIG_MAPPING[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_peft_has_a_meaning_here(kind: str) -> None:
    """A new release with a new key fails here, until its meaning is in the table."""
    fields = {field.name: field for field in dataclasses.fields(configuration(kind))}
    known = keys_of(kind)
    assert set(fields) <= set(known)
    for name, key in known.items():
        if key.meaning != "refused" or name not in fields:
            continue
        field = fields[name]
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        assert default == key.plain[0], f"{name} is refused at PEFT's own default {default!r}"


def test_no_key_has_two_meanings_and_the_docs_have_the_table() -> None:
    for kind, own in forms().items():
        assert all(len(keys_of(kind)) == len(form.keys) for form in own), kind
    assert keys_table() in DOCS.read_text(encoding="utf-8")


def written(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    plain = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "target_modules": QV}
    (folder / "adapter_config.json").write_text(json.dumps(plain | changes))
    return folder


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in KINDS for name, key in keys_of(kind).items() if key.meaning == "refused"],
)
def test_a_key_that_is_not_computed_is_refused_by_name(kind: str, name: str, tmp_path: Path) -> None:
    first = {"init_r": 4} if kind == "ADALORA" else {}
    folder = written(tmp_path, peft_type=kind, **first, **{name: [1]})
    with pytest.raises(UsageError, match=rf"adapter_config.json: {name} is set: .*\.$"):
        read_peft_config(folder)
    read_peft_config(written(tmp_path, peft_type=kind, **first, **{name: keys_of(kind)[name].plain[0]}))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"some_future_key": {"a": [1]}}, "the key 'some_future_key' is set and not known here, .* take it out"),
        ({"enable_lora": [True, False]}, "the key 'enable_lora' is set"),
        ({"init_lora_weights": "pissa_niter_4"}, "drawn at random .*path_initial_model_for_weight_conversion"),
        ({"init_lora_weights": "corda"}, "init_lora_weights is 'corda'"),
        ({"init_lora_weights": "lora_ga"}, "init_lora_weights is 'lora_ga'"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights is 'loftq'"),
        ({"lora_alpha": "8"}, "'lora_alpha' is 8, and should be a valid number"),
        ({"lora_alpha": True}, "'lora_alpha' is True, and should be a valid number"),
        ({"lora_alpha": float("nan")}, "'lora_alpha' is nan, and should be a finite number"),
        ({"lora_alpha": 10**400}, "'lora_alpha' is 1000.*, and"),
        ({"alpha_pattern": {"q": None}}, "'alpha_pattern' is {'q': None}, and should be a valid number"),
        ({"alpha_pattern": ["q"]}, "'alpha_pattern' is .*, and should be a valid dictionary"),
        ({"use_dora": 1}, "'use_dora' is 1, and should be a valid boolean"),
        ({"trainable_token_indices": [1.5]}, "'trainable_token_indices' is"),
        ({"task_type": 3}, "'task_type' is 3, and should be a valid string"),
        ({"peft_type": "LOHA"}, "PEFT's type LOHA are not read"),
        ({"peft_type": [1]}, r"PEFT's type \[1\] are not read"),
        ({"base_model_name_or_path": "x" * 200_000}, "'base_model_name_or_path' is xxx.*, and is longer"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_are_one_sentence(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(AfinaError, match=sentence) as error:
        read_peft_config(written(tmp_path, **changes))
    assert len(str(error.value)) < 500 + len(str(tmp_path))


def test_keys_that_say_nothing_are_taken(tmp_path: Path) -> None:
    quiet: dict[str, Any] = {
        "enable_lora": None, "merge_weights": False, "unsloth_fixed": True, "later_list": [], "later_flag": False,
        "init_lora_weights": "gaussian", "lora_alpha": 0.5,
    }  # fmt: skip
    assert read_peft_config(written(tmp_path, **quiet))["lora_alpha"] == 0.5


@pytest.mark.parametrize(
    "text", ["", "[1]", "null", "{", '{"r": 1, "r": 2}', '{"r": ' + "9" * 5000 + "}", "[" * 99_999]
)
def test_a_damaged_file_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(AfinaError, match=r"adapter_config.json is damaged.*; save the adapter again\.$"):
        read_peft_config(tmp_path)
    (tmp_path / "adapter_config.json").write_bytes(b'{"peft_type": "\xff"}')
    with pytest.raises(AfinaError, match=r"adapter_config.json is damaged"):
        read_peft_config(tmp_path)


TIED = ("plain", "tokens", "embedding", "embedding, both", "embedding saved", "embedding saved, both", "head saved")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("case", "tied"), [*((case, False) for case in CASES), *((case, True) for case in TIED)])
def test_a_writer_that_peft_trained_says_the_same(case: str, tied: bool, speaker: Speaker, tmp_path: Path) -> None:
    base, folder = saved("llama", speaker, tmp_path / "adapter", tied, **settings_of(case))
    loaded = afina.load(folder)
    before = {name: value.clone() for name, value in loaded.backbone.model.state_dict().items()}
    theirs = reference("llama", base, folder, IDS)
    torch.testing.assert_close(ours(loaded, IDS), theirs, rtol=1e-4, atol=5e-5)
    assert all(torch.equal(value, before[name]) for name, value in loaded.backbone.model.state_dict().items())
    # What is written token by token comes from the same language head.
    prompt = loaded.backbone.tokenizer("my parcel")["input_ids"]
    step = reference("llama", base, folder, torch.tensor([prompt]))[0, -1].argmax()
    assert loaded.generate(["my parcel"], max_new_tokens=1, temperature=0)[0].tokens in ([int(step)], [])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("family", ["gpt2", "t5", "gemma3_text"])
def test_tokens_of_their_own_at_other_embeddings(family: str, speaker: Speaker, tmp_path: Path) -> None:
    """GPT-2 shares its embedding with the language head, T5 its with both sides, Gemma scales what comes out."""
    targets = {"gpt2": ["c_attn"], "t5": ["q"]}.get(family, ["q_proj"])
    name = {"gpt2": "wte", "t5": "shared"}.get(family, "embed_tokens")
    kind = "SEQ_2_SEQ_LM" if family == "t5" else "CAUSAL_LM"
    for settings in ({"trainable_token_indices": {name: [9, 5]}}, {"target_modules": [*targets, name]}):
        if family == "t5" and "target_modules" in settings:
            continue  # PEFT itself does not adapt an embedding that two stacks share
        folder = tmp_path / f"{family}-{'-'.join(settings)}"
        base, _ = saved(
            family,
            speaker,
            folder,
            task_type=kind,
            fan_in_fan_out=family == "gpt2",
            **{"target_modules": targets} | settings,
        )
        loaded = afina.load(folder)
        if family == "t5":
            assert np_close(loaded, reference_t5(base, folder))
            continue
        torch.testing.assert_close(ours(loaded, IDS), reference(family, base, folder, IDS), rtol=1e-4, atol=5e-5)


def reference_t5(base: Path, folder: Path) -> torch.Tensor:
    from peft import PeftModel

    model = PeftModel.from_pretrained(language_model("t5").from_pretrained(base), str(folder)).eval()
    with torch.no_grad():
        return model(input_ids=IDS, decoder_input_ids=IDS[:, :3]).logits


def np_close(loaded: Any, theirs: torch.Tensor) -> bool:
    with Attachment(loaded.backbone, [loaded.adapter]) as attached, torch.no_grad():
        one = Pass([slice(0, len(IDS))], Read(None, IDS.shape[1]), Read(None, 3))
        states = attached.run(one, {"input_ids": IDS, "decoder_input_ids": IDS[:, :3]}, {}).last_hidden_state
        mine = loaded.adapter.head.language(states.flatten(0, 1)).view(*theirs.shape)
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=5e-5)
    return True


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tokens_of_a_shared_embedding_stand_under_lora_on_the_head(speaker: Speaker, tmp_path: Path) -> None:
    shared = {
        "fan_in_fan_out": True,
        "trainable_token_indices": {"wte": [9, 5]},
        "target_modules": ["c_attn", "lm_head"],
    }
    base, folder = saved("gpt2", speaker, tmp_path / "both", **shared)
    torch.testing.assert_close(
        ours(afina.load(folder), IDS), reference("gpt2", base, folder, IDS), rtol=1e-4, atol=5e-5
    )
    _, folder = saved("gpt2", speaker, tmp_path / "dora", use_dora=True, **shared)
    with pytest.raises(UsageError, match=r"tokens of 'wte', which the language head shares, .* are not read\.$"):
        afina.load(folder)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["PromptTuningConfig", "PromptEncoderConfig"])
def test_every_token_behind_a_prompt_is_scored_as_peft_does(kind: str, speaker: Speaker, tmp_path: Path) -> None:
    """The first one too, whose place the prompt's own first has only where a classifier looks at it."""
    import peft

    settings = {"encoder_hidden_size": 8} if "Encoder" in kind else {}
    config = getattr(peft, kind)(task_type="CAUSAL_LM", num_virtual_tokens=3, **settings)
    base = speaker("llama")
    model = peft.get_peft_model(language_model("llama").from_pretrained(base), config)
    stirred(model).save_pretrained(tmp_path)
    theirs = reference("llama", base, tmp_path, IDS)[:, 3:]
    torch.testing.assert_close(ours(afina.load(tmp_path), IDS), theirs, rtol=1e-4, atol=5e-5)
