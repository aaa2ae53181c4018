"""What hangs on a model and what flows through it: a pass leaves nothing behind, and on leaving all is as it was."""

import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from afina.adapters.adapter import Adapter, build_adapter
from afina.backbone.attachment import Attachment
from afina.backbone.load import Backbone
from afina.backbone.trunk import Trunks
from afina.errors import UsageError
from afina.ops.dropout import DropoutSource
from families import load_family
from pairs import FROZEN, batch, make, stir

Loader = Callable[[str], Path]
LENT = ("deberta-v2", "mpnet")


def stirred(name: str, backbone: Backbone, seed: int = 0) -> Adapter:
    adapter = build_adapter(make(name), backbone, outputs=2, seed=seed)
    stir(adapter)
    return adapter


def gradients(attached: Attachment, adapters: list[Adapter], *passes: tuple[dict[str, Tensor], list[slice]]) -> Any:
    """The gradients of all passes' losses together, by one backward pass."""
    losses = [own.square().sum() for inputs, rows in passes for own in attached(inputs, rows)]
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
    return [value.grad for adapter in adapters for value in adapter.parameters()]


def attributes(owner: Any) -> dict[str, int]:
    """What an object holds beside its parameters, by identity."""
    return {name: id(value) for name, value in vars(owner).items() if not name.startswith("_parameters")}


@pytest.mark.parametrize("family", ["bert", "t5"])
@pytest.mark.parametrize("name", FROZEN)
def test_an_evaluation_before_training_changes_nothing(name: str, family: str, family_folder: Loader) -> None:
    backbone = load_family(family_folder(family))
    found = []
    for evaluates in (False, True):
        adapter = stirred(name, backbone)
        with Attachment(backbone, [adapter], DropoutSource(3)) as attached:
            if evaluates:
                before = [attributes(part) for part in (attached, *adapter.modules())]
                with torch.no_grad():
                    attached({key: value[:2] for key, value in batch(family).items()})
                assert [attributes(part) for part in (attached, *adapter.modules())] == before
            attached.train()
            found.append(gradients(attached, [adapter], (batch(family), [slice(0, 3)])))
            attached.train(False)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_head_switched_alone_leaves_no_branch_dropping(family_folder: Loader) -> None:
    """What writes a merged graph holds the head without the branches, and switches it."""
    backbone = load_family(family_folder("bert"))
    adapter = build_adapter(make("lora", dropout=0.5), backbone, outputs=2, seed=0)
    stir(adapter)
    adapter.train()
    adapter.head.eval()
    with Attachment(backbone, [adapter]) as attached, torch.no_grad():
        first, second = (attached(batch())[0] for _ in range(2))
    assert torch.equal(first, second)


def test_a_model_is_in_flight_for_the_time_of_a_pass_alone(family_folder: Loader) -> None:
    backbone = load_family(family_folder("bert"))
    with Attachment(backbone, [stirred("loreft", backbone)]) as attached:
        attached(batch())
        with pytest.raises(AssertionError, match="without its attachment"):
            backbone.model(**batch())


@pytest.mark.parametrize("name", ["lora", "loreft", "parallel", "prefix"])
def test_layers_computed_again_belong_to_their_own_pass(name: str, family_folder: Loader) -> None:
    """Two passes whose rows are other adapters', and one backward pass for both."""
    backbone = load_family(family_folder("bert"))
    passes = [(batch(), [slice(0, 1), slice(1, 3)]), (batch(), [slice(0, 2), slice(2, 3)])]
    found = []
    for checkpointing in (False, True):
        adapters = [stirred(name, backbone, seed) for seed in (0, 1)]
        with Attachment(backbone, adapters, DropoutSource(3), training=True, checkpointing=checkpointing) as attached:
            found.append(gradients(attached, adapters, *passes))
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(again, plain, rtol=1e-4, atol=1e-6)


