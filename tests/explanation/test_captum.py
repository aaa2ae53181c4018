"""Integrated gradients beside captum's, and what is not explained."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

import afina
from afina.backbone.attachment import Attachment
from afina.errors import UsageError
from afina.explanation.asker import Asker
from afina.explanation.kinds.base import WantedAnswer, kind_of, log_odds
from afina.explanation.ways.base import WAYS
from afina.predictor.chooser import Chooser
from afina.predictor.embedder import Embedder
from explained import TEXTS, saved_for


def test_integrated_gradients_are_captums(family_folder: Callable[..., Path], tmp_path: Path) -> None:
    """Of the same log-odds, from the same baseline, at the same points; captum is no part of the environment."""
    attr = pytest.importorskip("captum.attr", reason="needs captum: pip install --no-deps captum")
    predictor: Any = afina.load(saved_for(family_folder("bert"), tmp_path / "adapter", "labels"))
    kind = kind_of(predictor, WantedAnswer())
    questions = kind.questions(TEXTS, None)
    with Asker(predictor, kind, questions) as asker:
        ours, baseline = WAYS["integrated-gradients"](steps=16).attribute(asker), asker.baseline
    (site,) = predictor.backbone.anatomy.of_kind("embedding")
    with Attachment(predictor.backbone, [predictor.adapter]) as attached:
        attached.train(False)
        for question, own in zip(questions, ours, strict=True):
            answer = torch.tensor([question.answer])

            def forward(ids: torch.Tensor, answer: torch.Tensor = answer) -> torch.Tensor:
                inputs = {"input_ids": ids, "token_type_ids": torch.zeros_like(ids)}
                return log_odds(attached(inputs)[0], answer.expand(len(ids)))

            explainer = attr.LayerIntegratedGradients(forward, predictor.backbone.model.get_submodule(site.module))
            ids = torch.from_numpy(question.ids)[None]
            start = torch.where(torch.from_numpy(question.word_of >= 0), baseline, ids)
            values = explainer.attribute(ids, start, n_steps=16, method="gausslegendre").sum(-1)[0].detach().numpy()
            by_word = np.zeros(len(question.words) + 1)
            np.add.at(by_word, question.word_of, values)
            assert np.abs(own.values).max() > 1e-3 and np.allclose(own.values, by_word[:-1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("kind", "task"), [(Chooser, "choices"), (Embedder, "retrieval"), (Embedder, "embedding")])
def test_what_has_no_label_is_refused_by_one_sentence(kind: Any, task: str) -> None:
    anatomy = SimpleNamespace(row=SimpleNamespace(inputs="text"))
    predictor = SimpleNamespace(
        name=kind.name, trained_to=kind.trained_to, folder="adapter", task=SimpleNamespace(name=task),
        backbone=SimpleNamespace(anatomy=anatomy),
    )  # fmt: skip
    with pytest.raises(
        UsageError, match=rf"^adapter was trained to .* \(task: {task}\); afina explain tells which words .*\.$"
    ):
        kind_of(cast("Any", predictor), WantedAnswer())
