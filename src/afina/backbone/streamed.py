"""A model whose layers lie in its files, and are in memory one at a time."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.file_tensors import FileTensors
from afina.backbone.load import Backbone, read_config
from afina.backbone.quantise import stored_precision
from afina.backbone.shapes import shape_backbone
from afina.errors import UsageError

__all__ = ["Streamed", "layers_of"]


def layers_of(backbone: Backbone) -> list[str]:
    """Return the paths of a model's layers, encoder and decoder, each once and in the order of a pass."""
    return list(dict.fromkeys(site.module for site in backbone.anatomy.of_kind("layer")))


@dataclass
class Streamed:
    """A bare model with all but its layers in memory; each layer is fetched from the files and let go again.

    Its parameters compute in `dtype` on `device`.
    """

    backbone: Backbone
    files: FileTensors
    prefix: str
    """The beginning that the files' names have before the bare model's own."""
    layers: list[str]
    device: torch.device
    dtype: torch.dtype
    _empty: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    @classmethod
    def open(
        cls, name: str, *, device: str = "cpu", dtype: torch.dtype = torch.float32, trust_remote_code: bool = False,
        speaks: bool = False, tags: bool = False,
    ) -> "Streamed":  # fmt: skip
        """Open a plain model's files, and read all but its layers; it is made to speak or to tag if asked.

        Raises `UsageError` for one whose weights are quantised, and for files that name weights otherwise than its modules.
        """
        config = read_config(name, trust_remote_code=trust_remote_code)
        if (stored := stored_precision(config)) is not None:
            raise UsageError(f"The weights of '{name}' are stored in {stored}; give the plain model.")
        files = FileTensors(name)
        backbone = shape_backbone(config, dtype=dtype, speaks=speaks, tags=tags)
        backbone.model.eval()
        layers = layers_of(backbone)
        made = cls(backbone, files, _prefix_of(name, backbone, layers, files), layers, torch.device(device), dtype)
        made._check(name)
        made._read_outside()
        return made

    def key(self, path: str) -> str:
        """Return the files' name of a parameter of the bare model."""
        return f"{self.prefix}{path}"

    def inside(self, layer: str) -> dict[str, Tensor]:
        """Return the parameters and saved buffers of a layer by their paths in the bare model, with or without weights."""
        module = self.backbone.model.get_submodule(layer)
        return {f"{layer}.{name}": value for name, value in module.state_dict(keep_vars=True).items()}

    def read(self, layer: str) -> dict[str, Tensor]:
        """Return a layer's tensors by their paths in the bare model, as the files have them."""
        paths = {self.key(path): path for path in self.inside(layer)}
        return {paths[key]: value for key, value in self.files.read(paths).items()}

    def fetch(self, layer: str, values: Mapping[str, Tensor] | None = None) -> None:
        """Put a layer's tensors, its own from the files unless given by their paths, in their place."""
        self._empty[layer] = self.inside(layer)
        for path, value in (values if values is not None else self.read(layer)).items():
            self.put(path, value)

    def put(self, path: str, value: Tensor) -> None:
        """Put one tensor in its place."""
        _set(self.backbone.model, path, self.here(value))

    def let_go(self, layer: str) -> None:
        """Take a layer's tensors out of memory."""
        for path, value in self._empty.pop(layer).items():
            _set(self.backbone.model, path, value)

    @contextmanager
    def at(self, layer: str, values: Mapping[str, Tensor] | None = None) -> Iterator[nn.Module]:
        """Hold a layer in memory within."""
        self.fetch(layer, values)
        try:
            yield self.backbone.model.get_submodule(layer)
        finally:
            self.let_go(layer)

    def weight(self, path: str) -> Tensor:
        """Return one tensor from the files, by its path in the bare model, as it computes."""
        return self.here(self.files.read([self.key(path)])[self.key(path)])

    def here(self, value: Tensor) -> Tensor:
        """Return a tensor of the files on the model's device, in its dtype."""
        return value.to(self.device, self.dtype if value.is_floating_point() else value.dtype)

    def _check(self, name: str) -> None:
        """Raise `UsageError` for a weight of a layer that the files lack, or have in another size."""
        for layer in self.layers:
            for path, value in self.inside(layer).items():
                key = self.key(path)
                if key not in self.files:
                    raise _named_otherwise(name, key, self.backbone)
                if self.files.shape(key) != tuple(value.shape):
                    raise UsageError(
                        f"The weights of '{name}' hold {key} of size {self.files.shape(key)}, where its config.json asks for "
                        f"{tuple(value.shape)}; one of the two files is another model's."
                    )

    def _read_outside(self) -> None:
        """Put everything but the layers in its place, and compute what no file holds (positions, frequencies)."""
        bare: Any = self.backbone.model
        if (pooler := getattr(bare, "pooler", None)) is not None and not all(
            self.key(f"pooler.{path}") in self.files for path in pooler.state_dict()
        ):
            bare.pooler = None
        inside = {path for layer in self.layers for path in self.inside(layer)}
        wanted = [path for path in bare.state_dict() if path not in inside]
        tied = _tied(bare)
        held = {path: next((own for own in tied[path] if self.key(own) in self.files), None) for path in wanted}
        if lacking := next((path for path, own in held.items() if own is None), None):
            raise UsageError(
                f"The weights of '{self.files.name}' lack {self.key(lacking)}; get the model's files again."
            )
        read = self.files.read({self.key(str(own)) for own in held.values()})
        # One for all the paths of tied ones.
        here = {key: nn.Parameter(self.here(value), requires_grad=False) for key, value in read.items()}
        for path, name in held.items():
            _set(bare, path, here[self.key(str(name))])
        _compute_buffers(bare, self.device)


