"""Run a `model.xml` in OpenVINO, on the processor."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afina.errors import AfinaError
from afina.export.manifest import Manifest
from afina.export.runtime import Runtime, Session, runtime, threads
from afina.export.writing.session import Call
from afina.export.writing.session_apart import opened_graphs

__all__ = ["EXACTLY", "OpenvinoRuntime", "OpenvinoSession", "quiet"]

EXACTLY = {"INFERENCE_PRECISION_HINT": "f32"}
"""Settings that keep 32 bits as tested: by default OpenVINO rounds to 16 bits where a processor has them."""


def quiet(name: str = "openvino") -> Any:
    """Return OpenVINO's module or nncf, imported without its telemetry, which would report each use to its maker."""
    telemetry = sys.modules.get("openvino_telemetry")
    if telemetry is None:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module(name)
    finally:
        if telemetry is None:
            del sys.modules["openvino_telemetry"]


class OpenvinoSession(Session):
    """Runs a graph of one output."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        outputs: np.ndarray = self.model(dict(inputs))[0]
        return outputs


@runtime("openvino")
class OpenvinoRuntime(Runtime):
    """Runs OpenVINO's graphs."""

    package = "openvino"
    extra = "openvino"
    file = "model.xml"

    @classmethod
    def open(cls, folder: Path, manifest: Manifest) -> Session:
        return opened_graphs(folder / cls.file, manifest, cls._model, whole=OpenvinoSession, call=_call)

    @classmethod
    def _model(cls, path: Path, inputs: Sequence[str]) -> Any:
        """Open one graph; raises `AfinaError` for what is none, or takes other `inputs`."""
        openvino = quiet()
        settings = EXACTLY | ({"INFERENCE_NUM_THREADS": threads()} if threads() else {})
        try:
            model = openvino.Core().compile_model(path, "CPU", settings)
        except RuntimeError as error:  # so are all of OpenVINO's
            reason = str(error).strip().splitlines()[-1]
            raise AfinaError(f"{path} cannot be opened by openvino ({reason}).") from None
        names = {own.get_any_name() for own in model.inputs}
        if strange := set(inputs) ^ names:
            raise AfinaError(f"{path} takes other inputs than its manifest says: {sorted(strange)[0]!r}.")
        return model


def _call(model: Any) -> Call:
    return lambda given: list(model(dict(given)).values())
