"""Model folders that are damaged, odd or somebody else's: one sentence with file and key, never a traceback."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import afina
from afina.backbone.load import load_backbone, load_tokenizer, read_config
from afina.backbone.look import look_over
from afina.backbone.shapes import read_shape, shape_backbone
from afina.errors import AfinaError, UsageError
from afina.study.prepare import prepare

Loader = Callable[..., Path]


def copy(folder: Path, to: Path, **config: Any) -> Path:
    """Copy a model's folder with other keys in its config.json; those of None are left out."""
    shutil.copytree(folder, to)
    stored = json.loads((to / "config.json").read_text()) | config
    (to / "config.json").write_text(json.dumps({key: value for key, value in stored.items() if value is not None}))
    return to


@pytest.mark.parametrize(
    ("family", "key", "value", "said"),
    [
        ("bert", "hidden_size", "wide", r"hidden_size in its config\.json is 'wide', and should be int"),
        ("distilbert", "dim", -24, r"dim in its config\.json is -24: should be greater than or equal to 1"),
        (
            "bert",
            "num_attention_heads",
            7,
            r"num_attention_heads in its config\.json is 7, which does not divide its hidden_",
        ),
        ("llama", "num_attention_heads", 7, r"not a multiple of the number of attention heads \(7\)"),
        (
            "llama",
            "num_key_value_heads",
            3,
            r"num_key_value_heads in its config\.json is 3, which does not divide its 4 heads",
        ),
        ("gpt2", "n_layer", 0, r"n_layer in its config\.json is 0: should be greater than or equal to 1"),
        ("bert", "max_position_embeddings", 0, r"max_position_embeddings in its config\.json is 0: should be"),
        (
            "roberta",
            "max_position_embeddings",
            2,
            r"max_position_embeddings in its config\.json is 2: no room for a text",
        ),
        (
            "llama",
            "num_hidden_layers",
            10**9,
            r"is 1,000,000,000: at least 2,304 billion weights, and more than 10,000 layers",
        ),
        (
            "bert",
            "vocab_size",
            10**3000,
            r"vocab_size in its config\.json is a number of 9966 bits: should be less than",
        ),
        ("bert", "hidden_act", "nonsense", r"The model in .* cannot be loaded \(KeyError: 'nonsense'\)"),
        ("bert", "model_type", "zork", r"knows no architecture 'zork'"),
        ("bert", "model_type", 5, r"config\.json: model_type should name the architecture, and is 5"),
        ("bert", "model_type", None, r"config\.json: model_type should name the architecture, and is missing"),
    ],
)
def test_a_configuration_that_cannot_be_is_one_sentence_with_its_key(
    family: str, key: str, value: Any, said: str, family_folder: Loader, tmp_path: Path
) -> None:
    folder = str(copy(family_folder(family), tmp_path / "base", **{key: value}))
    for read in (look_over, load_backbone, lambda name: shape_backbone(read_shape(name))):
        with pytest.raises(AfinaError, match=said) as caught:
            read(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("family", "sizes", "said"),
    [
        (
            "bert",
            {"hidden_size": 1 << 20, "num_hidden_layers": 1000},
            r"1,000 layers, 1,048,576 wide, .* at least 1,09",
        ),
        (
            "llama",
            {"hidden_size": 1 << 20, "num_hidden_layers": 1000},
            "give a smaller model",
        ),
        ("gpt2", {"vocab_size": 1 << 31, "n_embd": 1 << 12}, r"2,147,483,648 words\) its weights take at least 17,59"),
    ],
)
def test_a_model_larger_than_the_memory_is_refused_before_it_is_built(
    family: str, sizes: dict[str, int], said: str, family_folder: Loader, tmp_path: Path
) -> None:
    folder = str(copy(family_folder(family), tmp_path / "base", **sizes))
    for read in (look_over, load_backbone):
        with pytest.raises(UsageError, match=said):
            read(folder)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"model_type": "bert", "hidden_size": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nests too deeply"),
        (b"[1]", "holds no object"),
        (b'{"model_type": "\xff"}', "is not UTF-8"),
        (b"", "is damaged"),
        (b'{"model_type": "bert", "model_type": "gpt2"}', "given twice"),
    ],
)
def test_a_configuration_that_is_no_json_is_one_sentence(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UsageError, match=f"config.json .*{said}"):
        read_config(str(tmp_path))


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model.safetensors", b"", "weights of .* are damaged"),
        ("model.safetensors", b"\xff" * 100, "weights of .* are damaged"),
        ("model.safetensors", None, "weights of .* are damaged"),
        ("tokenizer.json", b"{}", "tokenizer in .* cannot be loaded"),
        ("tokenizer.json", b'{"version":', "tokenizer in .* cannot be loaded"),
        ("tokenizer_config.json", b"[]", "tokenizer in .* cannot be loaded"),
    ],
)
def test_a_damaged_file_of_a_model_is_one_sentence(
    file: str, content: bytes | None, said: str, family_folder: Loader, tmp_path: Path
) -> None:
    folder = copy(family_folder("bert"), tmp_path / "base")
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(AfinaError, match=said):
        load_backbone(str(folder))


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (
            {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}},
            "names part-2.safetensors, which is not there",
        ),
        ({"weight_map": {"a": 5}}, "names 5, which is not there"),
        ([], r"is damaged \(TypeError\)"),
        ({}, r"is damaged \(KeyError\)"),
    ],
)
def test_an_index_of_weights_that_are_not_there_is_one_sentence(
    index: Any, said: str, family_folder: Loader, tmp_path: Path
) -> None:
    folder = copy(family_folder("bert"), tmp_path / "base")
    (folder / "model.safetensors").rename(folder / "part-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match=f"model.safetensors.index.json {said}"):
        look_over(str(folder))


_KEYS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "pad_token_id",
         "max_position_embeddings", "model_type", "hidden_act", "layer_norm_eps", "id2label", "label2id", "problem_type",
         "initializer_range", "type_vocab_size", "dtype", "architectures", "quantization_config")  # fmt: skip
