"""GGUF files that are exported: what was tested, in llama.cpp and in transformers, or nothing."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from afina.adapters.adapter import AdapterRecord, build_adapter, save_adapter
from afina.backbone.gguf_file import read_gguf
from afina.backbone.load import load_backbone, load_tokenizer, read_config
from afina.data.dialogues.messages import Message
from afina.data.templates.chat_template import TEMPLATES
from afina.data.templates.named import make_template
from afina.errors import AfinaError, UsageError
from afina.export.chat import jinja_of, with_template
from afina.export.check import check_export
from afina.export.export import Exported, export_adapter
from afina.export.gguf import file, lora, model
from afina.export.gguf.llama_cpp import LlamaCpp
from afina.export.gguf.modelfile import NO_TEMPLATE, around_of, modelfile, rendered
from afina.export.gguf.settings import form_of, model_header
from afina.export.gguf.vocabulary import vocabulary
from afina.export.opened import open_export
from afina.methods.base import make_method
from exports import chatting, exports_to_try, save_talks, written_alone
from families import configuration
from gguf_files import ARCHITECTURES, save_speaker
from ollama_form import answered_by, read_modelfile

Speakers = Callable[[str], Path]
QUICK = ("llama", "qwen2", "phi3", "gemma2", "gpt2")
"""Heads by pairs, another splitting of words, fused projections, norms with the one that is added, and transposed ones."""


@pytest.fixture(scope="module")
def speakers(tmp_path_factory: pytest.TempPathFactory) -> Speakers:
    """Give the folder of a small language model with a byte-level tokenizer."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = save_speaker(family, tmp_path_factory.mktemp("speakers") / family)
        return made[family]

    return folder


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_talks(tmp_path_factory.mktemp("talks") / "talks.jsonl")


