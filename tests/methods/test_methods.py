"""Properties that every method holds on every architecture; cases are found by walking the registries."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from afina.adapters.adapter import build_adapter
from afina.adapters.merged import Merged
from afina.backbone.attachment import Attachment
from afina.backbone.branch import AttentionBranch
from afina.backbone.rows import ROWS
from afina.errors import AfinaError, UsageError
from afina.methods.base import make_method, registry
from afina.ops.dropout import DropoutSource
from conformance import can_be
from families import DECODERS, FAMILIES, TEXT, classifier, load_family
from pairs import (
    COVERING_FAMILIES,
    COVERING_LAYOUTS,
    COVERING_METHODS,
    FROZEN,
    LENGTHS,
    TRAINED,
    Loader,
    batch,
    load,
    logits,
    make,
    stir,
)


def test_every_row_of_the_anatomy_has_a_small_model() -> None:
    assert set(FAMILIES) == set(ROWS)


@pytest.mark.parametrize("family", [family for family in FAMILIES if ROWS[family].lacks])
def test_a_method_without_a_place_is_refused_with_the_reason(family: str, family_folder: Loader) -> None:
    """Those alone: all others are in the tests below."""
    backbone, refused = load(family_folder, family), set()
    for name in TRAINED:
        try:
            build_adapter(make(name), backbone, outputs=2, seed=0)
        except UsageError as error:
            role = make(name).missing_role(ROWS[family])
            assert str(error).startswith(f"{family} has no '{role}' for '{name}' to adapt: {ROWS[family].lacks[role]};")
            refused.add(name)
    assert refused == {name for name in TRAINED if not can_be(name, family)} != set()


@pytest.mark.parametrize("family", FAMILIES)
def test_backbone_and_head_give_the_logits_of_transformers(family: str, family_folder: Loader) -> None:
    theirs = classifier(family).from_pretrained(family_folder(family), attn_implementation="eager")
    theirs.eval()
    theirs.config.pad_token_id = 0
    backbone = load(family_folder, family)
    adapter = build_adapter(make("head"), backbone, outputs=2, seed=0)
    own = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, value in adapter.head.named_parameters():
            value.copy_(own[name])
        expected = theirs(**batch(family)).logits
    torch.testing.assert_close(logits(backbone, adapter, batch(family)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.pairs([name for name in TRAINED if registry()[name].identity_start], FAMILIES)
def test_nothing_changes_at_the_start(
    name: str, family: str, family_folder: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Leaving tokens out of the last layer changes the order of sums, so that it is off for both or on for both.
    monkeypatch.setattr(Attachment, "narrows", False)
    backbone = load(family_folder, family)
    adapter = build_adapter(make(name), backbone, outputs=3, seed=5)
    plain = build_adapter(make("head"), backbone, outputs=3, seed=5)
    assert torch.equal(logits(backbone, adapter, batch(family)), logits(backbone, plain, batch(family)))


@pytest.mark.pairs(FROZEN, FAMILIES)
def test_training_lowers_the_loss_and_leaves_the_backbone_as_it_was(
    name: str, family: str, family_folder: Loader
) -> None:
    backbone = load(family_folder, family)
    before = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in backbone.model.modules())
    adapter = build_adapter(make(name), backbone, outputs=2, seed=0)
    optimiser = torch.optim.AdamW(adapter.parameters(), lr=3e-3)
    labels, losses = torch.tensor([0, 1, 0]), []
    with Attachment(backbone, [adapter], DropoutSource(0)) as attached:
        for step in range(8):
            attached.train(False)
            loss = torch.nn.functional.cross_entropy(attached(batch(family))[0], labels)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
            missing = [key for key, value in adapter.named_parameters() if value.grad is None]
            assert not missing, f"no gradient reaches {missing}"
            optimiser.zero_grad()
            if step and losses[-1] < losses[0]:
                break
    assert min(losses) < losses[0]
    assert all(value.grad is None for value in backbone.model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in backbone.model.state_dict().items())
    assert hooks == sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in backbone.model.modules())


HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
IN_HALF = [*((name, "bert") for name in TRAINED), *((name, "gemma2") for name in ("full", *COVERING_METHODS))]


@pytest.mark.covered(
    ("precision", "name", "family"),
    [("bf16", *own) for own in IN_HALF] + [("fp16", name, "bert") for name in ("full", *COVERING_METHODS)],
    [(precision, *own) for precision in HALF for own in IN_HALF],
)
def test_gradients_in_half_precision_point_where_those_of_float32_do(
    precision: str, name: str, family: str, family_folder: Loader
) -> None:
    """As a run does it: weights in half precision, or autocast from float32 where the method trains the weights."""
    own = registry()[name].owns_backbone
    found: list[dict[str, Tensor | None]] = []
    for used in ("fp32", precision):
        backbone = load_family(family_folder(family), precision="fp32" if own else used)
        if own:
            backbone.autocast = HALF.get(used)
            backbone.model.requires_grad_(True)
        adapter = build_adapter(make(name), backbone, outputs=2, seed=0)
        if not own:
            stir(adapter)  # or a gradient that is nothing at the start would be compared with nothing
        with Attachment(backbone, [adapter]) as attached:
            torch.nn.functional.cross_entropy(attached(batch(family))[0], torch.tensor([0, 1, 0])).backward()
        trained = adapter.trainable(backbone)
        found.append({key: None if value.grad is None else value.grad.clone() for key, value in trained.items()})
    assert any(gradient is not None for gradient in found[0].values())
    # All of an adapter's together: rounding may turn what is small of it, and leaves the step that is taken.
    assert [key for key, value in found[0].items() if value is None] == [
        key for key, value in found[1].items() if value is None
    ]
    exact, rounded = (torch.cat([value.flatten() for value in own.values() if value is not None]) for own in found)
    assert torch.nn.functional.cosine_similarity(exact, rounded, dim=0) > 0.99
    torch.testing.assert_close(rounded.norm(), exact.norm(), rtol=0.1, atol=0.0)
    with Attachment(backbone, [adapter], DropoutSource(0)) as attached:  # whose draws depend on the type
        attached.train(True)
        torch.nn.functional.cross_entropy(attached(batch(family))[0], torch.tensor([0, 1, 0])).backward()
    for value in trained.values():
        assert value.dtype == torch.float32
        assert value.grad is None or value.grad.isfinite().all()


@pytest.mark.pairs(FROZEN, TEXT)
def test_padding_changes_nothing(name: str, family: str, family_folder: Loader) -> None:
    """On the right, on the left, or none: the same text gives the same logits."""
    backbone = load(family_folder, family)
    adapter = build_adapter(make(name), backbone, outputs=2, seed=0)
    stir(adapter)
    inputs = batch(family)
    together = logits(backbone, adapter, inputs)
    assert torch.equal(logits(backbone, adapter, batch(family, side="left")), together)
    for row, length in enumerate(LENGTHS):
        alone = logits(backbone, adapter, {"input_ids": inputs["input_ids"][row : row + 1, :length]})
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.pairs(FROZEN, FAMILIES)
def test_a_merged_backbone_equals_the_adapter(name: str, family: str, family_folder: Loader) -> None:
    backbone = load(family_folder, family)
    adapter = build_adapter(make(name), backbone, outputs=2, seed=0)
    stir(adapter)
    expected = logits(backbone, adapter, batch(family))
    if not registry()[name].mergeable:
        for _, branch in adapter.placed():
            with pytest.raises(AfinaError, match="cannot be merged"):
                branch.fold(torch.zeros(2, 2), None)
        return
    before = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    plain = build_adapter(make("head"), backbone, outputs=2, seed=0)
    plain.head.load_state_dict(adapter.head.state_dict())
    with Merged(backbone, adapter):
        torch.testing.assert_close(logits(backbone, plain, batch(family)), expected, rtol=1e-4, atol=1e-5)
    after = backbone.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in after.items())


@pytest.mark.pairs(FROZEN, FAMILIES)
def test_layers_computed_again_give_the_same_gradients(name: str, family: str, family_folder: Loader) -> None:
    """Gradient checkpointing, with dropout on: what is drawn again is what was drawn."""
    backbone = load(family_folder, family)
    gradients = []
    for checkpointing in (False, True):
        adapter = build_adapter(make(name), backbone, outputs=2, seed=0)
        stir(adapter)
        torch.manual_seed(5)
        with Attachment(backbone, [adapter], DropoutSource(7), checkpointing=checkpointing) as attached:
            attached.train(True)
            attached(batch(family))[0].square().sum().backward()
        gradients.append([value.grad for value in adapter.parameters()])
        assert not any("forward" in vars(module) for module in backbone.model.modules())
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.pairs(FROZEN, FAMILIES)
def test_one_row_the_longest_text_and_the_base_again(name: str, family: str, family_folder: Loader) -> None:
    backbone = load(family_folder, family)
    plain = build_adapter(make("head"), backbone, outputs=2, seed=0)
    base = logits(backbone, plain, batch(family))
    adapter = build_adapter(make(name), backbone, outputs=2, seed=0)
    stir(adapter)
    changed = logits(backbone, adapter, batch(family))
    one = {key: value[:1] for key, value in batch(family).items()}
    torch.testing.assert_close(logits(backbone, adapter, one), changed[:1], rtol=1e-4, atol=1e-5)
    if family in TEXT:
        length = min(backbone.context, 64) - (20 if name in ("prompt", "ptuning") else 0)
        longest = {"input_ids": torch.arange(length).remainder(50)[None] + 5}
        assert logits(backbone, adapter, longest).isfinite().all()
    assert torch.equal(logits(backbone, plain, batch(family)), base)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # the compiler's own looking about
@pytest.mark.whole
@pytest.mark.parametrize(("name", "family"), [("lora", "gpt2"), ("ia3", "llama"), ("houlsby", "bert")])
def test_a_compiled_step_is_the_step(name: str, family: str, family_folder: Loader) -> None:
    backbone = load(family_folder, family)
    results = []
    for compiled in (False, True):
        adapter = build_adapter(make(name), backbone, outputs=2, seed=0)
        stir(adapter)
        with Attachment(backbone, [adapter]) as attached:
            step = torch.compile(attached, backend="aot_eager") if compiled else attached
            output = step(batch(family))[0]
            output.square().sum().backward()
        results.append([output, *(value.grad for value in adapter.parameters())])
    torch._dynamo.reset()
    for plain, other in zip(*results, strict=True):
        torch.testing.assert_close(other, plain, rtol=1e-4, atol=1e-5)


VARIANTS = [("prefix", {"reparametrise": True}), ("ptuning", {"encoder": "lstm"}), ("prompt", {"init": "random"}),
            ("lora", {"init": "pissa"}), ("lora", {"init": "pissa", "rslora": True}), ("llama-adapter", {"layers": 2}),
            ("loreft", {"first": 0, "last": 2})]  # fmt: skip


@pytest.mark.parametrize("family", ["bert", "gpt2", "qwen3"])
@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=str)
def test_variants_learn_and_are_saved(
    name: str, settings: dict[str, Any], family: str, family_folder: Loader, tmp_path: Path
) -> None:
    from afina.adapters.adapter import load_adapter, save_adapter
    from afina.adapters.record import AdapterRecord, read_record

    backbone = load(family_folder, family)
    adapter = build_adapter(make(name, **settings), backbone, outputs=2, seed=0)
    optimiser = torch.optim.AdamW(adapter.parameters(), lr=1e-2)
    losses = []
    with Attachment(backbone, [adapter]) as attached:
        for _ in range(6):
            loss = torch.nn.functional.cross_entropy(attached(batch(family))[0], torch.tensor([0, 1, 0]))
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            losses.append(loss.item())
    assert losses[-1] < losses[0]
    record = AdapterRecord(
        model=str(family_folder(family)), method=name, settings=adapter.method.settings(), max_length=64, precision="fp32",
        task={"name": "classification", "label_names": ["a", "b"]}, seed=0,
    )  # fmt: skip
    save_adapter(tmp_path / "adapter", adapter, backbone, record)
    again = load_adapter(tmp_path / "adapter", backbone, read_record(tmp_path / "adapter"), outputs=2)
    torch.testing.assert_close(
        logits(backbone, again, batch(family)), logits(backbone, adapter, batch(family)), rtol=1e-5, atol=1e-5
    )


@pytest.mark.covered("family", COVERING_LAYOUTS, FAMILIES)
def test_pissa_starts_at_the_base_and_at_its_largest_directions(family: str, family_folder: Loader) -> None:
    backbone = load(family_folder, family)
    adapter = build_adapter(make("lora", init="pissa", alpha=6.0), backbone, outputs=2, seed=0)
    plain = build_adapter(make("head"), backbone, outputs=2, seed=0)
    torch.testing.assert_close(
        logits(backbone, adapter, batch(family)), logits(backbone, plain, batch(family)), rtol=1e-4, atol=1e-5
    )
    modules = dict(backbone.model.named_modules())
    for site, branch in adapter.placed():
        weight = modules[site.module].weight.T if site.transposed else modules[site.module].weight
        weight = weight[slice(*(site.part or (None,)))]
        largest = torch.linalg.svdvals(weight)
        left = torch.linalg.svdvals(weight - branch.scale * branch.b @ branch.a)
        torch.testing.assert_close(left[: len(largest) - 3], largest[3:], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["prompt", "ptuning"])
def test_a_prompt_too_long_for_the_context_is_one_sentence(name: str, family_folder: Loader) -> None:
    backbone = load(family_folder, "bert")
    adapter = build_adapter(make(name, length=60), backbone, outputs=2, seed=0)
    with pytest.raises(AfinaError, match="do not fit the model's 64 positions; set max_length to at most 4"):
        logits(backbone, adapter, batch())


def test_a_prefix_that_moves_texts_too_far_is_one_sentence(family_folder: Loader) -> None:
    backbone = load(family_folder, "gpt2")
    adapter = build_adapter(make("prefix", length=60, positions="moved"), backbone, outputs=2, seed=0)
    with pytest.raises(AfinaError, match="beyond the model's 64 positions; set max_length to at most 4"):
        logits(backbone, adapter, batch())
    with pytest.raises(UsageError, match="moved in decoders only; bert is none"):
        build_adapter(make("prefix", positions="moved"), load(family_folder, "bert"), outputs=2, seed=0)


def test_a_prompt_is_what_transformers_makes_of_its_embeddings(family_folder: Loader) -> None:
    """A causal classifier of transformers, given the same vectors before the text, gives the same logits."""
    from transformers import AutoModelForSequenceClassification

    for family in DECODERS:
        theirs = AutoModelForSequenceClassification.from_pretrained(family_folder(family)).eval()
        theirs.config.pad_token_id = 0
        backbone = load(family_folder, family)
        adapter = build_adapter(make("prompt", length=5), backbone, outputs=2, seed=0)
        ids = batch()["input_ids"][:1]
        with torch.no_grad():
            for name, value in adapter.head.named_parameters():
                value.copy_(dict(theirs.named_parameters())[name])
            (_, branch), *_ = adapter.placed()
            words = theirs.get_input_embeddings()(ids)
            expected = theirs(inputs_embeds=torch.cat([branch.vectors()[None], words], dim=1)).logits
        torch.testing.assert_close(logits(backbone, adapter, {"input_ids": ids}), expected, rtol=1e-5, atol=1e-5)


def test_a_batch_is_not_padded_beyond_the_context() -> None:
    from afina.data.tokens.batching import collate
    from afina.data.tokens.tokens import LabelledTokens

    tokens = LabelledTokens(np.arange(61, dtype=np.int32), np.array([0, 61]), np.array([0]), None)
    assert collate([(tokens, np.array([0]))], 0, most=62).inputs["input_ids"].shape == (1, 62)
    assert collate([(tokens, np.array([0]))], 0).inputs["input_ids"].shape == (1, 64)


@pytest.mark.covered("family", COVERING_FAMILIES, FAMILIES)
def test_rows_of_mixed_methods_are_routed(family: str, family_folder: Loader) -> None:
    """All methods in one batch, each on other rows: every row's logits and gradients are those of its adapter alone."""
    backbone = load(family_folder, family)
    names = [name for name in FROZEN if can_be(name, family)]
    adapters = [build_adapter(make(name), backbone, outputs=2 + i, seed=i) for i, name in enumerate(names)]
    for adapter in adapters:
        stir(adapter)
    inputs = batch(family)
    many = {key: torch.cat([value] * len(adapters)) for key, value in inputs.items()}
    rows = [slice(3 * i, 3 * i + 3) for i in range(len(adapters))]
    with Attachment(backbone, adapters) as attached:
        together = attached(many, rows)
        torch.stack([part.square().sum() for part in together]).sum().backward()
    gradients = [[value.grad.clone() for value in adapter.parameters()] for adapter in adapters]
    for adapter, part, own in zip(adapters, together, gradients, strict=True):
        adapter.zero_grad()
        with Attachment(backbone, [adapter]) as attached:
            (alone,) = attached(inputs)
            alone.square().sum().backward()
        torch.testing.assert_close(part, alone, rtol=1e-4, atol=1e-5)
        # Small entries are what is left of large ones that cancel: the largest of the adapter says what rounding is.
        largest = max(float(value.grad.abs().max()) for value in adapter.parameters())
        for value, expected in zip(own, adapter.parameters(), strict=True):
            torch.testing.assert_close(value, expected.grad, rtol=1e-3, atol=1e-5 * max(1.0, largest))