_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 40), st.sampled_from([2**31, 10**400]), st.floats(), st.text(max_size=6),
    st.lists(st.integers(0, 3), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(0, 3), max_size=2),
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(changes=st.dictionaries(st.sampled_from(_KEYS), _VALUES, min_size=1, max_size=3))
def test_any_configuration_is_read_or_refused_in_a_sentence(
    changes: dict[str, Any], family_folder: Loader, tmp_path: Path
) -> None:
    stored = json.loads((family_folder("bert") / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(stored))
    try:
        shape_backbone(read_shape(str(tmp_path)))
    except AfinaError as error:
        assert "\n" not in str(error)


def test_tokens_without_a_vector_are_said_and_refused_where_they_occur(family_folder: Loader, tmp_path: Path) -> None:
    base = copy(family_folder("bert"), tmp_path / "base")
    tokenizer, _ = load_tokenizer(str(base))
    size = len(tokenizer)
    vectors = read_config(str(base)).vocab_size
    tokenizer.add_tokens([f"<filler{place}>" for place in range(vectors - size)])
    tokenizer.add_tokens(["<product>", "<customer>"])
    tokenizer.save_pretrained(base)
    for product, said in (("cat", None), ("<product>", "'<product>' in a train text has none; resize the model's")):
        data = tmp_path / f"{bool(said)}.csv"
        data.write_text("text,label\n" + f"the {product} sat,a\na bad film,b\n" * 20)
        study = afina.Study(tmp_path / str(said), model=str(base), dataset=str(data), methods=["head"], seeds=1)
        if said is None:
            notes = prepare(study.config, study.config.dataset[0], str(base), tmp_path / "out").notes
            assert any(
                f"{vectors + 2:,} tokens, the model vectors for {vectors:,}: texts with <product>, <c" in n
                for n in notes
            )
        else:
            with pytest.raises(
                UsageError, match=f"has {vectors + 2:,} tokens and the model vectors for {vectors:,}: {said}"
            ):
                prepare(study.config, study.config.dataset[0], str(base), tmp_path / "out")
    with pytest.raises(UsageError, match="'<customer>' in a text has none"):
        load_backbone(str(base)).check_tokens(load_tokenizer(str(base))[0]("a <customer>")["input_ids"], "in a text")
    tokenizer.add_special_tokens({"pad_token": "<pad2>"})
    tokenizer.save_pretrained(base)
    with pytest.raises(UsageError, match="'<pad2>' as a mark of its own has none"):
        prepare(study.config, study.config.dataset[0], str(base), tmp_path / "out2")


def test_a_tokenizer_without_an_end_is_said_where_ends_would_be_learned(speaker: Loader, tmp_path: Path) -> None:
    base = copy(speaker("llama"), tmp_path / "base")
    data = tmp_path / "corpus.txt"
    data.write_text("the cat sat on the mat\n" * 10 + "a bad film about science\n" * 10)
    notes = []
    for end in ("</s>", None):
        tokenizer, _ = load_tokenizer(str(base))
        tokenizer.eos_token = end
        tokenizer.save_pretrained(base)
        study = afina.Study(
            tmp_path / "out", model=str(base), dataset=str(data), task="language", methods=["lora"], seeds=1
        )
        notes.append(prepare(study.config, study.config.dataset[0], str(base), tmp_path / f"out {end}").notes)
    assert [any("names no end token: no end is learned" in note for note in own) for own in notes] == [False, True]


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "by the mean of its tokens' states"),
        ({"pooling_mode": "lasttoken"}, "by the last token's state"),
        ({"pooling_mode_mean_tokens": "yes"}, None),
        ([], None),
        (None, None),
    ],
)
def test_a_folder_of_sentence_transformers_says_what_no_classifier_goes_by(
    stored: Any, said: str | None, family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(family_folder("bert"), folder)
    if stored is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(stored))
    notes = [note for note in look_over(str(folder)) if "1_Pooling" in note]
    assert [said in note for note in notes] == ([True] if said else [])
