"""One step of the loop: what is divided by what, what joins the gradient, and what is decayed."""

import pytest
import torch

from afina.backbone.load import Backbone, load_backbone
from afina.train.loop import Callbacks, Clock, Member, train
from afina.train.optimiser import Course, Optimiser
from afina.train.passes import Passes
from cohorts import assert_same, member, tokens_of, without_dropout
from families import save_family


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A model without dropout, whose draws would differ between one batch and its parts."""
    return load_backbone(str(without_dropout(save_family("gpt2", tmp_path_factory.mktemp("loop") / "gpt2"))))


def test_micro_batches_change_no_step(quiet: Backbone) -> None:
    """Seven rows in micro-batches of three, of which the last is one row: the loss is divided by the whole batch's terms."""
    found = []
    for micro in (None, 3):
        own = member(quiet, "lora", 0, tokens_of(21, 1), batch_size=7)
        step(quiet, own, micro)
        # A step of AdamW hides a gradient's size; its moments show it.
        moments = own.optimiser.state()
        found.append({key: value for key, value in moments.items() if key.endswith("exp_avg")})
    assert len(found[0]) == len(list(own.adapter.parameters()))
    for key, whole in found[0].items():
        torch.testing.assert_close(found[1][key], whole, rtol=1e-3, atol=1e-7)


def step(backbone: Backbone, own: Member, micro: int | None = None) -> None:
    with Passes(backbone) as passes:
        train(passes, [own], Clock(), Callbacks(lambda: None, lambda ended: None), micro_batch_size=micro, steps=1)


def test_a_penalty_joins_the_gradient(quiet: Backbone) -> None:
    """AdaLoRA begins at zero: its matrices get no gradient from the loss, and move only as they become orthogonal."""
    own = member(quiet, "adalora", 0, tokens_of(8, 1), orthogonality=1.0)
    before = own.adapter.penalty()
    step(quiet, own)
    after = own.adapter.penalty()
    assert before is not None and after is not None
    assert after.item() < before.item()


def test_decay_leaves_vectors_as_they_are() -> None:
    """Without a gradient a step is decay alone: by rate times decay of every matrix, of no bias, scale or norm."""
    matrix, vector = torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(3))
    optimiser = Optimiser(
        {"weight": matrix, "bias": vector},
        learning_rate=0.5,
        total_steps=4,
        course=Course("constant"),
        weight_decay=0.1,
    )
    for value in (matrix, vector):
        value.grad = torch.zeros_like(value)
    optimiser.step(1)
    assert matrix.detach().flatten().tolist() == pytest.approx([0.95] * 6)
    assert vector.tolist() == [1.0] * 3


def test_members_of_one_pass_are_stepped_as_alone(quiet: Backbone) -> None:
    def fresh() -> list[Member]:
        return [member(quiet, name, place, tokens_of(8, place)) for place, name in enumerate(("lora", "ia3"))]

    together = fresh()
    with Passes(quiet) as passes:
        train(passes, together, Clock(), Callbacks(lambda: None, lambda ended: None), micro_batch_size=None, steps=1)
    for place, own in enumerate(together):
        alone = fresh()[place]
        step(quiet, alone)
        weights = [{key: value.detach() for key, value in each.adapter.named_parameters()} for each in (alone, own)]
        assert_same(*weights, str(place))