class _Prefix(AttentionBranch):
    """A sketch of prefix tuning: the interface has to carry it."""

    def __init__(self, heads: int, length: int, width: int) -> None:
        super().__init__()
        self.key = torch.nn.Parameter(torch.randn(1, heads, length, width))
        self.value = torch.nn.Parameter(torch.randn(1, heads, length, width))

    def before(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Any:
        rows, length = len(key), self.key.shape[2]
        if mask is not None:
            mask = torch.cat([mask.new_zeros(*mask.shape[:3], length), mask], dim=-1)
        key = torch.cat([self.key.expand(rows, -1, -1, -1), key], dim=2)
        return query, key, torch.cat([self.value.expand(rows, -1, -1, -1), value], dim=2), mask


def test_an_attention_branch_sees_the_rows_of_its_adapter_only(family_folder: Loader) -> None:
    from afina.backbone.anatomy import Site

    backbone = load(family_folder, "bert")
    plain, prefixed = (build_adapter(make("head"), backbone, outputs=2, seed=0) for _ in range(2))
    site = Site(
        name="prefix", module=backbone.anatomy.attention_modules[1], role="attention", kind="attention", layer=1,
        width_in=24, width=24,
    )  # fmt: skip
    branch = _Prefix(heads=4, length=3, width=6)
    prefixed.placed = lambda: [(site, branch)]  # type: ignore[method-assign]
    inputs = batch()
    many = {key: value.repeat(2, 1) for key, value in inputs.items()}
    with Attachment(backbone, [plain, prefixed]) as attached, torch.no_grad():
        first, second = attached(many, [slice(0, 3), slice(3, 6)])
    torch.testing.assert_close(first, logits(backbone, plain, inputs), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(second, logits(backbone, prefixed, inputs), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("family", DECODERS)
def test_a_decoder_classifies_at_its_last_real_token_whatever_the_pad_token(family: str, family_folder: Loader) -> None:
    backbone = load(family_folder, family)
    assert backbone.tokenizer.pad_token is not None
    adapter = build_adapter(make("head"), backbone, outputs=2, seed=0)
    expected = logits(backbone, adapter, batch(pad=0))
    torch.testing.assert_close(logits(backbone, adapter, batch(pad=7)), expected, rtol=1e-5, atol=1e-6)


def test_fused_projections_are_reached_by_slices(family_folder: Loader) -> None:
    backbone = load(family_folder, "gpt2")
    sites = backbone.anatomy.by_role(["query", "value"], for_method="lora")
    assert [site.part for site in sites[:2]] == [(0, 24), (48, 72)]
    assert sites[0].transposed


@pytest.mark.parametrize("family", FAMILIES)
def test_a_heads_layers_before_its_last_learn_more_slowly(family: str, family_folder: Loader) -> None:
    backbone = load(family_folder, family)
    head = build_adapter(make("head", hidden_rate=0.2), backbone, outputs=2, seed=0)
    trainable = head.trainable(backbone)
    factors = head.method.rate_factors(trainable, backbone.anatomy)
    outputs = {id(value) for value in head.head.last.parameters()} if head.head.last is not None else set()
    assert {name for name, value in trainable.items() if id(value) not in outputs} == set(factors)
    assert set(factors.values()) <= {0.2}


def test_rates_differ_by_layer_and_by_matrix(family_folder: Loader) -> None:
    from afina.train.optimiser import Optimiser

    backbone = load(family_folder, "bert")
    full = build_adapter(make("full", layer_decay=0.5), backbone, outputs=2, seed=0)
    factors = full.method.rate_factors(full.trainable(backbone), backbone.anatomy)
    assert (
        factors["backbone.embeddings.word_embeddings.weight"]
        == factors["backbone.embeddings.LayerNorm.weight"]
        == 0.125
    )
    assert factors["backbone.encoder.layer.0.output.dense.weight"] == 0.5
    assert factors["backbone.encoder.layer.1.output.dense.bias"] == factors["backbone.pooler.dense.weight"] == 1.0
    assert "head.classifier.weight" not in factors
    lora = build_adapter(make("lora", b_rate=16), backbone, outputs=2, seed=0)
    trainable = lora.trainable(backbone)
    factors = lora.method.rate_factors(trainable, backbone.anatomy)
    optimiser = Optimiser(trainable, learning_rate=1e-3, total_steps=1, gradient_clip=None, rate_factors=factors)
    before = {name: value.detach().clone() for name, value in trainable.items()}
    for value in trainable.values():
        value.grad = torch.ones_like(value)
    optimiser.step(1)
    # AdamW's first step is the rate itself, whatever the gradient.
    moved = {name: (before[name] - value).abs().max().item() for name, value in trainable.items()}
    assert all(
        change == pytest.approx(0.016 if name.endswith(".b") else 0.001, rel=1e-3) for name, change in moved.items()
    )


def test_a_weighted_and_smoothed_loss_is_torchs() -> None:
    from afina.tasks.base import restore
    from afina.tasks.classification import Classification, class_weights

    labels, names = np.array([0, 0, 0, 1]), ("many", "few")
    task = Classification(names, smoothing=0.1, weights=class_weights("balanced", labels, names))
    values, target = torch.randn(4, 2), torch.from_numpy(labels)
    weights = torch.tensor([4 / 6, 2.0])
    expected = torch.nn.functional.cross_entropy(values, target, weights, label_smoothing=0.1, reduction="sum")
    torch.testing.assert_close(restore(task.state()).loss(values, target), expected)
    with pytest.raises(UsageError, match="no class 'fwe'; did you mean 'few'"):
        class_weights({"fwe": 2.0}, labels, names)


def test_settings_are_checked_when_made() -> None:
    with pytest.raises(UsageError, match="unknown setting 'rnk'; did you mean 'rank'"):
        make_method("lora", {"rnk": 4})
    with pytest.raises(UsageError, match="Unknown method 'lroa'; did you mean 'lora'"):
        make_method("lroa", {})
    with pytest.raises(UsageError, match="rank should be at least 1, not 0"):
        make_method("lora", {"rank": 0})
    with pytest.raises(UsageError, match="'rank' should be int, not 'four'"):
        make_method("lora", {"rank": "four"})
    with pytest.raises(UsageError, match="start_rank 2 is below rank 8"):
        make_method("adalora", {"start_rank": 2})


def test_what_a_model_cannot_carry_is_said(family_folder: Loader) -> None:
    backbone = load(family_folder, "bert")
    with pytest.raises(UsageError, match=r"bert has no 'ffn_gate' for 'lora' to adapt.*its roles are query, key"):
        build_adapter(make("lora", targets=("ffn_gate",)), backbone, 2, 0)
    with pytest.raises(UsageError, match="rank 400 is larger than the layer"):
        build_adapter(make_method("lora", {"rank": 400}), backbone, 2, 0)
