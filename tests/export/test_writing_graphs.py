"""What writes leaves as a graph with kept keys and values, and writes there what it writes here, without torch and Afina."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import afina
from afina import api
from afina.data.tokens.batching import collate
from afina.data.tokens.tokens import IGNORED
from afina.errors import AfinaError, UsageError
from afina.export.export import Exported
from afina.export.manifest import read_manifest
from afina.export.opened import open_export
from afina.export.sample import sample_rows
from afina.export.target import TARGETS
from afina.export.writing.beside import check_writer
from afina.export.writing.held import hold_writer
from afina.generation.settings import GenerationSettings
from commands import afina as run_afina
from commands import refused
from exports import chatting, exports_to_try, rewriting, save_pairs, save_talks, written_alone
from families import BOTH, DECODERS
from gguf_files import ONE_LAYER, save_speaker
from saved_adapters import saved

QUICK = [("openvino", "loreft", "gpt2"), ("executorch", "lora", "llama")]
"""What acts at a text's ends, in other runtimes than ONNX's, in which `made` and `halves` have prefixes."""
FURTHER = [("onnx", "prompt", "gemma2"), ("onnx", "loreft", "t5"), ("openvino", "prompt", "mbart")]
"""For `make conformance`: virtual tokens under a window of four, and two halves of which the second begins with a token of
its own, or with the text's last one."""
SHORT = {"prompt", "ptuning", "prefix"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Take a few of each kind; `make conformance` takes every architecture."""
    if "kind" in metafunc.fixturenames:
        targets = ("onnx", "openvino", "executorch")
        whole = metafunc.config.getoption("--conformance") is not None
        kinds = exports_to_try(metafunc.config, [*QUICK, *FURTHER] if whole else QUICK, (*DECODERS, *BOTH), targets)
        metafunc.parametrize("kind", kinds, ids=["-".join(kind) for kind in kinds])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl")


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_talks(tmp_path_factory.mktemp("talks") / "talks.jsonl")


def exported(source: Path, talks: str, to: str = "onnx", **options: Any) -> Exported:
    """Export an adapter; the folder stands only where the graph gives what the adapter gives, step by step, padded."""
    return api.export(source, to, source.parent / "out", data=talks, rows=3, **options)


def test_a_graph_goes_on_as_its_adapter(
    kind: tuple[str, str, str], talks: str, pairs: str, tmp_path: Path, record_property: Any
) -> None:
    to, name, family = kind
    if find_spec(to) is None:
        pytest.skip(f"--to {to} needs {to}")
    base = save_speaker(family, tmp_path / "base", **ONE_LAYER.get(family, {}))
    settings = {"length": 3} if name in SHORT else {}
    apart = family in BOTH
    data, save = (pairs, rewriting) if apart else (talks, chatting)
    made = exported(save(base, tmp_path, name, **settings), data, to)
    told = dict(made.rows())
    difference, _, _, scale = told["largest difference of logits of what may follow"].strip(")").split()
    assert float(difference) < 1e-4
    assert float(scale) > 0.1
    record_property("export", [to, family, name, "seq2seq" if apart else "chat", float(difference)])
    same, _, written, _ = told["written alike, taking the likeliest token"].split()
    assert int(same) > 0.9 * int(written) > 20
    assert made.effect is None or made.effect > 0.01, "an adapter that changes nothing cannot be missed"
    found = api.check_export(made.folder)
    assert (found.batches, found.difference < 1e-5, found.from_adapter < 1e-4) == (3, True, True)
    scores_an_answer_alike(made.folder, afina.load(tmp_path / "adapter", precision="fp32"), data)


def scores_an_answer_alike(folder: Path, ours: Any, talks: str) -> None:
    """What an export is measured by: how likely an answer is behind its question, at whose ends a method may act."""
    tokens = ours.tokens(sample_rows(ours, talks, 1)[0])
    ((loss, count, _),) = ours.outputs(tokens, 1)
    batch = collate([(tokens, np.array([0]))], 0, most=1)
    assert batch.targets is not None
    ids, targets = batch.inputs["input_ids"][0].tolist(), batch.targets[0]
    places = (targets != IGNORED).nonzero()[:, 0].tolist()
    said, _ = open_export(folder).session.said([*ids[: places[0] + 1], *targets[places].tolist()], places[0] + 1)
    assert len(said) == count > 2
    assert -said.sum() == pytest.approx(loss, abs=1e-3)


@pytest.fixture(scope="module")
def made(talks: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an export whose prefix moves positions, as PEFT's do."""
    folder = tmp_path_factory.mktemp("made")
    source = chatting(
        save_speaker("llama", folder / "base", max_position_embeddings=900),
        folder,
        "prefix",
        length=3,
        positions="moved",
    )
    return exported(source, talks).folder


@pytest.fixture(scope="module")
def ours(made: Path) -> Any:
    """Give its adapter."""
    return afina.load(made.parent / "adapter", precision="fp32")


def test_its_own_script_writes_and_chats_the_same(made: Path, ours: Any) -> None:
    (wanted,) = ours.generate(["Once upon a time"], max_new_tokens=256)
    assert written_alone(made / "generate.py", "Once upon a time") == f"{wanted.text}\n"
    asked = ["Where is my parcel?", "É tarde? 🙂"]
    messages: list[dict[str, str]] = []
    for question in asked:
        messages.append({"role": "user", "content": question})
        (answer,) = ours.generate([messages], max_new_tokens=256)
        messages.append({"role": "assistant", "content": answer.text})
    said = written_alone(made / "generate.py", "--chat", asked="".join(f"{own}\n" for own in asked))
    assert said == "".join(f"{own['content']}\n" for own in messages[1::2])


def test_a_graph_writes_and_is_evaluated_by_the_same_commands(made: Path, tmp_path: Path) -> None:
    adapter, short = made.parent / "adapter", GenerationSettings(max_new_tokens=12)
    for how in (short, short.changed(temperature=0.8, seed=5)):  # its draws are ours
        ours, theirs = (api.generate(place, ["É tarde? 🙂"], how, chat=True).replies for place in (adapter, made))
        assert [own.text for own in ours] == [own.text for own in theirs]
    (tmp_path / "text.txt").write_text("Bees make honey. 🙂 Olá.\n")
    found = [api.evaluate(own, text=[tmp_path / "text.txt"], against_base=False).rows[0] for own in (adapter, made)]
    assert found[0].value.value == pytest.approx(found[1].value.value, rel=1e-4)
    assert run_afina("chat", made, "--temperature", 0, text="Hi\n").returncode == 0


def test_an_end_token_ends_what_a_graph_writes(made: Path, ours: Any) -> None:
    opened = open_export(made)
    ends = opened.manifest.reading["ends"]
    assert ours.tokenizer.eos_token_id in ends
    prompt = ours.tokenizer("Once upon a time")["input_ids"]
    free = opened.session.greedy(prompt, 12, [])
    assert opened.session.greedy(prompt, 12, [free[5]]) == free[: free.index(free[5])]


def test_a_graph_says_what_goes_in_and_out(made: Path) -> None:
    model, facts = onnx.load(made / "model.onnx"), read_manifest(made)
    sizes = {
        own.name: [size.dim_param or size.dim_value for size in own.type.tensor_type.shape.dim]
        for own in (*model.graph.input, *model.graph.output)
    }
    assert [own.name for own in model.graph.input] == facts.inputs
    assert sizes["input_ids"] == ["rows", "length"]
    assert sizes["attention_mask"] == ["rows", "whole_length"]
    assert sizes["past_key_values.1.value"] == ["rows", 2, "past_length", 6]
    assert sizes["present.1.value"] == ["rows", 2, "whole_length", 6]
    assert sizes["logits"] == ["rows", "length", 2560]


def test_a_graph_that_is_not_the_adapter_is_refused(made: Path, ours: Any, talks: str, tmp_path: Path) -> None:
    """The graph is held against an adapter that is another one in what a graph gets wrong most easily."""
    opened = open_export(made)
    rows = sample_rows(ours, talks, 2)[0]
    opened = replace(opened, folder=Path(shutil.copytree(made, tmp_path / "copied")))
    hold_writer(ours, ours, opened, rows)
    branches = [branch for _, branch in ours.adapter.placed()]

    class Silent(type(branches[0])):  # type: ignore[misc]
        """Is looked at by every token, and says nothing."""

        def keys_and_values(self) -> Any:
            key, value = super().keys_and_values()
            return key, 0 * value

    def fault(kind: type, moves: int) -> None:
        for branch in branches:
            branch.__class__, branch.moves = kind, moves

    for kind, moves in ((Silent, 3), (type(branches[0]), 0)):
        before = type(branches[0])
        fault(kind, moves)
        with pytest.raises(AfinaError, match="not what was tested: what may follow parts"):
            hold_writer(ours, ours, opened, rows)
        fault(before, 3)
    (opened.folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    with pytest.raises(AfinaError, match="not what was tested: it is asked"):
        hold_writer(ours, ours, opened, rows)
    path = opened.folder / "tokenizer.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    split = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    path.write_text(json.dumps(whole | {"pre_tokenizer": split}), encoding="utf-8")
    with pytest.raises(AfinaError, match="The tokenizer that was written has other tokens for 'Where is my parcel"):
        hold_writer(ours, ours, opened, rows)


@pytest.fixture(scope="module")
def halves(pairs: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an export of what reads by one graph and writes by another, with a branch in each part of both."""
    folder = tmp_path_factory.mktemp("halves")
    base = save_speaker("t5", folder / "base", **ONE_LAYER["t5"])
    return exported(rewriting(base, folder, "prefix", length=3), pairs).folder


def test_two_halves_write_the_same_alone_and_end_at_an_end_token(halves: Path) -> None:
    ours = afina.load(halves.parent / "adapter", precision="fp32")
    asked = ["Where is my parcel?", "É tarde? 🙂", "translate: one", "my </s> parcel <unk>"]
    wanted = ours.generate(asked, max_new_tokens=256)
    assert [own.text for own in open_export(halves).generate(asked, max_new_tokens=256)] == [own.text for own in wanted]
    assert written_alone(halves / "generate.py", "-", asked="\n".join(asked)) == "".join(f"{own}\n" for own in wanted)
    session, prompt = open_export(halves).session, ours.tokenizer(asked[0])["input_ids"]
    free = session.greedy(prompt, 12, [])
    assert session.greedy(prompt, 12, [free[5]]) == free[: free.index(free[5])]
    names = {
        name: [own.name for own in onnx.load(halves / f"{name}.onnx").graph.input] for name in ("encoder", "model")
    }
    assert names["encoder"] == ["input_ids", "attention_mask"]
    assert names["model"][:3] == ["decoder_input_ids", "encoder_attention_mask", "past_key_values.0.decoder.key"]


@pytest.mark.parametrize("fault", ["sees padding", "begins elsewhere", "forgets"])
def test_two_halves_that_are_not_the_adapter_are_refused(fault: str, halves: Path, pairs: str, tmp_path: Path) -> None:
    ours = afina.load(halves.parent / "adapter", precision="fp32")
    opened = replace(open_export(halves), folder=Path(shutil.copytree(halves, tmp_path / "copied")))
    session: Any = opened.session
    reads, call = session._reads, session._call

    def spoilt(given: Any) -> Any:
        start, seen, *kept = reads(given)
        return start + (fault == "begins elsewhere"), np.maximum(seen, fault == "sees padding"), *kept

    def without(given: Any) -> Any:
        logits, *kept = call(given)
        return logits, *([own[:, :, -1:] for own in kept] if fault == "forgets" else kept)

    session._reads, session._call = spoilt, without
    with pytest.raises(AfinaError, match="not what was tested: what may follow parts"):
        hold_writer(ours, ours, opened, sample_rows(ours, pairs, 2)[0])


def test_what_writes_in_two_halves_for_a_phone_or_chooses_is_refused_by_name(
    speaker: Callable[[str], Path], tmp_path: Path
) -> None:
    both = afina.load(rewriting(speaker("t5"), tmp_path / "both"))
    with pytest.raises(UsageError, match="t5 reads with one half and writes with another: export it --to onnx or"):
        check_writer(both, "executorch", apart=TARGETS["executorch"].apart)  # which need not be installed
    choosing = saved("lora", speaker("gpt2"), tmp_path / "choosing")
    refused(
        run_afina("export", choosing, "--to", "onnx"), "was trained for choices, to choose by the model's language head"
    )
