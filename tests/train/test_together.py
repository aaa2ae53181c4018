"""Several processes train what one would: the model whole in each, or divided among them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from afina.backbone.team import Team
from cohorts import without_dropout
from families import save_family
from pairs import FROZEN
from together import trained_alone, trained_together

# Of each kind of what is read of a divided model: nothing, weights while a layer computes and before, words, a norm's scale.
SOME = ["lora", "dora", "svd", "prompt", "norms", "llama-adapter"]


EVERY = ["bert", "gpt2", "gemma2", "modernbert", "deberta-v2"]


@pytest.mark.covered(
    ("family", "divided", "whole"),
    [("bert", SOME, ["lora"])],
    [("bert", SOME, ["lora"]), ("bert", [], ["full"]), *((family, FROZEN, FROZEN) for family in EVERY)],
)
def test_processes_train_what_one_would(family: str, divided: list[str], whole: list[str], tmp_path: Path) -> None:
    """Rows of a batch are fewer than processes in the last; gradients, losses and counts are sums over all processes."""
    folder = without_dropout(save_family(family, tmp_path / family))
    for (method, shards), found in trained_together(folder, tmp_path / "out", divided=divided, whole=whole).items():
        alone = trained_alone(folder, method)
        assert found.keys() == alone.keys()
        for key, value in alone.items():
            # A key's bias moves all scores of a query alike: its gradient is rounding, of which AdamW takes the sign.
            if not key.endswith(("key.bias", "k_proj.bias", "key_proj.bias")):
                scale = float(value.abs().max()) + 1e-9
                off = float((found[key].double() - value.double()).abs().max()) / scale
                assert off < 1e-5, f"{method} (divided: {shards}), {key}: {off:.1e}"


def test_too_few_rows_and_other_numbers_of_processes() -> None:

    rows = np.arange(5)
    teams = [Team(rank, 3) for rank in range(3)]
    shares = [team.share(rows).tolist() for team in teams]
    assert [row for share in shares for row in share] == rows.tolist()
    one = np.array([7])
    assert [team.share(one).tolist() for team in teams] == [[7]] * 3
    assert [team.counts(one) for team in teams] == [True, False, False]
    assert len({team.own_seed(0) for team in teams}) == 3
    assert [team.own([1, 2, 3]) for team in teams] == [1, 2, 3]
    assert Team().own([1, 2, 3]) is None and teams[1].own({"of": "one"}) is None
    torch.testing.assert_close(Team().gathered([torch.ones(2)])[0], torch.ones(2))
