"""Run a `model.onnx` in ONNX Runtime, on the processor."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afina.errors import AfinaError
from afina.export.manifest import Manifest
from afina.export.runtime import Runtime, Session, runtime, threads
from afina.export.writing.session import Call
from afina.export.writing.session_apart import opened_graphs

__all__ = ["OnnxRuntime", "OnnxSession"]


class OnnxSession(Session):
    """Runs a graph of one output."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.inputs = tuple(own.name for own in session.get_inputs())

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        outputs: np.ndarray = self.session.run(None, {name: inputs[name] for name in self.inputs})[0]
        return outputs


@runtime("onnxruntime")
class OnnxRuntime(Runtime):
    """Runs ONNX graphs."""

    package = "onnxruntime"
    extra = "onnx"
    file = "model.onnx"

    @classmethod
    def open(cls, folder: Path, manifest: Manifest) -> Session:
        return opened_graphs(folder / cls.file, manifest, cls._session, whole=OnnxSession, call=_call)

    @classmethod
    def _session(cls, path: Path, inputs: Sequence[str]) -> Any:
        """Open one graph; raises `AfinaError` for what is none, or takes other `inputs`."""
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as states

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads()
        settings.log_severity_level = 3  # errors; what it would rather have in a graph is no fault of the graph
        try:
            session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        except (
            states.Fail,
            states.InvalidGraph,
            states.InvalidProtobuf,
            states.NoSuchFile,
            states.NotImplemented,
        ) as error:
            raise AfinaError(f"{path} cannot be opened by onnxruntime ({error}).") from None
        if inputs and (strange := set(inputs) ^ {own.name for own in session.get_inputs()}):
            raise AfinaError(f"{path} takes other inputs than its manifest says: {sorted(strange)[0]!r}.")
        return session


def _call(session: Any) -> Call:
    return lambda given: session.run(None, dict(given))
