"""Read a model's tensors from its safetensors files a few at a time, so that no more of it is in memory than is wanted."""

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from afina import hub
from afina.backbone.model_files import check_weights, model_path
from afina.errors import AfinaError, UsageError
from afina.json_files import read_json_object

__all__ = ["FileTensors", "original_weight"]

_INDEX = "model.safetensors.index.json"
_OF_A_MODEL = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.tiktoken", "LICENSE*", "NOTICE*")


class FileTensors:
    """The tensors of one model by their names in its files."""

    def __init__(self, name: str) -> None:
        """Look at the headers of a model's files; raises `UsageError` for a name that is nowhere, or files not whole."""
        self.name = name
        check_weights(name, path := model_path(name))
        self.folder = _downloaded(name, path)
        self._files: dict[str, Path] = {}
        self._headers: dict[str, tuple[str, tuple[int, ...]]] = {}
        for file in self._shards():
            self._look(file)

    def __contains__(self, key: str) -> bool:
        return key in self._files

    def keys(self) -> list[str]:
        """Return all names, in order."""
        return sorted(self._files)

    def ending(self, path: str) -> str | None:
        """Return the name of a bare model's parameter, which wrappers begin otherwise: the shortest that ends in its path."""
        ends = [key for key in self._files if key == path or key.endswith(f".{path}")]
        return min(ends, key=len, default=None)

    def shape(self, key: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self._headers[key][1]

    def dtype(self, key: str) -> str:
        """Return a tensor's type, as safetensors names it."""
        return self._headers[key][0]

    def read(self, keys: Iterable[str]) -> dict[str, Tensor]:
        """Read tensors into memory of their own: nothing of the files stays mapped."""
        from safetensors import SafetensorError, safe_open

        by_file: dict[Path, list[str]] = defaultdict(list)
        for key in keys:
            by_file[self._files[key]].append(key)
        read: dict[str, Tensor] = {}
        for file, names in by_file.items():
            try:
                with safe_open(file, "pt") as shard:
                    read |= {key: shard.get_tensor(key).clone() for key in names}
            except (SafetensorError, OSError) as error:
                raise AfinaError(f"{file} is damaged ({error}); get the model's files again.") from error
        return read

    def _shards(self) -> list[Path]:
        if (whole := self.folder / "model.safetensors").is_file():
            return [whole]
        if (index := self.folder / _INDEX).is_file():
            return sorted({self.folder / str(file) for file in read_json_object(index)["weight_map"].values()})
        return sorted(self.folder.glob("*.safetensors"))

    def _look(self, file: Path) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, "pt") as shard:
                for key in shard.keys():  # noqa: SIM118 - it is no dict
                    part = shard.get_slice(key)
                    self._files[key], self._headers[key] = file, (part.get_dtype(), tuple(part.get_shape()))
        except (SafetensorError, OSError) as error:
            raise AfinaError(f"{file} is damaged ({error}); get the model's files again.") from error


def _downloaded(name: str, path: str) -> Path:
    """Return the folder of a model, which is brought from the hub, or its cache, where it is none of this machine."""
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(path, allow_patterns=list(_OF_A_MODEL), local_files_only=hub.local_only(path)))
    except Exception as error:  # the hub's client raises a dozen kinds
        raise UsageError(
            f"The model '{name}' is neither a folder, nor a built-in name, nor could it be had from the hub "
            f"({type(error).__name__}; no network, or no such name)."
        ) from error


def original_weight(name: str, module: str) -> Tensor:
    """Return a layer's weight as a model's files have it, in float32, by the layer's path in the bare model.

    Raises `UsageError` where they hold no plain one by that name.
    """
    files = _opened(name)
    key = files.ending(f"{module}.weight")
    if key is None or files.dtype(key) not in ("F32", "F16", "BF16"):
        raise UsageError(
            f"The files of '{name}' hold no {module}.weight as it was before it was quantised; give the plain model."
        )
    return files.read([key])[key].float()


@lru_cache(maxsize=1)
def _opened(name: str) -> FileTensors:
    return FileTensors(name)  # whose headers are read once for all layers
