"""Write a traced adapter as an ONNX file, with rows and lengths of any size."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from afina.errors import AfinaError
from afina.export.graph import Traced

__all__ = ["write_onnx"]

_LARGEST = 1_900_000_000
"""Bytes of weights in one file; protobuf holds no more than 2 GiB."""


def write_onnx(traced: Traced, path: Path) -> None:
    """Write `model.onnx`, with the weights in a `model.onnx.data` beside it where one file cannot hold them.

    Raises `AfinaError` for what ONNX has no word for.
    """
    with _quiet():
        try:
            program: Any = torch.onnx.export(
                traced.program, (), dynamo=True, verbose=False, optimize=True,
                input_names=list(traced.inputs), output_names=list(traced.outputs),
            )  # fmt: skip
        except torch.onnx.errors.OnnxExporterError as error:
            reason = next(
                filter(None, re.findall(r"No ONNX function found for [^.]*|Error when \w+ [^.]*", str(error))), ""
            )
            raise AfinaError(
                f"ONNX has no word for what the adapter does ({reason or error}). Please report this."
            ) from error
    _name_apart(program.model.graph)
    _name_sizes(program.model.graph, traced)
    weights = sum(
        own.const_value.nbytes for own in program.model.graph.initializers.values() if own.const_value is not None
    )
    # Beside the graph only where one file cannot hold them, as two files are easily parted.
    program.save(str(path), external_data=weights > _LARGEST)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what exporter says of itself: of packages that nothing here needs."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    try:
        exporter.setLevel(logging.ERROR)
        yield
    finally:
        exporter.setLevel(level)


def _name_apart(graph: Any) -> None:
    """Give what is computed inside other names than inputs and outputs have: the exporter calls it by its operation."""
    # onnxruntime refuses a graph with two values of one name.
    ends = [*graph.inputs, *graph.outputs]
    taken = {value.name for value in ends}
    for value in (value for node in graph for value in node.outputs):
        if value.name in taken and all(value is not end for end in ends):
            value.name = f"{value.name}_inside"


def _name_sizes(graph: Any, traced: Traced) -> None:
    """Give the sizes of inputs and outputs their names, which the exporter has numbered."""
    import onnx_ir

    for value in (*graph.inputs, *graph.outputs):
        if value.shape is None:
            # A scalar has no sizes.
            continue
        names = traced.sizes.get(value.name, {0: "rows", 1: "length"})
        free = [axis for axis, size in enumerate(value.shape) if not isinstance(size, int)]
        for axis in free:
            if axis in names:
                value.shape[axis] = onnx_ir.SymbolicDim(names[axis])
