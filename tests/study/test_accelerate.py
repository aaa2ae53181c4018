"""Runs that several processes carry out together: results, kills, and what is refused."""

import dataclasses
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from safetensors.torch import load_file

from afina.errors import UsageError
from afina.measure.launched import Launched
from afina.study.events import Event
from afina.study.executors.accelerate import Accelerate
from afina.study.launch_file import FSDP_KEYS, KEYS, read_launch
from afina.study.study import Study
from cohorts import without_dropout
from kills import AT_EVERY_STEP
from studies import settings

Loader = Callable[[str], Path]
FSDP = {"fsdp_version": 2, "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "fsdp_reshard_after_forward": True}
FILE = {
    "compute_environment": "LOCAL_MACHINE", "distributed_type": "FSDP", "fsdp_config": FSDP, "mixed_precision": "no",
    "num_machines": 1, "num_processes": 2, "use_cpu": True, "downcast_bf16": "no", "tpu_env": [], "machine_rank": 0,
}  # fmt: skip


def written(folder: Path, **changed: Any) -> Path:
    path = folder / "accelerate.yaml"
    path.write_text(yaml.safe_dump(FILE | changed))
    return path


@pytest.fixture
def study(family_folder: Loader, csv_folder: Path, tmp_path: Path) -> dict[str, Any]:
    keys = settings(family_folder, csv_folder, methods=[{"lora": {"dropout": 0.0}}], train_limit=30, **AT_EVERY_STEP)
    # A copy, as other tests have the folder too.
    return keys | {"model": str(without_dropout(Path(shutil.copytree(keys["model"], tmp_path / "model"))))}


def weights(folder: Path) -> dict[str, Any]:
    (path,) = folder.rglob("adapter_model.safetensors")
    return load_file(path)


# Each time both are begun their interpreters take some ten seconds; jobs that were killed are in test_elsewhere.py too.
@pytest.mark.covered("killed", [False], [False, True], ids=lambda killed: "killed" if killed else "undisturbed")
def test_a_study_by_two_processes_is_that_of_one(killed: bool, study: dict[str, Any], tmp_path: Path) -> None:
    """Where the second process is killed after the first epoch both go on from there, and every file is there once."""
    seen: list[Event] = []

    def observe(event: Event) -> None:
        seen.append(event)
        if killed and event.kind == "epoch" and sum(own.kind == "epoch" for own in seen) == 1:
            second = [child for child in psutil.Process().children() if '"rank": 1' in str(child.environ())]
            os.kill(second[0].pid, signal.SIGKILL)

    executor = Accelerate(launch=str(written(tmp_path)))
    (result,) = Study(tmp_path / "two", executor=executor, **study).run(observe)
    (alone,) = Study(tmp_path / "one", **study).run()
    assert result.status == "ok", result.error
    assert ["SIGKILL" in own["why"] for own in seen if own.kind == "again"] == [True] * killed
    assert result.resumed == killed and result.steps == alone.steps
    assert [dict(entry) for entry in result.history] == [
        pytest.approx(dict(entry) | {"seconds": own["seconds"]}, rel=1e-5)
        for entry, own in zip(alone.history, result.history, strict=True)
    ]
    assert result.fingerprint["hardware"]["processes"] == 2 and "processes" not in alone.fingerprint["hardware"]
    assert result.fingerprint["digest"] != alone.fingerprint["digest"]
    for key, value in weights(tmp_path / "one").items():
        assert (weights(tmp_path / "two")[key] - value).abs().max() < 1e-4, key
    assert not (tmp_path / "two" / "errands").exists()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"methods": ["full"]},
            "full trains the model's own weights, which cannot be divided among processes here;",
        ),
        ({"batch_size": 1}, "A batch of 1 rows cannot be shared by 2 processes."),
        ({"precision": "nf4"}, "Weights in nf4 cannot be divided among processes; set precision: bf16, or let"),
    ],
)
def test_what_processes_cannot_share_is_refused_by_name(
    changed: dict[str, Any], sentence: str, study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in Launched(0, 2, str(tmp_path / "meeting"), shards=True).variables().items():
        monkeypatch.setenv(key, value)
    (result,) = Study(tmp_path / "two", **study | changed).run()
    assert str(result.error).startswith(sentence)


def test_what_asks_for_cohorts_is_refused(study: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^executor: accelerate trains every run by itself; leave cohort out\.$"):
        Study(tmp_path, executor=Accelerate(launch=str(written(tmp_path))), **study | {"cohort": 4})


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"distributed_type": "DEEPSPEED"}, "distributed_type is 'DEEPSPEED'; here it may be FSDP, MULTI_GPU, MULTI_CPU."),
        ({"num_machines": 2}, "num_machines is 2; a run is carried out by processes of one machine"),
        ({"mixed_precision": "bf16"}, "mixed_precision is 'bf16'; set it to 'no' there, and precision: in the study."),
        ({"num_processes": 1}, "num_processes should be a whole number from 2, not 1."),
        ({"deepspeed_config": {"zero_stage": 3}}, "deepspeed_config cannot be heeded here; leave it out."),
        ({"num_proceses": 2}, "unknown key 'num_proceses'; did you mean 'num_processes'?"),
        ({"fsdp_config": {"fsdp_version": 1}}, "fsdp_version should be 2, not 1."),
        ({"fsdp_config": FSDP | {"fsdp_activation_checkpointing": True}}, "fsdp_activation_checkpointing is a matter of"),
        ({"fsdp_config": FSDP | {"fsdp_sharding_strategy": 1}}, "unknown key 'fsdp_sharding_strategy'"),
        ({"fsdp_config": FSDP | {"fsdp_offload_params": "yes"}}, "fsdp_offload_params should be true or false, not 'yes'."),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_heeded_is_one_sentence(changed: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    path = written(tmp_path, **changed)
    with pytest.raises(UsageError, match=rf"^{re.escape(f'{path}: {sentence}')}"):
        read_launch(path)


def test_more_processes_than_there_are_cores_or_cards_are_refused(tmp_path: Path) -> None:
    many = Accelerate(launch=str(written(tmp_path, num_processes=4096)))
    with pytest.raises(UsageError, match=r"names 4096 processes, and this machine has \d+ cores\.$"):
        many.device("auto")
    cards = Accelerate(launch=str(written(tmp_path, num_processes=4096, use_cpu=False)))
    with pytest.raises(UsageError, match=r"names 4096 processes, and there are \d+ GPUs for them; set num_processes"):
        cards.device("auto")


def test_every_key_that_accelerate_writes_is_known() -> None:
    """Both of its dataclass and of the questions that `accelerate config` asks about FSDP."""
    config_args = pytest.importorskip("accelerate.commands.config.config_args")
    from accelerate.commands.config import cluster

    assert {field.name for field in dataclasses.fields(config_args.ClusterConfig)} <= KEYS.keys()
    source = Path(str(cluster.__file__)).read_text(encoding="utf-8")
    asked = set(re.findall(r'fsdp_config\["(\w+)"\]', source))
    # Of FSDP's first version, which is refused.
    first = {"fsdp_backward_prefetch", "fsdp_forward_prefetch", "fsdp_use_orig_params", "fsdp_sync_module_states"}
    assert asked and asked <= FSDP_KEYS.keys() | first
