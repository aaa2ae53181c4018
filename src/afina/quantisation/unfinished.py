"""The folder of a quantisation that is being made: a file for each layer that is done, so that a killed one goes on."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.backbone.tensor_file import save_tensors
from afina.errors import UsageError
from afina.json_files import read_json_object
from afina.links import refuse_link
from afina.outputs import files_in
from afina.quantisation.layer import LinearError
from afina.whole_file import beside, whole_file, write_json

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RECORD", "PartsFolder", "unfinished_of"]

RECORD = "quantisation.json"
"""The file that says what was done, and which files were written."""
_OF = "of.json"
_ONE_FILE = 1 << 30
"""Bytes up to which a checkpoint is one file; a larger one stays in files of a layer each."""
_ASIDE = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "LICENSE*", "NOTICE*")
"""Files that are taken along of a model's folder: tokenizer, settings of generation, licence."""
_NOT_ALONG = ("config.json", "quantize_config.json", RECORD, "adapter_config.json")


def unfinished_of(out: Path) -> Path:
    """Return where what is to become `out` is made."""
    return beside(out, f"{out.name}.unfinished")


class PartsFolder:
    """Keeps the layers that are done."""

    def __init__(self, out: Path, of: Mapping[str, Any], *, force: bool) -> None:
        """Open the folder, or make it; `of` is all that decides what comes out.

        Raises `UsageError` where one is there that was begun otherwise, unless it may be made anew (`force`).
        """
        self.folder, self.out = unfinished_of(out), out
        refuse_link(self.folder)
        before = self.folder / _OF
        if before.is_file() and (known := read_json_object(before)) != dict(of):
            if not force:
                unlike = next((key for key in of if known.get(key) != of[key]), "something")
                raise UsageError(
                    f"{self.folder} was begun with another {unlike} ({known.get(unlike)}, now {of.get(unlike)}); give the "
                    "same again, or --force to begin anew."
                )
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(before, of)

    def has(self, number: int) -> bool:
        """Return whether a layer is done."""
        return self._file(number).is_file()

    def keep(self, number: int, tensors: "Mapping[str, Tensor]", errors: Sequence[LinearError]) -> None:
        """Write what the files hold of a layer, with what it lost, whole or not at all."""
        metadata = {"format": "pt", "errors": json.dumps([asdict(error) for error in errors])}
        with whole_file(self._file(number)) as partial:
            save_tensors({key: value.contiguous() for key, value in tensors.items()}, partial, metadata)

    def errors(self, number: int) -> list[LinearError]:
        """Return what the linear layers of one that is done lost."""
        from safetensors import safe_open

        with safe_open(self._file(number), "pt") as file:
            return [LinearError(**error) for error in json.loads(file.metadata()["errors"])]

    def tensors(self, number: int) -> "dict[str, Tensor]":
        """Return what the files hold of a layer that is done."""
        from safetensors.torch import load_file

        return {key: value.clone() for key, value in load_file(self._file(number)).items()}

    def finish(self, source: Path, config: Mapping[str, Any], report: Mapping[str, Any], count: int) -> None:
        """Make the finished folder of `count` files, with the model's other files beside them, and put it in its place."""
        parts = [self._file(number) for number in range(count)]
        for pattern in _ASIDE:
            for file in source.glob(pattern):
                if file.is_file() and file.name not in _NOT_ALONG and not file.name.endswith(".index.json"):
                    shutil.copyfile(file, self.folder / file.name)
        if sum(part.stat().st_size for part in parts) <= _ONE_FILE:
            self._as_one(parts)
        else:
            self._as_several(parts)
        write_json(self.folder / "config.json", config)
        files = [name for name in files_in(self.folder) if name not in (_OF, RECORD)]
        write_json(self.folder / RECORD, {**report, "files": files})
        (self.folder / _OF).unlink()

        # Only now, when all is there: until then an earlier model stands.
        if self.out.exists():
            shutil.rmtree(self.out)
        self.folder.rename(self.out)

    def _as_one(self, files: Sequence[Path]) -> None:
        tensors = {key: value for number in range(len(files)) for key, value in self.tensors(number).items()}
        with whole_file(self.folder / "model.safetensors") as partial:
            save_tensors(tensors, partial, {"format": "pt"})
        for file in files:
            file.unlink()

    def _as_several(self, files: Sequence[Path]) -> None:
        from safetensors import safe_open

        places: dict[str, str] = {}
        size = 0
        for number, file in enumerate(files, start=1):
            name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
            with safe_open(file, "pt") as opened:
                places |= dict.fromkeys(opened.keys(), name)
            size += file.stat().st_size
            file.rename(self.folder / name)
        write_json(
            self.folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": places}
        )

    def _file(self, number: int) -> Path:
        return self.folder / f"part-{number:04d}.safetensors"
