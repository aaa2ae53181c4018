"""`afina demo chat`: a small model that does not know a company learns it, and the figures are those of its answers."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

import afina
import commands
from afina.cli import demo_chat
from afina.measure.text import contains


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The demonstration with LoRA alone and fewer epochs than it has."""
    out = tmp_path_factory.mktemp("demo") / "chat"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(demo_chat.DEMO_CHAT, "epochs", 3)
        patch.setitem(demo_chat.DEMO_CHAT, "precision", "fp32")
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
    study = afina.Study(tmp_path / "whole", **demo_chat.DEMO_CHAT)
    assert [run.method for run in study.runs] == ["lora", "qlora"]


def test_a_prompt_that_it_has_nothing_to_add_to_is_explained(told: tuple[Path, str]) -> None:
    """Outside of a conversation's form a question is, to a model that was taught conversations, a text that is at its end."""
    (adapter,) = (told[0] / "runs").glob("*/adapter")
    result = commands.afina("generate", adapter, "Who started Beija-Rio?")
    assert (result.returncode, result.stdout) == (0, "\n")
    assert "wrote no word; it was taught conversations, whose form --chat gives a prompt." in result.stderr
    asked = commands.afina("generate", adapter, "Who started Beija-Rio?", "--chat")
    assert asked.stdout.strip()
    assert "--chat" not in asked.stderr
