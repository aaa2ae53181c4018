"""A mask of truths and one of numbers say the same to every method that acts at attention, on texts and images."""

import pytest
import torch

from afina.adapters.adapter import build_adapter
from afina.backbone.branch import AttentionBranch
from afina.methods.base import make_method, method_names
from afina.ops.attention import Scoring, attention
from families import load_family
from pairs import stir


def attending(name: str, folder: object) -> list[AttentionBranch]:
    backbone = load_family(folder)  # type: ignore[arg-type]
    adapter = build_adapter(make_method(name, {}), backbone, 2, seed=0)
    stir(adapter)
    return [branch for _, branch in adapter.placed() if isinstance(branch, AttentionBranch)]


AT_ATTENTION = ("prefix",)
"""Methods that attend to more than the text; another one is found by the test below."""


def changes_masks(branch: AttentionBranch) -> bool:
    return type(branch).before is not AttentionBranch.before


@pytest.mark.parametrize("name", sorted(set(method_names()) - {"qlora", "features"}))
@pytest.mark.parametrize("family", ["bert", "vit"])
def test_a_mask_of_truths_means_what_one_of_numbers_means(name: str, family: str, family_folder: object) -> None:
    """Encoders of images and sound are given masks of truths, and those of text masks of numbers."""
    try:
        branches = [branch for branch in attending(name, family_folder(family)) if changes_masks(branch)]  # type: ignore[operator]
    except ValueError:  # the architecture has no place for it
        branches = []
    assert bool(branches) == (name in AT_ATTENTION)
    draw = torch.Generator().manual_seed(0)
    for branch in branches[:1]:
        heads, width = branch.heads, branch.width  # type: ignore[attr-defined]
        query, key, value = (torch.randn(3, heads, 5, width, generator=draw, dtype=torch.float64) for _ in range(3))
        truths = torch.tensor([5, 3, 1])[:, None] > torch.arange(5)
        truths = truths[:, None, None, :].expand(3, 1, 5, 5)
        numbers = torch.zeros(truths.shape, dtype=torch.float64).masked_fill(~truths, torch.finfo(torch.float64).min)
        scoring = Scoring(scaling=width**-0.5)
        doubled, seen = branch.double(), []
        for mask in (truths, numbers):
            given = doubled.before(query, key, value, mask)
            assert given[3] is not None
            assert given[3].dtype == mask.dtype
            seen.append(attention(*given, scoring))
        assert torch.allclose(seen[0], seen[1], atol=1e-12)
        # And what is seen is the prefix with the tokens that are let through, and nothing else.
        whole = doubled.before(query, key, value, None)
        extra = whole[1].shape[2] - key.shape[2]
        for row, count in enumerate((5, 3, 1)):
            its_keys, its_values = (own[row : row + 1, :, : extra + count] for own in whole[1:3])
            alone = attention(query[row : row + 1], its_keys, its_values, None, scoring)
            assert torch.allclose(seen[0][row : row + 1], alone, atol=1e-12)
