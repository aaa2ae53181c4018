"""Uploading: what goes and what stays, who sees it, what a person wrote there, and every refusal in one sentence."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, constants

from afina import api
from afina.errors import AfinaError, UsageError
from afina.export.parcel import parcel_of
from commands import afina, afina_apart, refused
from hub_server import Hub, Repository, hub_server
from studies import settings, write_splits


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, family_folder: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "mail").mkdir()
    keys = settings(family_folder, write_splits(folder / "mail", train=20, test=12), epochs=1)
    (adapter,) = api.study(out=folder / "out", **keys).adapters
    return adapter


@pytest.fixture
def adapter(trained: Path, tmp_path: Path) -> Path:
    """An adapter in a folder of its own, beside what a person may have left there."""
    shutil.copytree(trained, tmp_path / "adapter")
    (tmp_path / "adapter" / "rows.csv").write_text("text,label\nmy secret,praise\n")
    (tmp_path / "adapter" / ".env").write_text("KEY=1\n")
    return tmp_path / "adapter"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, to which somebody is logged in; large files go there by LFS."""
    from huggingface_hub import close_session

    with hub_server() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants._HF_DEFAULT_ENDPOINT, running.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        monkeypatch.setenv("HF_TOKEN", "right")
        close_session()
        yield running
        close_session()


def test_an_adapter_goes_whole_and_private_without_rows_or_paths(
    adapter: Path, hub: Hub, family_folder: Callable[..., Path]
) -> None:
    made = api.push(adapter, "tickets")
    there = hub.repositories["ana/tickets"]
    assert made.name == "ana/tickets" and made.private and there.private and made.url == f"{hub.endpoint}/ana/tickets"
    assert set(made.files) == {*there.files, *there.large} == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "afina.json",
    }  # fmt: skip
    assert set(made.stays) == {".env", "reference.npz", "rows.csv"}  # what `afina watch` compares with is the owner's
    weights = (adapter / "adapter_model.safetensors").read_bytes()
    assert hub.objects[there.large["adapter_model.safetensors"]] == weights
    home = family_folder("bert").parent
    for name, content in there.files.items():
        assert str(home) not in content.decode() and str(adapter.parent) not in content.decode(), name
    assert str(home) in (adapter / "afina.json").read_text()  # here nothing was changed
    assert json.loads(there.files["afina.json"])["model"] == "bert"
    card = there.files["README.md"].decode()
    assert 'afina.load(snapshot_download("ana/tickets"))' in card and '"."' not in card
    assert ModelCard(card).data.pipeline_tag == "text-classification"
    assert '"."' in (adapter / "README.md").read_text()


