"""A study on a Ray cluster of two nodes ends as it does here, whatever of the cluster is killed meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from afina.results.results_jsonl import read_results
from afina.study.events import Event
from afina.study.study import Study
from kills import AT_EVERY_STEP, wait_for_step
from studies import settings

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'afina[ray]'")

from ray.cluster_utils import Cluster  # noqa: E402

from afina.study.executors.ray import Ray  # noqa: E402

# To start the nodes and an interpreter for each unit takes a minute. What Ray leaves open is its own.
pytestmark = [pytest.mark.whole, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

Loader = Callable[[str], Path]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Give a cluster of two nodes on this machine, of which the first has no room for jobs."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


def adapters(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each run's adapter."""
    return {
        path.parent.parent.name: path.read_bytes() for path in folder.glob("runs/*/adapter/adapter_model.safetensors")
    }


def known(folder: Path) -> list[dict[str, Any]]:
    """Return what a study's results say beside what a run took and where."""
    names = ("run", "status", "error", "test_metrics", "steps", "trainable_parameters")
    return sorted(
        ({name: result.get(name) for name in names} for result in read_results(folder)), key=lambda own: own["run"]
    )


def workers() -> list[psutil.Process]:
    """Return the interpreters that carry out units, and Ray's own processes that started them."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "afina.study.errand" in (process.info["cmdline"] or []):
            found += [process, *filter(None, [process.parent()])]
    return found


def test_it_ends_as_here_and_a_run_that_fails_is_listed_once(
    cluster: Cluster, family_folder: Loader, csv_folder: Path, tmp_path: Path
) -> None:
    study = settings(family_folder, csv_folder, methods=["lora", "features", {"lora": {"rank": 500}}], epochs=1)
    Study(tmp_path / "there", executor=Ray(address=cluster.address), **study).run()
    Study(tmp_path / "here", **study).run()
    assert known(tmp_path / "there") == known(tmp_path / "here")
    assert adapters(tmp_path / "there") == adapters(tmp_path / "here")
    assert not (tmp_path / "there" / "errands").exists()


def test_what_is_killed_goes_on_and_a_node_that_comes_late_is_used(
    cluster: Cluster, family_folder: Loader, csv_folder: Path, tmp_path: Path
) -> None:
    """First Ray's worker, then its whole machine: the unit goes on from its checkpoint, at last on a new machine."""
    study = settings(family_folder, csv_folder, epochs=3, **AT_EVERY_STEP)
    (first,), seen, ends = cluster.list_all_nodes()[1:], list[Event](), list[str]()

    def observe(event: Event) -> None:
        seen.append(event)
        epochs = sum(own.kind == "epoch" for own in seen)
        if event.kind == "epoch" and epochs == 1:
            ends.append("worker")
            workers()[1].send_signal(signal.SIGKILL)
        if event.kind == "epoch" and epochs == 2:
            ends.append("machine")
            cluster.remove_node(first, allow_graceful=False)
            cluster.add_node(num_cpus=1)

    (result,) = Study(tmp_path / "killed", executor=Ray(address=cluster.address), **study).run(observe)
    Study(tmp_path / "here", **study).run()
    assert ends == ["worker", "machine"] and result.status == "ok", result.error
    assert result.resumed == 2 and sum(own.kind == "again" for own in seen) == 2
    assert known(tmp_path / "killed") == known(tmp_path / "here")
    assert adapters(tmp_path / "killed") == adapters(tmp_path / "here")


def test_a_study_whose_own_process_is_killed_goes_on_by_the_same_command(
    cluster: Cluster, family_folder: Loader, csv_folder: Path, tmp_path: Path
) -> None:
    study = settings(family_folder, csv_folder, methods=["lora", "ia3"], epochs=2, **AT_EVERY_STEP)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study | {"executor": {"ray": {"address": cluster.address}}}))
    command = [sys.executable, "-m", "afina", "study", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    wait_for_step(tmp_path / "killed", 8, process)
    process.kill()
    process.wait()
    until = time.monotonic() + 60
    while workers():  # or two would write one run
        assert time.monotonic() < until, "what a killed study started works on"
        time.sleep(0.1)
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert again.returncode == 0, again.stderr
    Study(tmp_path / "here", **study).run()
    assert known(tmp_path / "killed") == known(tmp_path / "here")
    assert adapters(tmp_path / "killed") == adapters(tmp_path / "here")
    assert any(json.loads(line)["resumed"] for line in (tmp_path / "killed" / "results.jsonl").read_text().splitlines())


def test_a_machine_that_does_not_see_the_folder_is_sent_what_a_job_needs(
    family_folder: Loader, csv_folder: Path, tmp_path: Path
) -> None:
    """The only machine with room for jobs has an empty folder in the study's place, by a mount of its own."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", hidden], check=False).returncode:
        pytest.skip("needs the right to mount")
    study = settings(family_folder, csv_folder, methods=["lora", "features"], epochs=1, cohort="off")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    start = f"{sys.executable} -m ray.scripts.scripts start --address={made.address} --num-cpus=1 --block"
    apart = f"mount -t tmpfs none {hidden} && exec {start}"
    node = subprocess.Popen(["unshare", "-m", "sh", "-c", apart], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ray.init(address=made.address, log_to_driver=False)
        until = time.monotonic() + 120
        while not ray.cluster_resources().get("CPU"):
            assert time.monotonic() < until, "the second machine does not come"
            time.sleep(0.2)
        Study(hidden / "study", executor=Ray(address=made.address, cpus=1), **study).run()
    finally:
        node.terminate()
        node.wait()
        ray.shutdown()
        made.shutdown()
    Study(tmp_path / "here", **study).run()
    assert known(hidden / "study") == known(tmp_path / "here")
    assert adapters(hidden / "study") == adapters(tmp_path / "here")
    assert not (hidden / "study" / "errands").exists()
