"""Exports that write: the verbs of an adapter, in their runtime, with the adapter's own words."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from afina import api
from afina.adapters.adapter import AdapterRecord, build_adapter, save_adapter
from afina.backbone.load import load_backbone
from afina.errors import UsageError
from afina.export import opened
from afina.export.export import export_adapter
from afina.export.opened import WritingExport, open_export
from afina.export.runtime import Session
from afina.export.runtimes import llama_cpp
from afina.generation.settings import GenerationSettings
from afina.methods.base import make_method
from afina.predictor.load import load
from commands import afina, refused
from exports import chatting
from pairs import stir

SHORT = GenerationSettings(max_new_tokens=12)
QUESTIONS = ["What do bees make?", "O café é bom? 🙂"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give an adapter that chats, and what was exported of it in float32."""
    folder = tmp_path_factory.mktemp("chat")
    rows = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "No. 🙂"}]}
        for text in QUESTIONS * 9
    ]
    (folder / "talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    adapter = chatting("afina-small", folder)
    out = export_adapter(adapter, "gguf", out=folder / "out", data=str(folder / "talks.jsonl"), rows=2, type="f32")
    return adapter, out.folder


@pytest.fixture(scope="module")
def writer(made: tuple[Path, Path]) -> WritingExport:
    found = open_export(made[1])
    assert isinstance(found, WritingExport)
    return found


def test_an_export_writes_what_its_adapter_writes(made: tuple[Path, Path]) -> None:
    adapter, out = made
    for asked in ({"chat": True}, {}):
        ours, theirs = (api.generate(place, QUESTIONS, SHORT, **asked).replies for place in (adapter, out))
        assert [own.as_dict() for own in ours] == [own.as_dict() for own in theirs]
    by_file = afina("generate", out / "model.gguf", QUESTIONS[0], "--chat", "--max-new-tokens", 12)
    assert by_file.stdout == api.generate(adapter, QUESTIONS[:1], SHORT, chat=True).replies[0].text + "\n"


def test_a_conversation_streams(made: tuple[Path, Path]) -> None:
    adapter, out = made
    talks = [api.chat(place, SHORT, system="Be brief.") for place in (adapter, out)]
    for text in QUESTIONS:
        ours, theirs = (list(talk.ask(text)) for talk in talks)
        assert "".join(ours) == "".join(theirs) and len(theirs) > 2
    talked = afina("chat", out, "--temperature", 0, "--max-new-tokens", 12, text="Hi\n/adapter none\n")
    assert talked.returncode == 0 and "holds its model as it is" in talked.stderr
    name = adapter.parent.name
    again = afina("chat", out, "--adapters", adapter, "--temperature", 0, text=f"Hi\n/adapter {name}\n/adapter\n")
    assert f"[{name}]" in again.stderr.splitlines()[-1] and "out" in again.stderr.splitlines()[-1]


def test_an_export_is_evaluated_as_its_adapter(made: tuple[Path, Path], tmp_path: Path) -> None:
    adapter, out = made
    (tmp_path / "text.txt").write_text("Bees make honey. 🙂 Olá.\n")
    (tmp_path / "asked.jsonl").write_text('{"prompt": "Where is it?", "answer": "No."}\n')
    given = {"text": [tmp_path / "text.txt"], "answers": [tmp_path / "asked.jsonl"], "against_base": False}
    ours, theirs = (api.evaluate(place, **given) for place in (adapter, out))  # type: ignore[arg-type]
    assert [own.measure for own in ours.rows] == [own.measure for own in theirs.rows]
    for one, other in zip(ours.rows, theirs.rows, strict=True):
        assert other.value.value == pytest.approx(one.value.value, rel=1e-4)
    assert ours.written == theirs.written and str(theirs.facts["runtime"]).startswith("llama.cpp 20")


def test_a_runtime_that_only_scores_writes_the_same(writer: WritingExport) -> None:
    """What a session does of itself is what llama.cpp does faster: texts, likelihoods, the token that is likeliest."""

    class Plain(Session):
        def next_logits(self, tokens: Sequence[int], read: int | None = None) -> np.ndarray:
            return writer.session.next_logits(tokens)

    prompt = writer.tokenizer("Bees make")["input_ids"]
    plain = Plain()
    few = SHORT.changed(max_new_tokens=5)
    for how in (few, few.changed(temperature=0.9, top_k=1, repetition_penalty=1.5)):
        told = []
        for session in (plain, writer.session):
            own = opened.replace(writer, session=session)
            (found,) = own.generate(["Bees make"], how)
            told.append(found.tokens)
        assert told[0] == told[1]
    assert plain.greedy(prompt, 3, []) == writer.session.greedy(prompt, 3, [])
    text = writer.tokenizer("Bees make 🙂 now")["input_ids"]
    (ours, best), (theirs, too) = (session.said(text, 2) for session in (plain, writer.session))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert best.tolist() == too.tolist() and len(ours) == len(text) - 2


def test_draws_come_again_with_their_seed(writer: WritingExport) -> None:
    warm = SHORT.changed(temperature=1.5, seed=3)
    first, again, other = (writer.generate(["Bees"], how)[0].text for how in (warm, warm, warm.changed(seed=4)))
    assert first == again != other
    assert "draws by numbers of its own" in writer.notes_for(warm)[-1]


def test_room_grows_with_what_is_read(
    made: tuple[Path, Path], writer: WritingExport, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = "Bees make honey. " * 60
    (wanted,) = writer.generate([prompt], SHORT)
    monkeypatch.setattr(llama_cpp, "_CONTEXT", 256)
    small = open_export(made[1])
    assert isinstance(small, WritingExport)
    assert small.generate([prompt], SHORT)[0].tokens == wanted.tokens
    with pytest.raises(UsageError, match="positions have room for"):
        small.generate(["word " * 5000], SHORT)


def test_a_file_alone_is_what_it_says(made: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copy(made[1] / "model.gguf", tmp_path / "bees.gguf")
    ours = api.generate(made[0], QUESTIONS[:1], SHORT, chat=True).replies[0].text
    assert api.generate(tmp_path / "bees.gguf", QUESTIONS[:1], SHORT, chat=True).replies[0].text.startswith(ours)
    (tmp_path / "other.gguf").write_bytes(b"GGUF, or so")
    refused(afina("chat", tmp_path / "other.gguf", text="hi\n"), "other.gguf is a GGUF file of version")
    refused(afina("predict", tmp_path / "bees.gguf", "text"), "ask it by `afina generate`")


def test_what_an_export_does_not_take_is_refused(made: tuple[Path, Path]) -> None:
    out = made[1]
    refused(afina("generate", out, "Hi", "--bare"), "holds its model as it is")
    refused(afina("generate", out, "Hi", "--device", "cuda"), "it takes no --device cuda")
    refused(afina("generate", out, "Hi", "--precision", "nf4"), "it takes no --precision")
    refused(afina("chat", out, "--model", "afina-small", text="Hi"), "it takes no --model")


def test_what_chooses_chooses_the_same(tmp_path: Path) -> None:
    backbone = load_backbone("afina-small", speaks=True)
    own = make_method("lora", {}, {"rank": 3})
    adapter = build_adapter(own, backbone, outputs=2, seed=0)
    stir(adapter)
    task = {"name": "choices", "answers": 2, "label_names": None, "prompt": None}
    record = AdapterRecord(
        model="afina-small", method="lora", settings=own.settings(), max_length=60, precision="fp32", task=task, seed=0,
        total_steps=10,
    )  # fmt: skip
    save_adapter(tmp_path / "adapter", adapter, backbone, record)
    rows = [{"text": f"Bees make {n}", "choices": ["honey", "wax. 🙂"], "label": 0} for n in range(9)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = export_adapter(tmp_path / "adapter", "gguf", out=tmp_path / "out", data=str(tmp_path / "rows.jsonl"), rows=2)
    asked = (["What do bees make?"], None)
    choices = [["honey", "wax. 🙂"]]
    found: list[Callable[..., Sequence[object]]] = [load(tmp_path / "adapter").predict, open_export(out.folder).predict]
    (ours,), (theirs,) = (predict(*asked, choices=choices) for predict in found)
    assert ours.label == theirs.label  # type: ignore[attr-defined]
    assert theirs.probabilities == pytest.approx(ours.probabilities, abs=2e-3)  # type: ignore[attr-defined]
