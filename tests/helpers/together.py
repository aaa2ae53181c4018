"""Train methods on small models, by this process or by several that are forked for it."""

import multiprocessing
import os
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
from readied import start_clean_server

__all__ = ["trained_alone", "trained_together"]


def trained_alone(folder: Path, method: str) -> dict[str, Tensor]:
    """Return what was trained in an epoch whose last batch is one row, what it answers, and what it counted, by name."""
    return _trained(ALONE, folder, method)


def trained_together(
    folder: Path, out: Path, *, divided: Sequence[str], whole: Sequence[str]
) -> dict[tuple[str, bool], dict[str, Tensor]]:
    """Return the same of methods trained by two processes, on a model that they divide (True) or each have whole."""
    out.mkdir()
    told = [Launched(rank, 2, str(out / "meeting")) for rank in range(2)]
    start_clean_server()
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=_one_of_them, args=(own, out, folder, divided, whole)) for own in told]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(600)
        assert [process.exitcode for process in processes] == [0, 0]
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


def _one_of_them(told: Launched, out: Path, folder: Path, divided: Sequence[str], whole: Sequence[str]) -> None:
    """Do it as one of two processes: of the first methods they divide the model, of the others each has it whole."""
    os.environ |= told.variables()
    with joined() as team:
        assert team.launched is not None
        for shards, methods in ((True, divided), (False, whole)):
            several = replace(team, launched=replace(team.launched, shards=shards))
            for method in methods:
                found = _trained(several, folder, method)
                if team.rank == 0:
                    save_file(found, out / f"{method}-{shards}.safetensors")
