"""Images: the packaged digits and files of arrays, from a study to predictions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import afina
from afina.data.images import image_tokens, load_images
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.study.study import Study
from commands import afina as run_afina
from families import configuration, save_family

Loader = Callable[[str], Path]


def test_digits_are_learned_and_predicted(tmp_path: Path) -> None:
    model = save_family("vit", tmp_path / "vit", num_labels=10)
    methods = [
        {"full": {"learning_rate": 3e-3}},
        {"lora": {"learning_rate": 1e-2}},
        "prefix",
        "features",
        "head",
    ]
    study = {
        "model": str(model),
        "dataset": "digits",
        "methods": methods,
        "epochs": 4,
        "batch_size": 16,
        "train_limit": 900,
    }
    results = {r["method"]: r for r in Study(tmp_path / "out", **study).run()}
    assert all(result["status"] == "ok" for result in results.values()), results
    reached = {name: result["test_metric"] for name, result in results.items()}
    assert reached["full"] > 0.8
    assert reached["full"] > reached["lora"] > reached["head"] > 0.3
    from sklearn.datasets import load_digits

    images = (load_digits().images[:100] * (255 / 16)).round().astype(np.uint8)
    adapter = tmp_path / "out" / results["full"]["adapter"]
    labels = [prediction.label for prediction in afina.load(adapter).predict(images)]
    assert np.mean([label == str(digit) for label, digit in zip(labels, load_digits().target, strict=False)]) > 0.8
    np.savez(tmp_path / "new.npz", images=images[:3])
    told = run_afina("predict", adapter, "--file", tmp_path / "new.npz")
    assert told.returncode == 0, told.stderr
    assert told.stdout.count('"label"') == 3
    with pytest.raises(UsageError, match="takes image; give texts as a list, images as an array"):
        afina.load(adapter).predict(["a text"])


def test_files_of_images_with_label_names(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (30, 5, 7, 3), dtype=np.uint8)
    np.savez(tmp_path / "all.npz", images=images, labels=np.array(["cat", "dog", "cow"] * 10))
    data = load_images(DatasetSpec(path=str(tmp_path / "all.npz")), "classification", train_limit=None, test_limit=None)
    assert data.label_names == ("cat", "cow", "dog")
    assert (len(data.train), len(data.test)) == (24, 6)
    (tmp_path / "parts").mkdir()
    for split, rows in (("train", slice(20)), ("test", slice(15, 30))):
        np.savez(tmp_path / "parts" / f"{split}.npz", images=images[rows], labels=np.arange(30)[rows] % 3)
    data = load_images(DatasetSpec(path=str(tmp_path / "parts")), "classification", train_limit=12, test_limit=None)
    assert (len(data.train), len(data.test)) == (12, 15)
    assert any("both train and test" in note for note in data.notes)


def test_images_become_what_the_model_takes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.full((10, 4, 4, 3), 255, dtype=np.uint8), labels=np.arange(10) % 2)
    rows = load_images(
        DatasetSpec(path=str(tmp_path / "a.npz")), "classification", train_limit=None, test_limit=None
    ).train
    tokens = image_tokens(rows, configuration("vit"), str(tmp_path))
    assert tokens.ids.shape == (8, 1, 8, 8)  # one channel, resized
    assert (tokens.lengths == 5).all()
    np.testing.assert_allclose(tokens.ids, 1.0)  # white: (1 - 0.5) / 0.5
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.2], "image_std": [0.4]}')
    torch.testing.assert_close(torch.from_numpy(image_tokens(rows, configuration("vit"), str(tmp_path)).ids[0, 0, 0]),
                               torch.full((8,), 2.0))  # fmt: skip


def test_what_is_wrong_with_images_is_one_sentence(tmp_path: Path, family_folder: Loader) -> None:
    def load(name: str) -> None:
        load_images(DatasetSpec(path=str(tmp_path / name)), "classification", train_limit=None, test_limit=None)

    with pytest.raises(UsageError, match=r"gone.npz does not exist"):
        load("gone.npz")
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(UsageError, match=r"text.npz is no .npz file of plain arrays"):
        load("text.npz")
    np.savez(tmp_path / "bare.npz", images=np.zeros((3, 2, 2), dtype=np.uint8))
    with pytest.raises(UsageError, match="has no array 'labels'; its arrays are images"):
        load("bare.npz")
    np.savez(tmp_path / "float.npz", images=np.zeros((3, 2, 2)), labels=np.arange(3))
    with pytest.raises(UsageError, match="should be uint8 of shape"):
        load("float.npz")
    np.savez(tmp_path / "short.npz", images=np.zeros((3, 2, 2), dtype=np.uint8), labels=np.arange(2))
    with pytest.raises(UsageError, match="3 images and 2 labels"):
        load("short.npz")
    np.savez(tmp_path / "one.npz", images=np.zeros((6, 2, 2), dtype=np.uint8), labels=np.zeros(6))
    with pytest.raises(UsageError, match="one class only"):
        load("one.npz")
    study = {"methods": ["head"], "epochs": 1}
    with pytest.raises(UsageError, match="takes texts, and digits has images"):
        Study(tmp_path / "a", model=str(family_folder("bert")), dataset="digits", **study).run()
    with pytest.raises(UsageError, match="takes images, and tickets has texts"):
        Study(tmp_path / "b", model=str(family_folder("vit")), dataset="tickets", **study).run()
