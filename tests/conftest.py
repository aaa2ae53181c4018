"""Fixtures that several test files share."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Nothing of what is imported and collected is ever garbage, and to look through it again and again takes a tenth of the
# time; looking begins when all is collected (`pytest_collection_finish`).
gc.disable()
# Nobody pulls the plug on a test, and to wait for the disk at each of some thousand small files takes a while.
os.fsync = lambda file: None
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
# Studies run here: a process for each run costs more than the run. Tests of processes ask for them (`processes`).
os.environ.setdefault("AFINA_EXECUTOR", "in-process")
# What an adapter takes is measured in a process of its own, seconds for each export; tests of that ask for it.
os.environ.setdefault("AFINA_EXPORT_COSTS", "0")
# What tests' runs take corrects nobody's plan: a folder that cannot be.
os.environ["AFINA_REMEMBERED"] = f"{os.devnull}/remembered"
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores: small models on more threads each wait for one another, seven times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what it runs in the background, and so the commands under test would start: deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if "CI" not in os.environ:  # there hypothesis has a profile of its own, always the same examples among its settings
    settings.register_profile("patient", deadline=None)  # a busy machine is no fault
    settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos", type=int, default=240, help="requests of tests/serve/test_chaos.py")
    parser.addoption("--short", action="store_true", help="leave out what takes long (helpers/durations.py)")
    parser.addoption("--exports", type=Path, help="try the exports that this file's tables lack, and write them there")
    parser.addoption("--conformance", type=Path, help="write the table of methods and architectures into this file")
    parser.addoption(
        "--durations-written", action="store_true", help="write what the test files took (helpers/durations.py)"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--durations-written"):
        if config.getoption("--short") or config.option.keyword or any("::" in name for name in config.args):
            raise pytest.UsageError(
                "--durations-written measures whole files: leave out --short, -k and names of tests"
            )
        from durations import Durations, WrittenDurations

        config.pluginmanager.register(Durations())
        if not hasattr(config, "workerinput"):
            config.pluginmanager.register(WrittenDurations())
    path = config.getoption("--conformance")
    if path is not None:
        from examples import take_every

        take_every()
    if path is not None and not hasattr(config, "workerinput"):
        from conformance import Conformance

        config.pluginmanager.register(Conformance(path))
    exports = path.with_name("exports.md") if path is not None else config.getoption("--exports")
    if exports is not None and not hasattr(config, "workerinput"):
        from export_table import ExportTable

        config.pluginmanager.register(ExportTable(exports))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for `make conformance` alone, pairs that cannot be, and with `--short` what takes long.

    That a method is refused by an architecture without a place for it is a test of its own. Long files come first.
    """
    from afina.backbone.rows import ROWS
    from conformance import can_be, pair_of
    from durations import is_long, seconds_of

    lacking = [kind for kind, row in ROWS.items() if row.lacks]

    def possible(item: pytest.Item) -> bool:
        inside = item.name.partition("[")[2].rstrip("]")
        pair = pair_of(inside) if any(kind in inside for kind in lacking) else None
        return pair is None or can_be(*pair)

    whole, short = config.getoption("--conformance") is not None, config.getoption("--short")

    def wanted(item: pytest.Item) -> bool:
        if item.get_closest_marker("whole") is not None and not whole:
            return False
        if not short:
            return True
        name, always = item.nodeid.partition("::")[2], item.get_closest_marker("always")
        if always is not None and any(case in name.partition("[")[2] for case in always.args):
            return True
        return not is_long(item.path, name, getattr(item, "fixturenames", ()), always is not None)

    left_out = [item for item in items if not (possible(item) and wanted(item))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    # A worker that began a long file last would have the others wait for it.
    items.sort(key=lambda item: -seconds_of(item.path, short))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
    # By its usual thresholds looking for garbage takes a tenth of the time wherever many small things are made.
    gc.set_threshold(50_000, 20, 50)
    # Each `torch.manual_seed` writes down the stack for every kind of card that might be started later, which in the
    # depths of pytest takes a thousand times as long as the seed.
    torch = sys.modules.get("torch")
    if torch is not None:
        import torch.fx.config as tracing

        # Nobody reads where in the source each node of a graph that is traced came from, which takes a tenth of tracing.
        tracing.do_not_emit_stack_traces = True
    if torch is not None and not torch.cuda.is_available():
        torch.cuda.manual_seed_all = torch.xpu.manual_seed_all = torch.mtia.manual_seed_all = lambda seed: None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test the cases of its marker: those that cover the rest, or with `--conformance` all of them.

    `pairs(methods, families)` gives pairs, as `name` and `family`; `covered(names, some, every)` is a `parametrize` by some
    or by every case.
    """
    whole = metafunc.config.getoption("--conformance") is not None
    marker = metafunc.definition.get_closest_marker("pairs")
    if marker is not None:
        from pairs import covering

        pairs = covering(*marker.args, **marker.kwargs, whole=whole)
        metafunc.parametrize(("name", "family"), pairs, ids=[f"{name}-{family}" for name, family in pairs])
    for marker in metafunc.definition.iter_markers("covered"):
        names, some, every = marker.args
        some, every = list(some), list(every)
        assert [case for case in some if case in every] == some, f"{metafunc.definition.nodeid}: no case of all of them"
        metafunc.parametrize(names, every if whole else some, **marker.kwargs)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that need a card where there is none."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs an NVIDIA GPU")


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Give the folder of a small model of a family, made once a session; settings are `save_family`'s."""
    from families import save_family

    @cache
    def folder(family: str, **settings: Any) -> Path:
        return save_family(family, tmp_path_factory.mktemp("models") / family, **settings)

    return folder


@pytest.fixture(scope="session")
def one_layer(family_folder: Callable[..., Path]) -> Callable[..., Path]:
    """Give the folder of a model of one layer, where a second would take its time: to trace a graph takes seconds each."""
    return partial(family_folder, layers=1)


@pytest.fixture(scope="session")
def speaker(family_folder: Callable[..., Path]) -> Callable[[str], Path]:
    """Give the folder of a small language model of a family."""
    return partial(family_folder, speaks=True)


@pytest.fixture(scope="session")
def csv_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a data set whose labels can be learned."""
    from studies import write_splits

    return write_splits(tmp_path_factory.mktemp("mail"), train=60, test=40)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let studies carry out their runs in processes of their own, as outside the tests."""
    monkeypatch.delenv("AFINA_EXECUTOR")


@pytest.fixture
def shared() -> Path:
    """Give the folder of real data beside the project, or skip."""
    if not (SHARED / "data").is_dir():
        pytest.skip("no ../shared/data beside the project")
    return SHARED
