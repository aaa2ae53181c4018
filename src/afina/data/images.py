"""Images with labels: the packaged digits, or .npz files of uint8 arrays; and the tensors that a model asks for.

`digits` is scikit-learn's: 1,797 handwritten digits of 8 x 8 pixels (Alpaydin and Kaynak, UCI, 1998; CC BY 4.0).
"""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from afina.data.rows import Rows, TextDataset, divided, finished
from afina.data.tokens.tokens import Pixels
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.hub import local_only

__all__ = [
    "PACKAGED_IMAGES",
    "image_tokens",
    "is_images",
    "load_images",
    "patches_of",
    "preprocessing_of",
    "read_images",
]

PACKAGED_IMAGES = ("digits",)


def is_images(spec: DatasetSpec) -> bool:
    """Return whether a data set holds images: by its name, or as its files are .npz."""
    path = Path(spec.path)
    return spec.path in PACKAGED_IMAGES or path.suffix.lower() == ".npz" or (path / "train.npz").is_file()


def load_images(spec: DatasetSpec, task: str, *, train_limit: int | None, test_limit: int | None) -> TextDataset:
    """Read images and labels for a task; raises `UsageError` in one sentence for what is wrong with a file."""
    path = Path(spec.path)
    names: tuple[str, ...] | None = None
    notes: list[str] = []
    if spec.path in PACKAGED_IMAGES:
        from sklearn.datasets import load_digits

        digits = load_digits()
        # scikit-learn's digits have 17 shades of grey, 0 to 16.
        every = _rows((digits.images * (255 / 16)).round().astype(np.uint8), digits.target.astype(np.int64))
        splits = dict(zip(("train", "test"), divided(every), strict=True))
        names = tuple(str(digit) for digit in range(10))
    elif path.is_dir():
        files = {split: path / f"{split}.npz" for split in ("train", "test", "validation")}
        # Train and test have to be there, and say so by the error of reading them.
        read = {split: _read(file) for split, file in files.items() if file.is_file() or split != "validation"}
        # Names of all parts together, as a part may lack a class.
        names = _names([labels for _, labels in read.values()])
        splits = {split: _rows(images, _indices(labels, names, path)) for split, (images, labels) in read.items()}
    else:
        images, labels = _read(path)
        names = _names([labels])
        splits = dict(zip(("train", "test"), divided(_rows(images, _indices(labels, names, path))), strict=True))
        counts = f"{len(splits['train']):,} rows to train on, {len(splits['test']):,} to test on"
        notes.append(f"{path} has no test part: {counts} (80/20, always the same)")
    return finished(spec, task, names, splits, notes, train_limit, test_limit)


def read_images(path: Path) -> np.ndarray:
    """Read the images (N, H, W) or (N, H, W, C) of a file to predict for."""
    return _read(path, labelled=False)[0]


def image_tokens(rows: Rows, config: Any, model: str, preprocessing: Mapping[str, Any] | None = None) -> Pixels:
    """Return images as a model of this configuration takes them, (N, C, H, W) float32: resized, scaled, normalised.

    Mean and deviation are `said`, or those of the preprocessor_config.json of `model` (a folder or a hub name), else 0.5,
    ViT's own.
    """
    import torch

    assert rows.pixels is not None
    pixels = torch.from_numpy(rows.pixels).float() / 255
    # Grey images have one channel, which their shape does not say.
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    pixels = pixels.permute(0, 3, 1, 2)  # (N, C, H, W)
    wanted = config.num_channels
    if pixels.shape[1] != wanted:
        # Grey from colours, or the same grey in each: what the model was trained on has so many.
        pixels = pixels.mean(dim=1, keepdim=True).expand(-1, wanted, -1, -1)
    size = _size(config)
    if pixels.shape[2:] != size:
        # Antialiased, as a model's own preprocessing is: shrinking would otherwise skip pixels.
        pixels = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    known = preprocessing_of(config, model, preprocessing)
    mean, deviation = (torch.tensor(known[key]).view(1, -1, 1, 1) for key in ("mean", "deviation"))
    values = ((pixels - mean) / deviation).contiguous().numpy()
    return Pixels(values, np.arange(len(rows) + 1) * patches_of(config), rows.label)


def preprocessing_of(config: Any, model: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the `size`, `channels`, `mean` and `deviation` to which a model of this configuration has images brought."""
    given, wanted = _preprocessing(model) if given is None else given, int(config.num_channels)
    # 0.5 each brings 0 to 1 between -1 and 1.
    mean, deviation = (list(given.get(key) or [0.5] * wanted) for key in ("image_mean", "image_std"))
    return {"size": list(_size(config)), "channels": wanted, "mean": mean, "deviation": deviation}


def patches_of(config: Any) -> int:
    """Return how many vectors a model makes of an image: its patches and one for the whole."""
    height, width = _size(config)
    patch = int(config.patch_size)
    return 1 + (height // patch) * (width // patch)


def _size(config: Any) -> tuple[int, int]:
    size = config.image_size
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _preprocessing(model: str) -> dict[str, Any]:
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        values, _ = ImageProcessingMixin.get_image_processor_dict(model, local_files_only=local_only(model))
    except OSError:  # it has none
        return {}
    return dict(values)


def _read(path: Path, *, labelled: bool = True) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if missing := {"images", *(["labels"] if labelled else [])} - set(file):
                raise UsageError(f"{path} has no array '{sorted(missing)[0]}'; its arrays are {', '.join(file)}.")
            images = file["images"]
            labels = file["labels"] if labelled else np.zeros(len(images), dtype=np.int64)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist.") from None
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UsageError(f"{path} is no .npz file of plain arrays ({error}).") from None
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not len(images):
        raise UsageError(
            f"{path}: 'images' should be uint8 of shape (N, H, W) or (N, H, W, C), not {images.dtype} of {images.shape}."
        )
    if len(labels) != len(images):
        raise UsageError(f"{path} has {len(images):,} images and {len(labels):,} labels.")
    return images, labels


def _names(labels: list[np.ndarray]) -> tuple[str, ...]:
    return tuple(str(name) for name in np.unique(np.concatenate(labels)))


def _indices(labels: np.ndarray, names: tuple[str, ...], path: Path) -> np.ndarray:
    if len(names) < 2:
        raise UsageError(f"{path} has one class only ({names[0]}); there is nothing to learn.")
    place = {name: index for index, name in enumerate(names)}
    return np.array([place[str(label)] for label in labels], dtype=np.int64)


def _rows(images: np.ndarray, labels: np.ndarray) -> Rows:
    # What stands for an image where texts are compared: in digests, and between train and test.
    return Rows([hashlib.sha256(image.tobytes()).hexdigest() for image in images], None, labels, images)