def exported(folder: Path, talks: str, out: Path, to: str = "gguf", **options: Any) -> Exported:
    return export_adapter(folder, to, out=out, data=talks, rows=3, **options)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Take what is written in ways of its own, every architecture for the tables, or those that the table lacks."""
    if metafunc.function is test_an_exported_file_is_the_adapter_in_llama_cpp:
        every = exports_to_try(metafunc.config, [("gguf", "lora", own) for own in QUICK], ARCHITECTURES, ["gguf"])
        metafunc.parametrize("family", [family for _, _, family in every])


@pytest.mark.always
def test_an_exported_file_is_the_adapter_in_llama_cpp(
    family: str, speakers: Speakers, talks: str, tmp_path: Path, record_property: Any
) -> None:
    made = exported(chatting(speakers(family), tmp_path), talks, tmp_path / "out")
    told = dict(made.rows())
    apart = float(told["llama.cpp against transformers on the file"].split()[0])
    assert apart < 1e-4
    record_property("export", ["gguf", family, "lora", "chat", apart])
    assert told["chat template in llama.cpp"] == "equal to the byte in 2 conversations"
    same, _, written, _ = told["written alike, taking the likeliest token"].split()
    assert int(same) >= 15 and int(written) > 20  # of a model of random weights, where much is as likely
    lost, _, moved, *_ = told["lost by rounding to f16, of what the adapter changed"].split()
    assert 0 < float(lost) < 0.1 * float(moved)
    assert {path.name for path in made.folder.iterdir()} == {
        "model.gguf",
        "README.md",
        "Modelfile",
        "afina_export.json",
        "probe.npz",
    }
    config = read_config(str(made.folder / "model.gguf"))
    assert read_gguf(made.folder / "model.gguf").architecture == ARCHITECTURES[family]
    assert config.eos_token_id == 1


@pytest.mark.covered("kind", ["bf16", "q4_0"], ["bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"])
def test_quantised_files_say_what_they_lose(kind: str, talks: str, tmp_path: Path) -> None:
    made = exported(chatting("afina-small", tmp_path), talks, tmp_path / "out", type=kind)
    kinds = read_gguf(made.folder / "model.gguf").kinds
    last = "Q8_0" if kind.startswith("q") else kind.upper()  # what the next token is chosen by
    assert kinds[kind.upper()] > 40 and kinds[last] >= 1 and set(kinds) <= {"F32", kind.upper(), last}
    told = dict(made.rows())
    ours, theirs = (float(part.split()[0].replace(",", "")) for part in told["perplexity"].split(", "))
    assert abs(theirs / ours - 1) < 0.3
    lost, _, moved, *_ = told[f"lost by rounding to {kind}, of what the adapter changed"].split()
    assert 1e-6 < float(lost) < {"bf16": 0.1, "q8_0": 0.1}.get(kind, 1.0) * float(moved)


@pytest.mark.covered(
    ("family", "kind"),
    [("llama", "none"), ("gpt2", "q8_0")],
    product(["llama", "gpt2", "phi3", "gemma2"], ["none", "q8_0"]),
)
def test_an_adapter_alone_is_put_onto_its_base_by_llama_cpp(
    family: str, kind: str, speakers: Speakers, talks: str, tmp_path: Path
) -> None:
    targets = [*(["qkv"] if family == "gpt2" else ["query", "key"]), "ffn_down"]
    folder = chatting(speakers(family), tmp_path, "adalora" if family == "llama" else "lora", targets=targets)
    made = exported(folder, talks, tmp_path / "out", "gguf-lora", base_type=kind, rank=64)
    assert made.loss is not None and max(made.loss.values()) < 1e-4
    assert made.parity.equal
    told = dict(made.rows())
    assert float(told["llama.cpp against transformers on the file"].split()[0]) < (1e-4 if kind == "none" else 0.01)
    assert float(told["what the adapter changes of its base"].split()[0]) > 0.003
    files = {path.name for path in made.folder.iterdir()} - {"base.gguf" if kind != "none" else ""}
    assert files == {"adapter.gguf", "Modelfile", "README.md", "afina_export.json", "probe.npz"}
    found = check_export(made.folder)  # on its base, which is made anew where it is not there
    assert found.difference < 1e-4 and found.from_adapter < (0.05 if kind == "none" else 0.5)
    assert "ADAPTER ./adapter.gguf" in (made.folder / "Modelfile").read_text()
    low = exported(folder, talks, tmp_path / "low", "gguf-lora", rank=1)
    assert low.loss is not None and 0.05 < max(low.loss.values()) < 1


def test_sentence_pieces_are_the_same_tokens_in_llama_cpp(shared: Path, talks: str, tmp_path: Path) -> None:
    base = shared / "data" / "stories260k"
    made = exported(chatting(base, tmp_path, template="plain"), talks, tmp_path / "out")
    with LlamaCpp(made.folder / "model.gguf", context=256) as cpp:
        theirs = load_tokenizer(str(base))[0]
        for text in ("Once upon a time", "  two  spaces\r\n", "", "123 \U0001f642 北京"):
            assert cpp.tokens(text) == theirs(text)["input_ids"]
        assert cpp.tokens("a")[0] == theirs.bos_token_id


def merging_digits(folder: Path) -> Path:
    """Save a small Llama whose vocabulary has tokens of several digits and of several spaces, as GPT-2's has."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    texts = [f"{number} lamps cost {number * 37}    or {number}!?" for number in range(400)]
    inner.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=700, initial_alphabet=letters, show_progress=False))
    save_speaker("llama", folder, vocab_size=len(load_tokenizer("afina-small")[0]))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<|end|>", pad_token="<|pad|>",
        chat_template=load_tokenizer("afina-small")[0].chat_template,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    return folder


