"""Fast operations against their plain definitions."""

import pytest
import torch

from afina.ops.attention import attention
from afina.ops.dropout import DropoutSource, dropout, dropout_reference


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dropout_is_its_definition_forward_and_backward(dtype: torch.dtype) -> None:
    x = torch.randn(3, 7, 5, dtype=dtype, requires_grad=True)
    mask = DropoutSource(4).keep_mask(x.numel(), 0.3)
    result = dropout(x, 0.3, DropoutSource(4))
    torch.testing.assert_close(result, dropout_reference(x, mask, 0.3), rtol=1e-2, atol=1e-6)
    weights = torch.randn_like(result)
    (result * weights).sum().backward()
    torch.testing.assert_close(x.grad, dropout_reference(weights, mask, 0.3), rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("probability", [0.0001, 0.1, 0.5, 0.9])
def test_dropout_drops_its_share(probability: float) -> None:
    kept = (DropoutSource(0).keep_mask(200_000, probability) != 0).double().mean().item()
    assert kept == pytest.approx(1 - probability, abs=0.005)


def test_dropout_goes_on_from_its_state() -> None:
    source = DropoutSource(1)
    source.keep_mask(37, 0.2)
    state = source.state()
    expected = source.keep_mask(100, 0.2)
    other = DropoutSource(9)
    other.load_state(state)
    assert torch.equal(other.keep_mask(100, 0.2), expected)


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
    ours = attention(query, key, value, mask, scaling=0.3, causal=causal)
    theirs = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal, scale=0.3, enable_gqa=groups > 1
    )
    torch.testing.assert_close(ours, theirs)
    with torch.inference_mode():
        torch.testing.assert_close(attention(query, key, value, mask, scaling=0.3, causal=causal), theirs.detach())
