"""Folders for mlx-lm: opened in it and held beside the adapter, where it is installed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from afina.errors import AfinaError, UsageError
from afina.export.export import export_adapter
from afina.export.mlx import load_mlx
from exports import chatting, folder_of

pytest.importorskip("mlx_lm", reason="mlx-lm is not installed: pip install 'afina[mlx]'")


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("talks") / "talks.jsonl"
    said = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "Here. 🙂"}]
    path.write_text((json.dumps({"messages": said}) + "\n") * 9)
    return str(path)


def test_mlx_computes_what_the_adapter_does(talks: str, tmp_path: Path) -> None:
    made = export_adapter(chatting("afina-small", tmp_path), "mlx", out=tmp_path / "out", data=talks, rows=3)
    assert made.parity.equal and made.parity.exact_difference < 1e-3
    import mlx_lm

    model, tokenizer, *_ = mlx_lm.load(str(made.folder))
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What do bees make?"}], add_generation_prompt=True
    )
    assert mlx_lm.generate(model, tokenizer, prompt=asked, max_tokens=8).strip()


def test_what_mlx_would_compute_otherwise_is_refused(
    talks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(folder: Path) -> object:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"rope_parameters": None, "rope_theta": 77.0}))
        return load_mlx(folder)

    monkeypatch.setattr("afina.export.mlx.load_mlx", other)
    with pytest.raises(AfinaError, match="What was exported is not what was tested"):
        export_adapter(chatting("afina-small", tmp_path), "mlx", out=tmp_path / "out", data=talks, rows=2)
    assert not (tmp_path / "out").exists()


def test_what_mlx_could_not_run_is_refused_first(
    talks: str, tmp_path: Path, family_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = chatting("afina-small", tmp_path / "prefix", "prefix")
    encoder = folder_of("lora", "bert", family_folder, tmp_path)
    monkeypatch.setattr("afina.export.export.load", None)
    for folder, words in ((prefix, "prefix has no merged form"), (encoder, "writes no text")):
        with pytest.raises(UsageError, match=words):
            export_adapter(folder, "mlx", out=tmp_path / "out", data=talks, rows=2)
