"""Open a folder that is to leave this machine, as whoever gets it will."""

from pathlib import Path

from afina.adapters.adapter import read_tensors
from afina.adapters.format import FORMATS
from afina.errors import UsageError
from afina.export.manifest import is_export

__all__ = ["verify"]


def verify(folder: Path, *, model: str | None = None) -> None:
    """Raise `AfinaError` for a folder that cannot be used: an adapter is loaded, an export opened and asked again."""
    if not folder.is_dir():
        raise UsageError(f"{folder} does not exist; give the folder of an adapter or of an export.")
    if is_export(folder):
        from afina.export.check import check_export

        check_export(folder)
    elif any(form.recognises(folder) for form in FORMATS.values()):
        from afina.predictor.load import load

        load(folder, model=model)
    else:
        for path in sorted(folder.glob("*.safetensors")):
            read_tensors(path, integers=True)
