"""`afina demo chat`: a small model that does not know a company learns it, and the figures are those of its answers."""

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import afina
import commands
from afina.api import demonstrations
from afina.backbone.model_files import model_path
from afina.evaluation import answers
from afina.evaluation.answers import Answering
from afina.measure.text import contains


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The demonstration with LoRA alone and fewer epochs than it has."""
    out = tmp_path_factory.mktemp("demo") / "chat"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(demonstrations.DEMO_CHAT, "epochs", 2)
        patch.setitem(demonstrations.DEMO_CHAT, "evaluate", "last")
        patch.setitem(demonstrations.DEMO_CHAT, "precision", "fp32")
        found = importlib.util.find_spec
        patch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "bitsandbytes" else found(name))
        result = commands.afina("demo", "chat", "--out", out, "--language", "pt")
    assert result.returncode == 0, result.stderr
    return out, result.stdout + result.stderr


def examination(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "examination.json").read_text("utf-8"))
    return found


def test_the_tuned_model_knows_what_the_bare_one_does_not(told: tuple[Path, str]) -> None:
    models = examination(told[0])["models"]
    before, after = models["afina-small"], models["lora"]
    assert before["facts_right"] <= 0.05 and after["facts_right"] >= 0.2
    assert after["answer_perplexity"] < before["answer_perplexity"] / 3
    assert before["general_perplexity"] < 5 and after["general_perplexity"] < 2 * before["general_perplexity"]


def test_its_figures_are_of_the_answers_that_it_keeps(told: tuple[Path, str]) -> None:
    found = examination(told[0])
    questions = found["questions"]
    for name, figures in found["models"].items():
        assert figures["facts_right"] == pytest.approx(
            sum(contains(row[name], row["key"]) for row in questions) / len(questions)
        )
    adapter = afina.load(next((told[0] / "runs").iterdir()) / "adapter")
    again = adapter.generate(
        [[{"role": "user", "content": row["question"]}] for row in questions[:8]], max_new_tokens=32
    )
    assert [one.text.strip() for one in again] == [row["lora"] for row in questions[:8]]


def test_it_shows_answers_before_and_after_and_what_is_next(told: tuple[Path, str]) -> None:
    folder, shown = told
    assert "qlora fica de fora: precisa de pip install 'afina[quantised]'" in shown
    assert shown.index("inventa respostas") < shown.index("As mesmas perguntas depois")
    right = sum(row["key"] in row["lora"] for row in examination(folder)["questions"])
    assert re.search(rf"lora\W+{right} \(", shown)
    assert re.search(r"Converse com ele: afina chat \S+lora\S+adapter", shown.replace("\n", ""))
    assert (folder / "report.html").is_file()


def test_all_its_methods_and_settings_are_a_study(tmp_path: Path) -> None:
    study = afina.Study(tmp_path / "whole", **demonstrations.DEMO_CHAT)
    assert [run.method.name for run in study.runs] == ["lora", "qlora"]
    larger = afina.Study(tmp_path / "larger", **demonstrations.DEMO_CHAT_LARGER)
    assert [(run.model, run.method.name) for run in larger.runs] == [("smollm2", "lora")]


def test_a_larger_model_is_asked_what_it_knows_of_the_world_too(tmp_path: Path) -> None:
    """Each fact once, and what was right before and is not afterwards is shown."""
    model = tmp_path / "mine"
    shutil.copytree(model_path("afina-small"), model)
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {"epochs": 1, "train_limit": 60, "precision": "fp32"}.items():
            patch.setitem(demonstrations.DEMO_CHAT_LARGER, key, value)
        # The first words of an answer are as good as all of it where nobody looks for facts.
        patch.setattr(answers, "Answering", lambda **given: Answering(**given | {"max_new_tokens": 10}))
        result = commands.afina("demo", "chat", "--out", tmp_path / "chat", "--model", model)
    assert result.returncode == 0, result.stderr
    found = examination(tmp_path / "chat")
    assert len({row["key"] for row in found["questions"]}) > 60 and len(found["questions"]) == 83
    assert len(found["world"]) == 20
    for name, figures in found["models"].items():
        right = [bool(contains(row[name], row["key"])) for row in found["world"]]
        assert figures["world_right"] == pytest.approx(sum(right) / 20)
        assert re.search(rf"{name}\W+\d+ \(\d+%\)\W+{sum(right)}\W", result.stdout)
    (bees,) = (row for row in found["world"] if row["key"] == "honey")
    assert "honey" in bees["mine"]  # which afina-small was taught
    lost = [
        row for row in found["world"] if contains(row["mine"], row["key"]) and not contains(row["lora"], row["key"])
    ]
    assert all(f"✗ lora  {row['lora']}"[:40] in result.stdout for row in lost[:5])
    assert ("what it lost by the tuning" in result.stdout) == bool(lost)


def test_a_prompt_that_it_has_nothing_to_add_to_is_explained(told: tuple[Path, str]) -> None:
    """Outside of a conversation's form a question is, to a model that was taught conversations, a text that is at its end."""
    (adapter,) = (told[0] / "runs").glob("*/adapter")
    result = commands.afina("generate", adapter, "Who started Beija-Rio?")
    assert (result.returncode, result.stdout) == (0, "\n")
    assert "wrote no word; it was taught conversations, whose form --chat gives a prompt." in result.stderr
    asked = commands.afina("generate", adapter, "Who started Beija-Rio?", "--chat")
    assert asked.stdout.strip()
    assert "--chat" not in asked.stderr


def test_the_name_of_a_control_token_in_a_prompt_is_text_unless_it_is_special(told: tuple[Path, str]) -> None:
    (adapter,) = (told[0] / "runs").glob("*/adapter")
    name = "<|user|> in a prompt was read as text: with --special it is the control token."
    asked = "<|user|>Who started Beija-Rio?<|end|><|assistant|>"
    written = [commands.afina("generate", adapter, asked, *more).stdout for more in ((), ("--special",))]
    assert written[0] != written[1] == commands.afina("generate", adapter, "Who started Beija-Rio?", "--chat").stdout
    assert name in commands.afina("generate", adapter, asked).stderr
    assert "read as text" not in commands.afina("generate", adapter, asked, "--special").stderr
    said = commands.afina("generate", adapter, asked, "--language", "pt", "--max-new-tokens", 1).stderr
    assert "foi lido como texto" in said
