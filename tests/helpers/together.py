"""Train methods on small models, by this process or by several that run this file.

`python together.py OUT FOLDER METHOD,METHOD METHOD,METHOD` does so once for each process, with the variables of `Launched`:
of the first methods the processes divide the model, of the others each has it whole.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from afina.backbone.load import load_backbone
from afina.backbone.spread import load_spread
from afina.backbone.team import ALONE, Team, joined
from afina.measure.launched import Launched
from afina.train.evaluate import predict_logits
from afina.train.loop import Callbacks, Clock, train
from afina.train.passes import Passes
from cohorts import member, tokens_of

__all__ = ["trained_alone", "trained_together"]


def trained_alone(folder: Path, method: str) -> dict[str, Tensor]:
    """Return what was trained in an epoch whose last batch is one row, what it answers, and what it counted, by name."""
    return _trained(ALONE, folder, method)


def trained_together(
    folder: Path, out: Path, *, divided: Sequence[str], whole: Sequence[str]
) -> dict[tuple[str, bool], dict[str, Tensor]]:
    """Return the same of methods trained by two processes, on a model that they divide (True) or each have whole."""
    out.mkdir()
    command = [sys.executable, __file__, str(out), str(folder), ",".join(divided), ",".join(whole)]
    told = [Launched(rank, 2, str(out / "meeting")) for rank in range(2)]
    processes = [subprocess.Popen(command, env=os.environ | own.variables()) for own in told]
    try:
        assert [process.wait(timeout=600) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    every = [(method, shards) for shards, methods in ((True, divided), (False, whole)) for method in methods]
    return {(method, shards): load_file(out / f"{method}-{shards}.safetensors") for method, shards in every}


def _trained(team: Team, folder: Path, method: str) -> dict[str, Tensor]:
    settings: dict[str, Any] = {"precision": "fp32", "device": "cpu"}
    backbone = load_spread(team, str(folder), **settings) if team.shards else load_backbone(str(folder), **settings)
    backbone.team = team
    own = member(backbone, method, 0, tokens_of(9, 1), batch_size=4)
    with Passes(backbone) as passes:
        train(passes, [own], Clock(), Callbacks(lambda: None, lambda ended: None), micro_batch_size=3)
        (logits,) = predict_logits(passes.attached([own.adapter], training=False), tokens_of(7, 2), batch_size=3)
    found = {key: value.detach().clone() for key, value in own.optimiser.parameters.items()}
    counted = {"loss": own.loss_sum.clone(), "tokens": torch.tensor(own.position.tokens)}
    return found | counted | {"logits": torch.from_numpy(logits)}


if __name__ == "__main__":
    out, folder = Path(sys.argv[1]), Path(sys.argv[2])
    with joined() as team:
        assert team.launched is not None
        for shards, methods in ((True, sys.argv[3]), (False, sys.argv[4])):
            several = replace(team, launched=replace(team.launched, shards=shards))
            for method in filter(None, methods.split(",")):
                found = _trained(several, folder, method)
                if team.rank == 0:
                    save_file(found, out / f"{method}-{shards}.safetensors")
