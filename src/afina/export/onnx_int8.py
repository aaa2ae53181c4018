"""Round the weights of an ONNX graph to eight bits.

Weights are rounded by channel (embeddings by table), to seven of the eight bits: on processors without VNNI the products of
full eight-bit numbers overflow, and nobody knows on which processor the graph will run. What is multiplied with them is
rounded as it comes (dynamic), or to a range that calibration has shown (static: the least and the most).
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from afina.errors import AfinaError
from afina.export.int8 import Rounded

__all__ = ["round_onnx"]

_KINDS = ["Gather", "Gemm", "MatMul"]
"""Embeddings and linear layers; what multiplies two inputs has no weight to round."""


def round_onnx(model: Path, calibration: Sequence[Mapping[str, np.ndarray]], *, head: bool = True) -> Rounded:
    """Round a graph's file, in place: its embeddings and linear layers, but for the last where that is a `head`.

    With `calibration` it is rounded statically.
    """
    from onnxruntime import quantization

    class Texts(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Gives one after another, as the quantiser asks for them."""

        def __init__(self) -> None:
            self.rest = iter(calibration)

        def get_next(self) -> Any:
            return next(self.rest, None)

    # A name of its own for each graph of a folder: the weights' file beside a large one keeps it.
    rounded = model.with_stem(f"{model.stem}.rounded")
    wanted, count = _nodes(model, head=head)
    whole = model.with_name(f"{model.name}.data")
    common: dict[str, Any] = {
        "op_types_to_quantize": _KINDS, "nodes_to_quantize": wanted, "per_channel": True, "reduce_range": True,
        "weight_type": quantization.QuantType.QInt8, "use_external_data_format": whole.exists(),
    }  # fmt: skip
    with _as_it_is():
        if calibration:
            quantization.quantize_static(
                str(model), str(rounded), Texts(), quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                # What a layer gives stays in float: the next thing done with it is in float.
                extra_options={"OpTypesToExcludeOutputQuantization": _KINDS}, **common,
            )  # fmt: skip
        else:
            quantization.quantize_dynamic(str(model), str(rounded), **common)
    rounded.replace(model)
    if whole.exists():
        whole.unlink()  # the rounded ones have a file of their own
    return Rounded(count, ("the head's last layer", "layer norms", "softmax", "products of two inputs in attention"))


@contextmanager
def _as_it_is() -> Iterator[None]:
    """Leave out the advice to prepare a graph first: shapes of all weights are known, and its layers are whole already."""

    def other(record: logging.LogRecord) -> bool:
        return "pre-processing before quantization" not in record.getMessage()

    logging.root.addFilter(other)
    try:
        yield
    finally:
        logging.root.removeFilter(other)


def _nodes(model: Path, *, head: bool) -> tuple[list[str], int]:
    """Return the names of the nodes to round, and how many they are; raises `AfinaError` where there is nothing to."""
    import onnx

    graph = onnx.load(str(model), load_external_data=False).graph
    weights = {own.name: own for own in graph.initializer if own.data_type == onnx.TensorProto.FLOAT}
    nodes = [
        node for node in graph.node
        if node.op_type in _KINDS and any(name in weights and len(weights[name].dims) == 2 for name in node.input)
    ]  # fmt: skip
    linear = [node.name for node in nodes if node.op_type != "Gather"]
    if len(linear) < 2:
        raise AfinaError(f"{model.name} has no linear layers but its head; there is nothing to round to eight bits.")
    names = [node.name for node in nodes if not head or node.name != linear[-1]]
    return names, len(names)
