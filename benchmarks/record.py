"""Result files: what was measured, when, by which command, with which versions."""

import json
import os
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from afina.backbone.storage.base import worth_trying
from afina.measure.hardware import hardware


def precision() -> str:
    """What these studies compute in: bf16 where this machine's processor has it, else fp32."""
    return next((kind.name for kind in worth_trying("cpu")), "fp32")


def _from_here(argument: str) -> str:
    """Name a path from the working folder: where that lies is this machine's."""
    return os.path.relpath(argument) if Path(argument).is_absolute() else argument


def write_record(path: Path, *packages: str, **figures: Any) -> None:
    """Write the figures as JSON; `packages` took part beside torch, transformers and Afina."""
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(map(_from_here, sys.argv)),
        "versions": {name: metadata.version(name) for name in ("torch", "transformers", *packages, "afina")},
        "machine": {key: hardware()[key] for key in ("cpu", "cores", "cpu_capabilities", "gpus")},
    }
    path.write_text(json.dumps(record | figures, indent=2) + "\n")