# -- planted faults: each is found, and nothing stands there


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("scale", "merged, logits part by"),
        ("rows", "read back by transformers, logits part by"),
        ("swapped", "read back by transformers, logits part by"),
        ("template", "llama.cpp writes a conversation as"),
        ("splits", "llama.cpp makes the tokens"),
        ("end", "llama.cpp ends texts at"),
        ("begin", "llama.cpp makes the tokens"),
        ("theta", "llama.cpp parts from transformers|read back by transformers"),
    ],
)
def test_a_planted_fault_is_refused(
    fault: str, words: str, talks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = merging_digits(tmp_path / "base") if fault == "splits" else "afina-small"
    folder = chatting(base, tmp_path, targets=["query", "key", "ffn_down"])
    written, spoken, kept = model.write_file, model.settings_of, file.as_gguf

    def write(path: Any, form: Any, own: Any, kind: Any, settings: Any, tensors: Any) -> None:
        if fault == "swapped":
            layers = own.model.layers
            layers[0].mlp, layers[1].mlp = layers[1].mlp, layers[0].mlp
        written(path, form, own, kind, {**settings, **changed}, tensors)

    def settings(*given: Any) -> dict[str, Any]:
        found = spoken(*given)
        if fault == "template":
            del found["tokenizer.chat_template"]
        return found

    changed: dict[str, Any] = {
        "splits": {"tokenizer.ggml.pre": "llama-bpe"}, "end": {"tokenizer.ggml.eos_token_id": 9},
        "begin": {"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": 3},
        "theta": {"llama.rope.freq_base": 5000.0},
    }.get(fault, {})  # fmt: skip
    monkeypatch.setattr(model, "write_file", write)
    monkeypatch.setattr(model, "settings_of", settings)
    if fault == "rows":
        monkeypatch.setattr(file, "as_gguf", lambda row, name, value, config: value)
    if fault == "scale":
        from afina.export import merge

        def half(module: Any, site: Any, branch: Any, real: Any = merge.fold_into) -> None:
            branch.scale = branch.scale / 2
            real(module, site, branch)
            branch.scale = branch.scale * 2

        monkeypatch.setattr(merge, "fold_into", half)
    assert kept is not None
    with pytest.raises(AfinaError, match=f"What was exported is not what was tested: .*({words})"):
        exported(folder, talks, tmp_path / "out", type="f32")
    assert {path.name for path in tmp_path.iterdir()} <= {"adapter", "base"}


@pytest.mark.parametrize("fault", ["scale", "rows"])
def test_a_fault_of_the_adapter_alone_is_refused(
    fault: str, talks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half the scale, and rows of the query in transformers' order, are each seen before the file stands."""
    if fault == "scale":
        from gguf import GGUFWriter

        written = GGUFWriter.add_float32
        halved = {"adapter.lora.alpha": 0.5}
        monkeypatch.setattr(
            GGUFWriter, "add_float32", lambda own, key, value: written(own, key, value * halved.get(key, 1.0))
        )
    else:
        monkeypatch.setattr(lora, "as_gguf", lambda row, name, value, config, transposed=True: value)
    folder = chatting("afina-small", tmp_path, targets=["query", "key"])
    with pytest.raises(AfinaError, match="What was exported is not what was tested: logits part by"):
        exported(folder, talks, tmp_path / "out", "gguf-lora")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


_IN_LLAMA_CPP = """
import json, sys
import xllamacpp

given = xllamacpp.CommonParams()
given.model.path, given.n_ctx, given.verbosity, given.warmup = sys.argv[1], 128, -1, False
answer = xllamacpp.Server(given).handle_completions({"prompt": sys.argv[2], "n_predict": 8, "temperature": 0})
print("\\n" + (answer if isinstance(answer, str) else json.dumps(answer)))
"""


def test_a_file_is_looked_at_again_at_any_time(talks: str, tmp_path: Path) -> None:
    made = exported(chatting("afina-small", tmp_path), talks, tmp_path / "out", type="q8_0")
    (tmp_path / "alone.py").write_text(_IN_LLAMA_CPP)
    said = written_alone(tmp_path / "alone.py", str(made.folder / "model.gguf"), "Bees make")
    assert json.loads(said.splitlines()[-1])["choices"][0]["text"]
    found = check_export(made.folder)
    assert found.runtime.startswith("llama.cpp 20") and found.batches == 4
    assert found.difference < 1e-3 < found.from_adapter < 1  # of which llama.cpp rounds activations too
    session = open_export(made.folder).session
    prompt = load_tokenizer("afina-small")[0]("Bees make")["input_ids"]
    following = session.next_logits(prompt)
    assert following.shape == (len(prompt), 2560) and session.greedy(prompt, 1, []) == [int(following[-1].argmax())]
    with pytest.raises(UsageError, match=r"writes \(task: chat\); it has no labels"):
        open_export(made.folder).predict(["a"])
    again = bytearray((made.folder / "model.gguf").read_bytes())
    again[-1000] ^= 255
    (made.folder / "model.gguf").write_bytes(again)
    with pytest.raises(AfinaError, match=r"is damaged: model\.gguf is not what was written"):
        check_export(made.folder)


# -- what is refused, in one sentence and before anything is written


def refused(folder: Path, talks: str, tmp_path: Path, words: str, to: str = "gguf", **options: Any) -> None:
    with pytest.raises(UsageError, match=words):
        exported(folder, talks, tmp_path / "out", to, **options)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_what_llama_cpp_could_not_run_is_refused_before_the_base_is_loaded(
    speakers: Speakers, family_folder: Speakers, talks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    biased = chatting(speakers("qwen2"), tmp_path / "bias", "bitfit")
    refused(biased, talks, tmp_path, "bitfit (changes|adds)", "gguf-lora")  # which its weights say

    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("the base was loaded")

    monkeypatch.setattr("afina.export.export.load", load)
    small = chatting("afina-small", tmp_path)
    refused(small, talks, tmp_path, "K-quants, which llama.cpp's own tool .*llama-quantize model.gguf", type="q4_k_m")
    refused(small, talks, tmp_path, "--type is one of f16, .*did you mean 'q8_0'", type="q8")
    refused(small, talks, tmp_path, "--base-type is one of", "gguf-lora", base_type="int8")
    prefix = chatting("afina-small", tmp_path / "prefix", "prefix")
    refused(prefix, talks, tmp_path, "prefix has no merged form, which --to gguf writes")
    refused(prefix, talks, tmp_path, "prefix has no low-rank form", "gguf-lora")
    task = {"name": "classification", "label_names": ["no", "yes"]}
    own = make_method("lora", {}, {"rank": 3})
    for family, words in {"llama": "is for classification and writes no text", "bert": "is for classification"}.items():
        backbone = load_backbone(str(family_folder(family)))
        record = AdapterRecord(
            model=str(family_folder(family)), method="lora", settings=own.settings(), max_length=60, precision="fp32",
            task=task, seed=0, total_steps=10,
        )  # fmt: skip
        save_adapter(tmp_path / family, build_adapter(own, backbone, outputs=2, seed=0), backbone, record)
        refused(tmp_path / family, talks, tmp_path, words)


def test_settings_that_llama_cpp_takes_otherwise_are_refused(speakers: Speakers) -> None:
    def header(family: str, **changes: Any) -> dict[str, Any]:
        config = read_config(str(speakers(family)))
        for key, value in changes.items():
            setattr(config, key, value)
        shapes = {"model.embed_tokens.weight": (config.vocab_size, config.hidden_size)}
        return model_header(form_of(config), config, shapes | {"lm_head.weight": shapes["model.embed_tokens.weight"]})[
            0
        ]

    assert header("llama")["llama.rope.freq_base"] == 10_000
    for changes, words in (
        ({"hidden_act": "relu"}, "its hidden_act is 'relu', and llama.cpp would have 'silu'"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4}}, "scales positions by 'yarn'"),
    ):
        with pytest.raises(UsageError, match=words):
            header("llama", **changes)
    with pytest.raises(UsageError, match=r"its sliding_window is 16, and llama\.cpp would have None"):
        header("mistral", sliding_window=16)
    with pytest.raises(UsageError, match="its query_pre_attn_scalar"):
        header("gemma2", query_pre_attn_scalar=13)
    for family in ("bert", "opt", "t5", "qwen3_moe"):
        with pytest.raises(UsageError, match=f"A {family} model cannot be written as GGUF; gemma2, .* qwen3 can"):
            form_of(configuration(family))
    linear = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}
    assert header("llama", rope_parameters=linear)["llama.rope.scaling.factor"] == 4.0


