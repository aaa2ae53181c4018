"""Losses over a whole batch in micro-batches (GradCache): the same gradients as at once, in any cohort, dropout and all."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from afina.adapters.adapter import build_adapter
from afina.backbone.load import Backbone, load_backbone
from afina.data.tokens.tokens import PassageTokens
from afina.methods.base import make_method
from afina.ops.dropout import DropoutSource
from afina.tasks.retrieval import Retrieval
from afina.train.cached import cached_gradients
from afina.train.loop import Member, gradients
from afina.train.optimiser import Optimiser
from afina.train.passes import Passes
from cohorts import without_dropout
from families import save_family

ROWS = 7


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load_backbone(str(without_dropout(save_family("bert", tmp_path_factory.mktemp("cached") / "bert"))))


def passages(seed: int, rows: int = ROWS) -> PassageTokens:
    """Rows of a question, its passage and one that is wrong; some passages answer several questions."""
    draw = np.random.default_rng(seed)
    texts = rows + 9
    lengths = draw.integers(3, 12, texts)
    ids = draw.integers(5, 60, int(lengths.sum())).astype(np.int32)
    own = draw.integers(0, 5, rows)
    labels = np.stack([own, 5 + draw.integers(0, 4, rows), own], axis=1)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return PassageTokens(ids, offsets, labels, questions=np.arange(rows), asked=rows, most=2)


def member(backbone: Backbone, name: str, seed: int, tokens: PassageTokens, task: Retrieval, **more: object) -> Member:
    method = make_method(name, more, {"rank": 2})
    adapter = build_adapter(method, backbone, 0, seed)
    with torch.no_grad():
        for value in adapter.parameters():  # from a start at zero half of the gradients would be zero
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(seed)) * 0.1)
    beside = {key: nn.Parameter(value) for key, value in task.trained_beside().items()}
    optimiser = Optimiser(adapter.trainable(backbone) | beside, learning_rate=1e-3, total_steps=1)
    total = torch.zeros((), dtype=torch.float64)
    return Member(adapter, task, tokens, seed, 1, len(tokens), optimiser, None, total, beside=beside)


def taken(backbone: Backbone, members: list[Member], micro: int | None) -> list[dict[str, torch.Tensor]]:
    with Passes(backbone, DropoutSource(3)) as passes:
        gradients(passes, members, micro)
    each = [{**dict(own.adapter.named_parameters()), **own.beside} for own in members]
    assert all(value.grad is not None for own in each for value in own.values())
    return [{key: value.grad.clone() for key, value in own.items() if value.grad is not None} for own in each]


@pytest.mark.parametrize("micro", [1, 3, 6])
def test_micro_batches_give_the_gradients_of_the_whole_batch(quiet: Backbone, micro: int) -> None:
    def fresh() -> list[Member]:
        task = Retrieval(temperature=0.2, learned=True)
        return [member(quiet, "lora", 0, passages(0), task, dropout=0.0), member(quiet, "ia3", 1, passages(1, 5), task)]

    whole, cached = fresh(), fresh()
    expected, found = taken(quiet, whole, None), taken(quiet, cached, micro)
    for before, after in zip(expected, found, strict=True):
        for key, value in before.items():
            torch.testing.assert_close(
                after[key], value, rtol=1e-4, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}"
            )
    for one, other in zip(whole, cached, strict=True):
        assert one.mean_loss() == pytest.approx(other.mean_loss())
        assert one.position.tokens == other.position.tokens


def test_losses_of_micro_batches_alone_are_another_loss(quiet: Backbone) -> None:
    """What the cache is for: in parts of the batch there are fewer passages to be told from."""
    own = member(quiet, "lora", 0, passages(0), Retrieval())
    whole = taken(quiet, [own], None)[0]
    other = member(quiet, "lora", 0, passages(0), Retrieval())
    type(other.task).compares = False
    try:
        apart = taken(quiet, [other], 3)[0]
    finally:
        type(other.task).compares = True
    assert any(not torch.allclose(apart[key], value, rtol=1e-2) for key, value in whole.items())


def test_dropout_is_the_same_in_both_passes(tmp_path: Path) -> None:
    """The outputs whose gradient is cached are those of the pass that it goes into, or it would be another's."""
    noisy = load_backbone(str(save_family("bert", tmp_path / "bert")))
    own = member(noisy, "lora", 0, passages(0), Retrieval(), dropout=0.3)
    seen: list[torch.Tensor] = []
    with Passes(noisy, DropoutSource(5)) as passes:
        attached = passes.attached([own.adapter], training=True)
        plain = attached.outputs

        def watched(batch: object) -> list[torch.Tensor]:
            made = plain(batch)  # type: ignore[arg-type]
            seen.extend(output.detach().clone() for output in made)
            return made

        attached.outputs = watched  # type: ignore[method-assign]
        cached_gradients(attached, [own], [np.arange(ROWS)], 3)
        after = attached.source.factors(torch.Size([50]), 0.5, torch.float32) if attached.source else None
    first, again = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    for one, other in zip(first, again, strict=True):
        torch.testing.assert_close(one, other)
    assert not torch.allclose(first[0], plain_outputs(noisy, own)), "there was dropout"
    assert after is not None


def plain_outputs(backbone: Backbone, own: Member) -> torch.Tensor:
    with Passes(backbone) as passes, torch.no_grad():
        attached = passes.attached([own.adapter], training=False)
        return attached.outputs(attached.batch([(own.tokens, np.arange(3))]))[0]
