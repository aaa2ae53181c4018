"""Import what only retrieval needs, which the extra `rag` installs."""

import importlib
from typing import Any

from afina.errors import UsageError

__all__ = ["needed"]


def needed(module: str, what: str) -> Any:
    """Import a module of the extra `rag`; raises `UsageError`, with what it is needed for, where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # a fault within the package, which its installation would not mend
        package = {"docx": "python-docx"}.get(module, module.split(".")[0])
        raise UsageError(f"{what} needs {package}, which is not installed: pip install 'afina[rag]'.") from None