def test_tokenizers_that_llama_cpp_reads_otherwise_are_refused() -> None:
    from tokenizers import Regex, pre_tokenizers

    tokenizer, _ = load_tokenizer("afina-small")
    pieces = [pre_tokenizers.Split(Regex("[aeiou]"), behavior="isolated"), pre_tokenizers.ByteLevel(use_regex=False)]
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(pieces)
    with pytest.raises(UsageError, match=r"none of the ways that are known .*\(gpt-2, .*qwen2.*, so that llama.cpp"):
        vocabulary(tokenizer, len(tokenizer), [1], "llama")
    words = load_tokenizer("minilm")[0]
    with pytest.raises(UsageError, match="of the kind WordPiece; as GGUF byte-level BPE"):
        vocabulary(words, len(words), [1], "llama")
    with pytest.raises(UsageError, match="2,560 tokens and its embedding 2,000 rows"):
        vocabulary(load_tokenizer("afina-small")[0], 2000, [1], "llama")
    more = vocabulary(load_tokenizer("afina-small")[0], 2600, [1], "llama").settings
    assert more["tokenizer.ggml.tokens"][-1] == "[PAD2599]" and more["tokenizer.ggml.token_type"][-1] == 5
    assert more["tokenizer.ggml.pre"] == "smollm"


def test_a_full_disk_and_a_missing_llama_cpp_are_said(
    talks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = chatting("afina-small", tmp_path)
    with monkeypatch.context() as patch:
        for place in ("judge", "llama_cpp"):
            patch.setattr(f"afina.export.gguf.{place}.llama_cpp_there", lambda: False)
        made = exported(folder, talks, tmp_path / "without")
        assert any("xllamacpp is not installed" in note for note in made.notes)
        assert "llama.cpp against transformers on the file" not in dict(made.rows())
        assert {path.name for path in made.folder.iterdir()} == {"model.gguf", "Modelfile", "README.md"}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gguf.GGUFWriter.write_tensor_data", full)
    with pytest.raises(AfinaError, match=r"model.gguf cannot be written \(No space left on device\); make room there"):
        exported(folder, talks, tmp_path / "full")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"To export to gguf, gguf has to be there: pip install 'afina\[gguf\]'"):
        exported(folder, talks, tmp_path / "full")
    assert {path.name for path in tmp_path.iterdir()} == {"adapter", "without"}


