"""On a device other than the CPU nothing is left on the CPU: a step, an evaluation and an answer of every method.

There is none here, so that tensors only say that they are (`helpers/card.py`); what comes out is what comes out on the CPU.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from afina.adapters.adapter import Adapter, build_adapter
from afina.backbone.attachment import Attachment
from afina.backbone.load import Backbone
from afina.generation.generate import encode_prompt, write
from afina.generation.rows import Request
from afina.generation.settings import GenerationSettings
from afina.methods.base import make_method, registry
from afina.train.evaluate import predict_logits
from afina.train.loop import Callbacks, Clock, train
from afina.train.passes import Passes
from card import CARD, OnCard, card, on_card
from cohorts import member, tokens_of, without_dropout
from families import load_family, save_family
from pairs import COVERING_FAMILIES, FROZEN, TRAINED, batch, logits, make, stir

Loader = Callable[[str], Path]
TEXTS = [family for family in COVERING_FAMILIES if family != "vit"]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Models without dropout, whose draws are another device's."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = without_dropout(save_family(family, tmp_path_factory.mktemp("card") / family))
        return made[family]

    return folder


def test_the_card_refuses_what_a_card_refuses() -> None:
    with card():
        there = torch.arange(3.0).to("cuda")
        assert there.device == CARD and there.is_cuda
        for wrong in (
            lambda: there + torch.ones(3),
            lambda: torch.nn.functional.embedding(torch.tensor([1]), there[:, None]),
            lambda: torch.zeros(()).add_(there.sum()),
            lambda: torch.cat([there, torch.ones(1)]),
            lambda: there[torch.tensor([True, False, True])] * torch.ones(2),
        ):
            with pytest.raises(RuntimeError, match="on the CPU"):
                wrong()
        with pytest.raises(TypeError, match="can't convert cuda"):
            there.numpy()
        assert (there * torch.tensor(2.0)).tolist() == [0.0, 2.0, 4.0]  # a number of the CPU may join in
        assert isinstance(torch.ones(2, device=there.device), OnCard)
        assert isinstance(there.new_zeros(2), OnCard) and isinstance(torch.zeros_like(there), OnCard)
        assert type(there.cpu()) is torch.Tensor
        weight = torch.nn.Parameter(torch.ones(3).to("cuda"))
        (weight * there).sum().backward()
        assert isinstance(weight.grad, OnCard) and weight.grad.tolist() == [0.0, 1.0, 2.0]


CASES = [*((name, "bert") for name in TRAINED), *(("lora", family) for family in TEXTS if family != "bert"),
         ("prefix", "gpt2"), ("prompt", "t5"), ("norms", "gemma2"), ("houlsby", "deberta-v2")]  # fmt: skip
COVERING = [own for own in CASES if own[0] != "lora" or own[1] in ("bert", "modernbert", "albert", "bart")]


def trained_and_evaluated(backbone: Backbone, name: str) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """Take two steps in micro-batches; return the adapter's weights and its logits of all rows."""
    rows = tokens_of(9, 3)
    own = member(backbone, name, 1, rows, batch_size=6)
    own.loss_sum = own.loss_sum.to(backbone.device)
    with Passes(backbone) as passes:
        train(passes, [own], Clock(), Callbacks(lambda: None, lambda ended: None), micro_batch_size=4, steps=2)
        (found,) = predict_logits(passes.attached([own.adapter], training=False), rows, batch_size=5)
    weights = {key: value.detach().cpu() for key, value in own.adapter.trainable(backbone).items()}
    return weights, found


@pytest.mark.covered(("name", "family"), COVERING, CASES)
def test_a_step_and_an_evaluation_leave_nothing_on_the_cpu(
    name: str, family: str, quiet: Callable[[str], Path]
) -> None:
    found = []
    for there in (False, True):
        backbone = load_family(quiet(family))
        if registry()[name].owns_backbone:
            backbone.model.requires_grad_(True)
        if there:
            with card():
                found.append(trained_and_evaluated(on_card(backbone), name))
        else:
            found.append(trained_and_evaluated(backbone, name))
    (weights, logits_here), (theirs, logits_there) = found
    for key, value in weights.items():
        assert type(theirs[key]) in (torch.Tensor, torch.nn.Parameter), key
        torch.testing.assert_close(theirs[key].data, value.data, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(logits_there, logits_here, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", ["gpt2", "vit"])
def test_a_batch_of_several_methods_is_routed_there(family: str, family_folder: Loader) -> None:
    """Each adapter is made where the model is, as a run or a server makes it."""

    def adapters(backbone: Backbone) -> list[Adapter]:
        made = [build_adapter(make(name), backbone, outputs=2, seed=place) for place, name in enumerate(FROZEN)]
        for adapter in made:
            stir(adapter)
        return made

    backbone = load_family(family_folder(family))
    expected = [logits(backbone, adapter, batch(family)) for adapter in adapters(backbone)]
    with card():
        own = adapters(on_card(backbone))
        inputs = {key: torch.cat([value] * len(own)).to(backbone.device) for key, value in batch(family).items()}
        rows = [slice(3 * place, 3 * place + 3) for place in range(len(own))]
        with Attachment(backbone, own) as attached, torch.no_grad():
            together = [part.cpu() for part in attached(inputs, rows)]
    for ours, alone in zip(together, expected, strict=True):
        torch.testing.assert_close(ours, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "family"), [*((name, "llama") for name in FROZEN), ("lora", "t5"), ("prompt", "gpt2")]
)
def test_an_answer_is_written_there(name: str, family: str, speaker: Callable[[str], Path]) -> None:
    """Greedily, and drawn: the draws are the CPU's, so that a seed means the same everywhere."""
    here = answers(load_family(speaker(family), speaks=True), name)
    with card():
        there = answers(on_card(load_family(speaker(family), speaks=True)), name)
    assert there == here


def answers(backbone: Backbone, name: str) -> list[list[str]]:
    adapter = build_adapter(make_method(name, {}, {"rank": 3, "length": 3}), backbone, outputs=1, seed=0)
    stir(adapter)
    prompts = [encode_prompt(backbone, text) for text in ("where is my parcel please", "a film")]
    found = []
    for settings in (
        GenerationSettings(max_new_tokens=3),
        GenerationSettings(max_new_tokens=3, temperature=0.8, top_k=20, top_p=0.9, repetition_penalty=1.2, seed=3),
    ):
        requests = [Request(ids, adapter, number=place) for place, ids in enumerate(prompts)]
        written = {piece.number: piece.written.text for piece in write(backbone, requests, settings) if piece.written}
        found.append([written[place] for place in range(len(prompts))])
    return found
