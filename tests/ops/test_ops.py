"""Fast operations against their plain definitions."""

import copy
import json

import pytest
import torch
from transformers.pytorch_utils import Conv1D

from afina.ops import frozen_linear
from afina.ops.attention import Scoring, attention
from afina.ops.dropout import DropoutSource, dropout
from afina.ops.frozen_linear import copied_bytes, frozen_linears
from afina.ops.low_rank import low_rank_update


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dropout_is_its_definition_forward_and_backward(dtype: torch.dtype) -> None:
    x = torch.randn(3, 7, 5, dtype=dtype, requires_grad=True)
    kept = DropoutSource(4).factors(x.shape, 0.3, dtype) != 0
    result = dropout(x, 0.3, DropoutSource(4))
    torch.testing.assert_close(result, x * kept / 0.7, rtol=1e-2, atol=1e-6)
    weights = torch.randn_like(result)
    (result * weights).sum().backward()
    torch.testing.assert_close(x.grad, weights * kept / 0.7, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.001, 0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(probability: float, dtype: torch.dtype) -> None:
    factors = DropoutSource(0).factors(torch.Size((1_000_000,)), probability, dtype).double()
    assert (factors == 0).double().mean().item() == pytest.approx(probability, rel=0.15, abs=1 / 32768)
    # Four standard errors of the mean of such factors, and what rounding the probability to 1/32768 leaves.
    spread = (probability / (1 - probability)) ** 0.5
    rounding = 2 / 32768 / (1 - probability) + (torch.finfo(dtype).eps / 2 if probability < 0.01 else 0)
    assert factors.mean().item() == pytest.approx(1, abs=4 * spread / 1000 + rounding)


def test_dropout_goes_on_from_its_state() -> None:
    source = DropoutSource(1)
    source.factors(torch.Size((37,)), 0.2, torch.float32)
    source.factors(torch.Size((1 << 21,)), 0.1, torch.bfloat16)
    state = json.loads(json.dumps(source.state()))
    other = DropoutSource(9)
    other.load_state(state)
    for count, probability, dtype in [
        (100, 0.2, torch.float32),
        (5, 0.1, torch.bfloat16),
        (1 << 20, 0.2, torch.float32),
    ]:
        shape = torch.Size((count,))
        assert torch.equal(other.factors(shape, probability, dtype), source.factors(shape, probability, dtype))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_torchs(groups: int, causal: bool, masked: bool) -> None:
    torch.manual_seed(0)
    query = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    key, value = (torch.randn(2, 4 // groups, 5, 6, dtype=torch.float64) for _ in range(2))
    mask = torch.ones(2, 1, 5, 5, dtype=torch.bool).tril() if masked else None
    if mask is not None:
        mask[1, :, :, 4] = False
    causal = causal and not masked
    ours = attention(query, key, value, mask, Scoring(scaling=0.3, causal=causal))
    theirs = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal, scale=0.3, enable_gqa=groups > 1
    )
    torch.testing.assert_close(ours, theirs)
    with torch.inference_mode():
        torch.testing.assert_close(
            attention(query, key, value, mask, Scoring(scaling=0.3, causal=causal)), theirs.detach()
        )


@pytest.mark.parametrize("gradient", [False, True])
def test_causal_attention_lines_up_the_last_query_with_the_last_key(gradient: bool) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 5, 4), torch.randn(1, 2, 5, 4)
    mask = torch.ones(1, 1, 3, 5, dtype=torch.bool).tril(2)
    with torch.set_grad_enabled(gradient):
        causal = attention(query, key, value, None, Scoring(scaling=0.5, causal=True))
        torch.testing.assert_close(causal, attention(query, key, value, mask, Scoring(scaling=0.5)))
        torch.testing.assert_close(causal, attention(query, key, value, mask, Scoring(scaling=0.5, causal=True)))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("probability", [0.0, 0.3])
def test_attention_gradients_are_those_of_finite_differences(masked: bool, probability: float) -> None:
    torch.manual_seed(0)
    query = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    key, value = (torch.randn(2, 2, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    mask = torch.ones(2, 1, 3, 5, dtype=torch.bool).tril(2) if masked else None

    def attend(*tensors: torch.Tensor) -> torch.Tensor:
        source = DropoutSource(5)  # the same draw at every call
        return attention(*tensors, mask, Scoring(scaling=0.5, dropout_probability=probability), source=source)

    assert torch.autograd.gradcheck(attend, (query, key, value))


def test_attention_gives_a_learned_mask_its_gradient() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 2, 3, 4, dtype=torch.float64) for _ in range(3))
    bias = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda b: attention(query, key, value, b, Scoring(scaling=0.5)), (bias,))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_attention_takes_what_autocast_leaves_in_float32(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    query, key = (torch.randn(2, 2, 3, 4, requires_grad=True) for _ in range(2))
    value = torch.randn(2, 2, 3, 4, dtype=kind, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = attention(
            query, key, value, None, Scoring(scaling=0.5, dropout_probability=0.1), source=DropoutSource(0)
        )
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16
    assert query.grad.dtype == torch.float32
    assert value.grad.dtype == kind


@pytest.mark.parametrize("kinds", [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.bfloat16)])
def test_low_rank_update_keeps_each_precision(kinds: tuple[torch.dtype, torch.dtype]) -> None:
    x = torch.randn(2, 3, 6, dtype=kinds[0], requires_grad=True)
    y = torch.randn(2, 3, 5, dtype=kinds[1], requires_grad=True)
    a, b = torch.randn(2, 6, requires_grad=True), torch.randn(5, 2, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=kinds[0] == torch.float32):
        result = low_rank_update(x, y, a, b, 0.5)
    expected = y.float() + 0.5 * x.float() @ a.T @ b.T
    torch.testing.assert_close(result.float(), expected, rtol=0.05, atol=0.05)
    result.float().sum().backward()
    assert [t.grad.dtype for t in (x, y, a, b)] == [*kinds, torch.float32, torch.float32]


def test_low_rank_update_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    shapes = ((2, 3, 6), (2, 3, 5), (2, 6), (5, 2))
    tensors = tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    assert torch.autograd.gradcheck(lambda *t: low_rank_update(*t, 0.7), tensors)


@pytest.fixture(params=["Linear", "Conv1D"])
def frozen(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    module = torch.nn.Linear(96, 160) if request.param == "Linear" else Conv1D(160, 96)
    torch.nn.init.normal_(module.bias)
    if not frozen_linears(module):
        pytest.skip("torch has no products of oneDNN's on this processor")
    return module.requires_grad_(False)


@pytest.mark.parametrize("copies", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_frozen_layers_product_is_its_own(
    frozen: torch.nn.Module, dtype: torch.dtype, copies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not copies:  # as on a machine without room for them, and MKL not at home
        monkeypatch.setattr(frozen_linear, "_fit", lambda weights: False)
        monkeypatch.setattr(frozen_linear, "_of_intel", lambda: False)
    frozen = frozen.to(dtype)
    products = frozen_linears(frozen)
    if dtype == torch.bfloat16 and not copies:
        assert not products  # torch's own is oneDNN's
        return
    if dtype == torch.bfloat16 and not frozen_linear._has_onednn(dtype):
        assert not products
        pytest.skip("oneDNN has no products in bfloat16 on this processor")
    product = products[frozen]
    tolerance = {"rtol": 2e-2, "atol": 2e-1} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-4}
    for shape in ((4, 9, 96), (40, 96), (1, 96), (0, 96)):
        x = torch.randn(shape, dtype=dtype, requires_grad=True)
        weights = torch.randn(*shape[:-1], 160, dtype=dtype)
        found, wanted = product(x), frozen(x)
        torch.testing.assert_close(found, wanted, **tolerance)
        of_found, of_wanted = (torch.autograd.grad((y * weights).sum(), x)[0] for y in (found, wanted))
        torch.testing.assert_close(of_found, of_wanted, **tolerance)
        with torch.inference_mode():
            torch.testing.assert_close(product(x), wanted, **tolerance)


def test_a_frozen_layer_whose_weight_was_changed_is_read_again(frozen: torch.nn.Module) -> None:
    product, x = frozen_linears(frozen)[frozen], torch.randn(50, 96, requires_grad=True)
    product(x).sum().backward()
    x.grad = None
    frozen.weight.mul_(2)
    found = product(x)
    torch.testing.assert_close(found, frozen(x), rtol=1e-5, atol=1e-4)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    torch.testing.assert_close(gradient, torch.autograd.grad(frozen(x).sum(), x)[0], rtol=1e-5, atol=1e-4)


def test_a_layer_that_is_trained_gets_its_gradient(frozen: torch.nn.Module) -> None:
    product, x = frozen_linears(frozen)[frozen], torch.randn(50, 96)
    frozen.requires_grad_(True)
    product(x).sum().backward()
    assert frozen.weight.grad is not None and frozen.bias.grad is not None


def test_copies_are_made_where_there_is_room(frozen: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    assert copied_bytes(frozen) == 96 * 160 * 4
    # Of another machine, which computes in bfloat16 or does not, whatever this one does.
    narrow = copy.deepcopy(frozen).to(torch.bfloat16)
    assert [copied_bytes(narrow, bfloat16=there) for there in (True, False)] == [96 * 160 * 2, 0]
    monkeypatch.setattr(frozen_linear, "_memory", lambda: 2 * 16 * 96 * 160 * 4 - 1)
    assert copied_bytes(frozen) == 0
    monkeypatch.setattr(frozen_linear, "_of_intel", lambda: True)
    assert not frozen_linears(frozen)