# -- templates


@pytest.mark.parametrize("merges", [False, True])
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_of_ours_is_the_same_in_jinja_and_in_a_modelfile(name: str, merges: bool) -> None:
    tokenizer, _ = load_tokenizer("afina-small")
    template = make_template(name, tokenizer, merge_system=merges)
    source = jinja_of(template)
    specials = {key: str(value) for key, value in tokenizer.special_tokens_map.items() if value}
    talks = [[("user", "it's {{ x }}\n")], [("system", "Be brief."), ("user", "q"), ("assistant", "a"), ("user", "z")]]
    around = around_of(source, specials)
    assert (around is None) == merges
    for talk in talks:
        given = [{"role": role, "content": content} for role, content in talk]
        whole = template.prompt([Message(*turn) for turn in talk])
        assert rendered(source, specials, given) == whole
        assert (
            tokenizer.apply_chat_template(given, chat_template=source, tokenize=False, add_generation_prompt=True)
            == whole
        )
        if around is not None:
            assert around.text(given) == whole
    text = modelfile(
        "m.gguf", adapter=None, source=source, specials=specials, begins=False, stops=["<|end|>"], context=99
    )
    assert ("TEMPLATE" in text) != merges and (NO_TEMPLATE in text) == merges
    assert text.endswith('PARAMETER stop "<|end|>"\nPARAMETER num_ctx 99\n')
    read = read_modelfile(text)
    assert (read["from"], read["stop"], read["num_ctx"]) == (["./m.gguf"], ["<|end|>"], ["99"])
    for talk in [] if merges else talks:
        given = [{"role": role, "content": content} for role, content in talk]
        assert answered_by(read, given) == template.prompt([Message(*turn) for turn in talk])


def test_what_a_template_says_by_itself_is_the_modelfiles_system() -> None:
    source = (
        "{{ bos_token }}{% if messages[0]['role'] != 'system' %}{{ '<sys>Be kind.</sys>' }}{% endif %}{% for m in messages %}"
        "{{ '<' + m['role'][:3] + '>' + m['content'] + '</' + m['role'][:3] + '>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<ass>' }}{% endif %}"
    )
    given: dict[str, Any] = {
        "source": source,
        "specials": {"bos_token": "<s>"},
        "stops": [],
        "context": 9,
        "adapter": None,
    }
    text = modelfile("m.gguf", begins=True, **given)
    assert 'SYSTEM "Be kind."' in text and "<s>" not in text
    assert '"user" }}<use>{{ .Content }}</use>' in text and text.count("<ass>") == 2
    assert "<s><sys>{{ .Content }}" in modelfile("m.gguf", begins=False, **given)
    talk = [{"role": "user", "content": "Hi"}]
    assert answered_by(read_modelfile(text), talk) == "<sys>Be kind.</sys><use>Hi</use><ass>"
    braces = (
        "{% for m in messages %}{{ '{{' + m['role'] + '|' + m['content'] + '}\\n{' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '{' }}{% endif %}"
    )
    read = read_modelfile(modelfile("m.gguf", begins=True, **given | {"source": braces, "stops": ['"', "\n a"]}))
    assert answered_by(read, talk) == "{{user|Hi}\n{{"
    assert read["stop"] == ['"', "\n a"]
    for odd in ('"""', "\u2060"):  # which Ollama would read as the end, or leave out
        assert NO_TEMPLATE in modelfile("m.gguf", begins=True, **given | {"source": source.replace("</sys>", odd)})


def test_a_tokenizer_keeps_its_templates_unless_another_was_trained() -> None:
    tokenizer, _ = load_tokenizer("afina-small")
    tokenizer.chat_template = {"default": tokenizer.chat_template, "tool_use": "{{ tools }}"}
    for own in (None, make_template(None, tokenizer)):
        assert with_template(tokenizer, SimpleNamespace(template=own)) is tokenizer
    plain = make_template("plain", tokenizer)
    assert with_template(tokenizer, SimpleNamespace(template=plain)).chat_template == jinja_of(plain)
    assert isinstance(tokenizer.chat_template, dict)
