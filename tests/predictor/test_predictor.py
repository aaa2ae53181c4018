"""An adapter answers as its task's kind of predictor does, refuses the rest in a sentence, and says what was assumed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import afina
from afina.adapters.adapter import AdapterRecord, build_adapter, save_adapter
from afina.data.templates.named import make_template
from afina.errors import UsageError
from afina.methods.base import make_method
from afina.predictor.classifier import Classifier
from afina.predictor.predictor import PREDICTORS, Predictor
from afina.predictor.tagger import Tagger
from afina.predictor.writer import Writer
from afina.tasks.base import TASKS, Task
from commands import afina as run_afina
from families import language_model, load_family
from pairs import stir
from peft_writers import stirred

Loader = Callable[..., Path]
TEXTS = ["my parcel is late", "where is the lamp please help"]


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_names_a_kind_that_does_what_it_can(name: str) -> None:
    task, kind = TASKS[name], PREDICTORS[TASKS[name].predictor]
    assert issubclass(kind, Writer) == task.speaks
    assert issubclass(kind, Classifier) == (not task.writes)
    assert issubclass(kind, Tagger) == task.tags


def test_a_kind_is_for_some_task() -> None:
    assert {TASKS[name].predictor for name in TASKS} == set(PREDICTORS)


def made(name: str) -> Task:
    """Return a task of each name as a study would have made it."""
    template = make_template({"user": "{content} ", "assistant": "{content} </s>"}, None)
    settings: dict[str, dict[str, Any]] = {
        "regression": {"mean": 2.0, "deviation": 3.0}, "choices": {"answers": 2}, "chat": {"template": template},
        "language": {}, "retrieval": {}, "seq2seq": {},
    }  # fmt: skip
    return TASKS[name](**settings.get(name, {"label_names": ["O", "B-X"]}))


def of_task(name: str, folders: dict[str, Path], target: Path) -> Predictor:
    """Save an adapter of a task and load it."""
    task = made(name)
    family = "t5" if task.reads_apart else "gpt2" if task.speaks else "bert"
    base = folders[family]
    backbone = load_family(base, speaks=task.speaks, tags=task.tags)
    method = make_method("lora", {"rank": 2})
    adapter = build_adapter(method, backbone, task.outputs, seed=0)
    stir(adapter)
    record = AdapterRecord(
        model=str(base),
        method="lora",
        settings=method.settings(),
        task=task.state(),
        max_length=60,
        precision="fp32",
        seed=0,
    )
    save_adapter(target, adapter, backbone, record)
    return afina.load(target)


@pytest.mark.parametrize("name", [name for name in TASKS if TASKS[name].trained])
def test_adapters_do_what_they_learned_and_refuse_the_rest(
    name: str, family_folder: Loader, speaker: Loader, tmp_path: Path
) -> None:
    folders = {"bert": family_folder("bert"), "gpt2": speaker("gpt2"), "t5": speaker("t5")}
    loaded = of_task(name, folders, tmp_path / "adapter")
    assert type(loaded) is PREDICTORS[TASKS[name].predictor]
    assert repr(loaded).startswith(f"{type(loaded).__name__}('{tmp_path / 'adapter'}': lora on ")
    # A vector is of a text, whatever the task makes of texts.
    vectors = loaded.embed(TEXTS)
    assert vectors.shape == (2, loaded.backbone.anatomy.width)
    np.testing.assert_allclose(vectors[1:], loaded.embed(TEXTS[1:]), atol=1e-5)
    if TASKS[name].writes:
        with pytest.raises(UsageError, match=rf"trained to write \(task: {name}\); it has no labels to predict"):
            loaded.predict(TEXTS)
    else:
        choices = [["yes", "no"]] * 2 if loaded.task.wants_choices else None
        predictions = loaded.predict(TEXTS, choices=choices)
        if TASKS[name].embeds:
            np.testing.assert_allclose([each.vector for each in predictions], vectors, atol=1e-6)
            with pytest.raises(UsageError, match="no task head: it is an embedding adapter; embed gives its vectors"):
                loaded.logits(TEXTS)
        else:
            assert len(predictions) == len(loaded.logits(TEXTS, choices=choices)) or loaded.task.tags
        with pytest.raises(UsageError, match="wants"):
            loaded.predict(TEXTS, choices=None if choices else [["yes", "no"]] * 2)
    if TASKS[name].speaks:
        (text,) = loaded.generate(TEXTS[:1], max_new_tokens=3, temperature=0)
        assert "".join(loaded.stream(TEXTS[0], max_new_tokens=3, temperature=0)) == text.text
    else:
        learned = "embed" if TASKS[name].embeds else "label"
        refusal = f"trained to {learned} texts, not to write; use predict"
        for verb in (loaded.generate, loaded.stream):
            with pytest.raises(UsageError, match=refusal):
                verb(TEXTS)
        with pytest.raises(UsageError, match=refusal):
            afina.Chat(loaded)


@pytest.fixture(scope="module")
def windowed(speaker: Loader, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Give adapters of a model with a sliding window: a prefix that PEFT made, and a LoRA."""
    from peft import LoraConfig, PrefixTuningConfig, get_peft_model

    folder = tmp_path_factory.mktemp("windowed")
    base = folder / "base"
    shutil.copytree(speaker("mistral"), base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"sliding_window": 60}))
    configs = {
        "prefix": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
        "lora": LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], r=2),
    }
    for name, own in configs.items():
        stirred(get_peft_model(language_model("mistral").from_pretrained(base), own)).save_pretrained(folder / name)
    return {name: folder / name for name in configs}


ASSUMED = "prefix under a sliding window of 60 tokens: here every token of a text sees it"


def test_what_was_assumed_is_in_an_adapters_notes(windowed: dict[str, Path]) -> None:
    (note,) = afina.load(windowed["prefix"]).notes
    assert ASSUMED in note
    assert afina.load(windowed["lora"]).notes == ()


def test_commands_say_what_was_assumed(windowed: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("my lamp is late\n")
    commands: dict[str, tuple[object, ...]] = {
        "predict": ("my lamp", "--choice", "late", "--choice", "broken"),
        "generate": ("my lamp", "--max-new-tokens", 2),
        "evaluate": ("--text", tmp_path / "texts.txt"),
        "chat": (),
        "export": ("--to", "peft", "--out", tmp_path / "out"),
    }
    for command, more in commands.items():
        for kind in ("prefix", "lora"):
            folder = tmp_path / f"{command}-{kind}"
            shutil.copytree(windowed[kind], folder)
            own = [tmp_path / f"out-{kind}" if each == tmp_path / "out" else each for each in more]
            ran = run_afina(command, folder, *own, text="my lamp\n")
            assert ran.returncode == 0, (command, ran.stderr)
            assert (ASSUMED in ran.stdout + ran.stderr) == (kind == "prefix"), (command, kind)
    said = run_afina("chat", tmp_path / "chat-prefix", "--language", "pt", text="my lamp\n")
    assert "Um prefixo sob uma janela deslizante de 60 tokens" in said.stderr