def wrapped(model: nn.Module) -> Counter[nn.Module]:
    """Put a forward pass of its own on every module, in place, as accelerate does; return how often each was called."""
    calls: Counter[nn.Module] = Counter()

    def wrap(module: nn.Module) -> None:
        forward = module.forward

        @functools.wraps(forward)
        def counting(*args: Any, **settings: Any) -> Any:
            calls[module] += 1
            return forward(*args, **settings)

        module.forward = counting

    for module in model.modules():
        wrap(module)
    return calls


def kept_forwards(model: nn.Module) -> dict[str, Any]:
    return {name: vars(module).get("forward") for name, module in model.named_modules()}


@pytest.mark.parametrize("family", ["bert", "albert", "gpt2", "gemma2", "t5", "vit"])
def test_forwards_that_were_put_there_are_called_and_there_again(family: str, family_folder: Loader) -> None:
    plain, backbone = (load_family(family_folder(family)) for _ in range(2))
    calls = wrapped(backbone.model)
    before, results = kept_forwards(backbone.model), []
    for own in (plain, backbone):
        adapters = [stirred(name, own) for name in ("lora", "prefix")]
        with Attachment(own, adapters, DropoutSource(3), training=True, checkpointing=True) as attached:
            results.append(gradients(attached, adapters, (batch(family), [slice(0, 2), slice(2, 3)])))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert kept_forwards(backbone.model) == before
    assert set(kept_forwards(plain.model).values()) == {None}
    sites = {site.module for site in backbone.anatomy.of_kind("linear", "layer") if site.role != "outer"}
    assert all(calls[backbone.model.get_submodule(site)] for site in sites)


def test_lower_layers_that_are_passed_over_get_back_their_forwards(family_folder: Loader) -> None:
    backbone = load_family(family_folder("bert"))
    wrapped(backbone.model)
    before = kept_forwards(backbone.model)
    with Attachment(backbone, [stirred("head", backbone)], trunks=Trunks(), trunk_layers=2):
        assert kept_forwards(backbone.model) != before
    assert kept_forwards(backbone.model) == before


@pytest.mark.parametrize("family", LENT)
def test_an_attention_that_is_anothers_is_refused_where_ours_has_to_stand_in_its_place(
    family: str, family_folder: Loader
) -> None:
    backbone = load_family(family_folder(family))
    wrapped(backbone.model)
    before = kept_forwards(backbone.model)
    with (
        pytest.raises(UsageError, match=r"has a forward pass that something else put there \(accelerate's"),
        Attachment(backbone, [stirred("lora", backbone)]),
    ):
        pass
    assert kept_forwards(backbone.model) == before


@pytest.mark.parametrize("second", ["cpu", "disk"])
@pytest.mark.parametrize("name", ["lora", "prefix", "prompt", "parallel"])
def test_a_model_that_accelerate_dispatched_stays_dispatched(
    name: str, second: str, family_folder: Loader, tmp_path: Path
) -> None:
    """Its second half in its place, or read from a file whenever it is called."""
    from accelerate import dispatch_model
    from accelerate.hooks import remove_hook_from_submodules

    plain, backbone = (load_family(family_folder("bert")) for _ in range(2))
    places = {"embeddings": "cpu", "encoder.layer.0": "cpu", "encoder.layer.1": second, "pooler": second}
    dispatch_model(backbone.model, places, main_device="cpu", offload_dir=tmp_path, force_hooks=True)
    before, results = kept_forwards(backbone.model), []
    assert before["encoder.layer.1"] is not None
    for own in (plain, backbone):
        adapter = stirred(name, own)
        with Attachment(own, [adapter], DropoutSource(3), training=True, checkpointing=True) as attached:
            results.append(gradients(attached, [adapter], (batch(), [slice(0, 3)])))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert kept_forwards(backbone.model) == before
    remove_hook_from_submodules(backbone.model)
    with Attachment(backbone, []):  # accelerate leaves the class's own forward behind
        assert set(backbone.linears) <= {module for module in backbone.model.modules() if "forward" in vars(module)}
