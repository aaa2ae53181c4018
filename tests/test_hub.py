"""Without network an unknown name is said at once, and the hub's cache is still read."""

import socket
import time
from pathlib import Path
from typing import Any

import datasets
import pytest
from huggingface_hub import constants

from afina import hub
from afina.backbone.load import read_config
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.tasks.reading import load_text_dataset


@pytest.fixture
def without_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Connections and look-ups fail, and what is asked of the hub's client is counted."""
    asked: list[Any] = []

    def refuse(address: Any, **_: Any) -> None:
        asked.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    return asked


def test_a_name_nearly_that_of_a_built_in_model_is_said_at_once(without_network: list[Any]) -> None:
    begun = time.monotonic()
    with pytest.raises(UsageError, match=r"no network, or no such name.*; did you mean 'minilm'"):
        read_config("minilmm")
    # The hub's client tries five times, eight seconds apart.
    assert time.monotonic() - begun < 6
    assert without_network == [("huggingface.co", 443)]


def test_a_data_set_of_the_hub_is_refused_at_once(without_network: list[Any]) -> None:
    begun = time.monotonic()
    with pytest.raises(UsageError, match=r"the hub cannot be reached from here \(offline\)"):
        load_text_dataset(DatasetSpec(path="ag_news"))
    assert time.monotonic() - begun < 6
    # What was switched off for it is as it was.
    assert not constants.HF_HUB_OFFLINE
    assert not datasets.config.HF_HUB_OFFLINE


def test_a_hub_that_answers_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert hub.reachable()
        assert not hub.local_only("some/model")
        assert hub.local_only(str(tmp_path))
    assert not hub.reachable()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.local_only("some/model")


def test_a_proxy_stands_for_the_hub(monkeypatch: pytest.MonkeyPatch, without_network: list[Any]) -> None:
    monkeypatch.setenv("https_proxy", "proxy.example:3128")
    assert not hub.reachable()
    assert without_network == [("proxy.example", 3128)]


def test_a_look_up_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def hang(*_: object, **__: object) -> None:
        time.sleep(5)
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", hang)
    begun = time.monotonic()
    assert not hub.reachable(0.2)
    assert time.monotonic() - begun < 3