def _prefix_of(name: str, backbone: Backbone, layers: list[str], files: FileTensors) -> str:
    """Return what the files' names have before those of the bare model's weights."""
    first = next(iter(backbone.model.get_submodule(layers[0]).state_dict()))
    path = f"{layers[0]}.{first}"
    if (key := files.ending(path)) is None:
        raise _named_otherwise(name, path, backbone)
    return key.removesuffix(path)


def _named_otherwise(name: str, path: str, backbone: Backbone) -> UsageError:
    return UsageError(
        f"The weights of '{name}' have no {path}, of which its layers are made here: a {backbone.anatomy.model_type} model "
        "whose files name weights otherwise than its modules is not read layer by layer."
    )


def _tied(model: nn.Module) -> dict[str, list[str]]:
    """Return, for each saved tensor's path, all paths under which the model has the same one."""
    state = model.state_dict(keep_vars=True)
    alike: dict[int, list[str]] = {}
    for path, value in state.items():
        alike.setdefault(id(value), []).append(path)
    return {path: alike[id(value)] for path, value in state.items()}


def _set(model: nn.Module, path: str, value: Tensor) -> None:
    owner, _, name = path.rpartition(".")
    module = model.get_submodule(owner)
    if name in module._buffers:
        module._buffers[name] = value.detach()
    else:
        module._parameters[name] = (
            value if isinstance(value, nn.Parameter) else nn.Parameter(value, requires_grad=False)
        )


def _compute_buffers(model: Any, device: torch.device) -> None:
    """Give a model that was made on no device the buffers that no file holds, as transformers computes them itself."""
    for module in model.modules():
        names = [name for name in module._non_persistent_buffers_set if module._buffers.get(name) is not None]
        for name in names:
            module._buffers[name] = torch.empty_like(module._buffers[name], device=device)
        if names:
            parameters = list(module.parameters(recurse=False))
            drawn_before = [value.detach().clone() for value in parameters if value.device.type != "meta"]
            with torch.no_grad():
                model._init_weights(module)
                # What it draws anew beside the buffers is not wanted.
                for value, before in zip((v for v in parameters if v.device.type != "meta"), drawn_before, strict=True):
                    value.copy_(before)
