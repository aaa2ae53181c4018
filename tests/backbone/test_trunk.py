"""What lies below every branch is computed once a row, and nothing changes by it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from afina.backbone import trunk
from afina.backbone.attachment import Attachment
from afina.backbone.load import Backbone, load_backbone
from afina.backbone.trunk import Trunks
from afina.train.evaluate import predict_logits
from afina.train.loop import Callbacks, Clock, train
from afina.train.passes import Passes
from cohorts import member, tokens_of
from families import TEXT, load_family
from pairs import COVERING_TEXT

Loader = Callable[[str], Path]


def passing(backbone: Backbone) -> tuple[list[int], Any]:
    """Count the rows that go through the first layer's attention."""
    module = backbone.model.get_submodule(backbone.anatomy.attention_modules[0])
    rows: list[int] = []

    def count(_: Any, args: tuple[Any, ...], settings: dict[str, Any]) -> None:
        states = args[0] if args else settings["hidden_states"]
        rows.append(len(states))

    return rows, module.register_forward_pre_hook(count, with_kwargs=True)


@pytest.mark.covered("family", COVERING_TEXT, TEXT)
@pytest.mark.parametrize("name", ["head", "llama-adapter"])
def test_known_states_change_no_logit(family: str, name: str, family_folder: Loader) -> None:
    backbone, tokens = load_family(family_folder(family)), tokens_of(23, 0)
    own = [member(backbone, name, seed, tokens, **({} if name == "head" else {"layers": 1})) for seed in (0, 1)]
    with torch.no_grad():
        for parameter in (p for m in own for p in m.adapter.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    with Attachment(backbone, [m.adapter for m in own]) as attached:
        plain = predict_logits(attached, tokens, batch_size=8)
    with Passes(backbone) as passes:
        for _ in range(2):
            found = predict_logits(passes.attached([m.adapter for m in own], training=False), tokens, batch_size=8)
            np.testing.assert_allclose(np.stack(found), np.stack(plain), atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "modernbert", "deberta-v2"])
def test_each_row_goes_through_the_lower_layers_once(family: str, family_folder: Loader) -> None:
    backbone, tokens = load_family(family_folder(family)), tokens_of(23, 0)
    own = [member(backbone, "head", seed, tokens) for seed in (0, 1)]
    layer = backbone.model.get_submodule(backbone.anatomy.of_kind("layer")[0].module)
    rows, handle = passing(backbone)
    with Passes(backbone) as passes:
        train(passes, own, Clock(), Callbacks(lambda: None, lambda ended: None), micro_batch_size=None)
        predict_logits(passes.attached([m.adapter for m in own], training=False), tokens, batch_size=8)
    handle.remove()
    assert sum(rows) == 23  # two members, two epochs and an evaluation
    assert "forward" not in layer.__dict__


def test_a_branch_in_the_first_layer_shares_nothing(family_folder: Loader) -> None:
    backbone, tokens = load_family(family_folder("bert")), tokens_of(12, 0)
    own = [member(backbone, "lora", 0, tokens)]
    rows, handle = passing(backbone)
    with Passes(backbone) as passes:
        train(passes, own, Clock(), Callbacks(lambda: None, lambda ended: None), micro_batch_size=None)
    handle.remove()
    assert sum(rows) == 24


@pytest.mark.parametrize("disk", [True, False])
def test_states_lie_in_a_file_where_memory_is_scarce_and_are_not_kept_where_nothing_has_room(
    disk: bool, family_folder: Loader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backbone, tokens = load_family(family_folder("gpt2")), tokens_of(23, 0)
    own = member(backbone, "llama-adapter", 0, tokens, layers=1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files: list[str] = []
    from_file = torch.from_file

    def noted(name: str, **settings: Any) -> torch.Tensor:
        files.append(name)
        return from_file(name, **settings)

    monkeypatch.setattr(torch, "from_file", noted)
    monkeypatch.setattr(trunk, "_SHARE", 0.0)
    if not disk:
        monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 0}))
    with Attachment(backbone, [own.adapter]) as attached:
        plain = predict_logits(attached, tokens, batch_size=8)
    with Attachment(backbone, [own.adapter], trunks=Trunks(), trunk_layers=1) as attached:
        for _ in range(2):
            np.testing.assert_allclose(predict_logits(attached, tokens, batch_size=8)[0], plain[0], atol=1e-5)
    assert bool(files) == disk
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_products_of_frozen_layers_are_lent_while_attached(precision: str) -> None:
    backbone, plain = (load_backbone("minilm", precision=precision) for _ in range(2))
    if not backbone.linears:
        pytest.skip("torch has no products of oneDNN's on this processor")
    plain.linears = {}
    logits = []
    for one in (backbone, plain):
        own = member(one, "lora", 0, tokens_of(20, 0))
        with Attachment(one, [own.adapter]) as attached:
            logits.append(predict_logits(attached, own.tokens, batch_size=64)[0])
            # Where a branch stands a layer's forward is another in any case; here none stands.
            feed_forward = one.model.get_submodule("encoder.layer.1.intermediate.dense")
            assert ("forward" in vars(feed_forward)) == bool(one.linears)
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-4 if precision == "fp32" else 5e-2)
    assert not any("forward" in vars(module) for module in backbone.model.modules())