def test_large_files_go_by_xet_too(adapter: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    api.push(adapter, "tickets")
    there = hub.repositories["ana/tickets"]
    digest = hashlib.sha256((adapter / "adapter_model.safetensors").read_bytes()).hexdigest()
    assert there.large["adapter_model.safetensors"] == digest and hub.xet > 0 and not hub.objects
    assert any("xet-write-token" in asked for asked in hub.asked)


def test_a_second_upload_keeps_what_was_written_there(adapter: Path, hub: Hub) -> None:
    api.push(adapter, "ana/tickets")
    there = hub.repositories["ana/tickets"]
    there.files["picture.png"] = b"png"
    card = there.files["README.md"].decode()
    card = card.replace("tags:\n", "license: mit\ntags:\n").replace("## Limits", "Ask Ana.\n\n## Limits of it", 1)
    there.files["README.md"] = card.replace(
        "<!-- afina: data -->", "## Thanks\n\nTo all.\n\n<!-- afina: data -->"
    ).encode()
    here = adapter / "README.md"
    here.write_text(here.read_text().replace("<!-- afina: costs -->", "Written here.\n\n<!-- afina: costs -->"))
    made = api.push(adapter, "ana/tickets")
    text = there.files["README.md"].decode()
    assert "license: mit" in text and "## Thanks" in text and "## Limits of it" in text and "Written here." in text
    assert text.index("Written here.") < text.index("<!-- afina: costs -->")
    assert made.left == ("picture.png",) and made.note is not None and "limits" in made.note
    assert len(there.commits) == 2


def test_an_export_is_made_and_uploaded_by_one_command(adapter: Path, hub: Hub, tmp_path: Path) -> None:
    done = afina(
        "export", adapter, "--to", "merged", "--out", tmp_path / "merged", "--rows", 8, "--push", "tickets", "--public"
    )
    assert done.returncode == 0, done.stderr
    there = hub.repositories["ana/tickets"]
    assert not there.private and f"{hub.endpoint}/ana/tickets" in done.stdout
    assert "config.json" in there.files and "model.safetensors" in there.large
    data = ModelCard(there.files["README.md"].decode()).data
    assert data.library_name == "transformers" and 'from_pretrained("ana/tickets")' in there.files["README.md"].decode()


@pytest.mark.parametrize(
    ("fails", "parts"),
    [
        ({"POST /api/repos/create": (403, "You don't have the rights")}, ("403", "rights", "tries again")),
        ({"POST /api/repos/create": (409, "You already created")}, ("409", "taken")),
        ({"GET /api/whoami": (401, "Invalid")}, ("401", "hf auth login", "nothing was uploaded")),
        ({"/commit/": (503, "maintenance")}, ("503", "later", "afina push")),
        ({"/commit/": (412, "not the latest")}, ("412", "afina push")),
        ({"/preupload/": (403, "read-only token")}, ("403", "token that may write")),
        ({"/lfs/": (500, "storage")}, ("was not uploaded", "afina push")),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_what_the_hub_refuses_is_one_sentence(
    fails: dict[str, tuple[int, str]], parts: tuple[str, ...], adapter: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits between its tries
    hub.fails = fails
    with pytest.raises(AfinaError) as error:
        api.push(adapter, "tickets")
    assert all(part in str(error.value) for part in parts) and "\n" not in str(error.value)
    assert not any(repository.files for repository in hub.repositories.values())


def test_a_name_that_cannot_be_is_refused_before_any_work(adapter: Path, hub: Hub, tmp_path: Path) -> None:
    """Nothing is exported, and nothing asked of the hub but the name."""
    hub.repositories["ana/mine"] = Repository(
        files={"README.md": b"# A model of mine\n", "model.safetensors": b""}, commits=["1" * 40]
    )
    hub.repositories["ana/seen"] = Repository(private=False, commits=["1" * 40])
    for name, public, why in (
        ("a b", False, "no name on the hub"), ("ana/mine", False, "is taken"), ("ana/seen", False, "--public"),
    ):  # fmt: skip
        options = ["--public"] if public else []
        done = afina("export", adapter, "--to", "merged", "--out", tmp_path / "x", "--push", name, *options)
        refused(done, why)
    assert not (tmp_path / "x").exists() and not any("commit" in asked for asked in hub.asked)
    refused(afina("export", adapter, "--to", "merged", "--out", tmp_path / "x", "--public"), "--push")


def test_without_login_or_network_nothing_is_tried(
    adapter: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(AfinaError, match="401"):
        api.push(adapter, "tickets")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="hf auth login"):
        api.push(adapter, "tickets")
    monkeypatch.setenv("HF_TOKEN", "right")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE"):
        api.push(adapter, "tickets")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(AfinaError, match="cannot be reached"):
        api.push(adapter, "tickets")


def test_a_process_of_its_own_goes_to_the_hub_of_the_environment(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a person sets it: no library has been told otherwise."""
    with hub_server() as running:
        for name, value in {"HF_ENDPOINT": running.endpoint, "HF_TOKEN": "right", "HF_HUB_DISABLE_XET": "1"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        done = afina_apart("push", adapter, "tickets")
        assert done.returncode == 0, done.stderr
        assert running.endpoint in done.stdout
        assert "adapter_config.json" in running.repositories["ana/tickets"].files


def test_what_cannot_be_used_is_not_uploaded(adapter: Path, hub: Hub, tmp_path: Path) -> None:
    card = (adapter / "README.md").rename(tmp_path / "card.md")
    with pytest.raises(UsageError, match="it is not there; `afina card` writes an adapter's"):
        api.push(adapter, "tickets")
    card.rename(adapter / "README.md")
    (adapter / "adapter_model.safetensors").write_bytes(b"torn")
    with pytest.raises(AfinaError, match="damaged"):
        api.push(adapter, "tickets")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no weights"):
        api.push(tmp_path / "empty", "tickets")
    assert not hub.repositories


def test_an_exports_manifest_tells_of_what_went(tmp_path: Path) -> None:
    """What stays is out of the list, what goes without a path has its new digest."""
    folder = tmp_path / "export"
    folder.mkdir()
    files: dict[str, Any] = {"model.onnx": b"graph", "rows.npz": b"rows", "config.json": b'{"at": "/home/ana/model"}'}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    listed = {name: {"bytes": len(own), "sha256": hashlib.sha256(own).hexdigest()} for name, own in files.items()}
    (folder / "afina_export.json").write_text(json.dumps({"files": listed, "source": {"model": "/home/ana/base"}}))
    (folder / "README.md").write_text("# By hand\n")
    parcel = parcel_of(folder, "ana/x")
    assert parcel.stays == ("rows.npz",) and "rows.npz" not in parcel.files
    manifest = json.loads(parcel.files["afina_export.json"])  # type: ignore[arg-type]
    assert set(manifest["files"]) == {"model.onnx", "config.json"} and manifest["source"]["model"] == "base"
    assert json.loads(parcel.files["config.json"]) == {"at": "model"}  # type: ignore[arg-type]
    assert manifest["files"]["config.json"]["sha256"] == hashlib.sha256(parcel.files["config.json"]).hexdigest()  # type: ignore[arg-type]
