"""Round an OpenVINO graph to eight bits with `nncf`, by what train rows show.

Both operands of a product are rounded to ranges that calibration has shown, attention's own products among them. Before, the
largest inputs of a layer are made smaller and its weights larger by as much (SmoothQuant: Xiao et al., 2023,
arXiv:2211.10438), and what rounding moves on average is taken back from biases: nncf's way for transformers. Of what writes
weights alone are rounded: what is kept of the tokens before would have to be calibrated too.
"""

import contextlib
import importlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afina.errors import AfinaError
from afina.export.int8 import Rounded
from afina.export.runtimes.openvino import EXACTLY, quiet

__all__ = ["round_openvino"]


def round_openvino(
    graph: Path, calibration: Sequence[Mapping[str, np.ndarray]] | None, *, head: bool = True
) -> Rounded:
    """Round a graph's file, in place: all products, but for the last where that is a `head`, and embeddings.

    Without `calibration` its weights alone are rounded, and what they are multiplied with stays in float.
    """
    openvino = quiet()
    nncf = quiet("nncf")
    model = openvino.Core().read_model(graph)
    linear = [own.get_friendly_name() for own in model.get_ordered_ops() if _is_linear(own)]
    if len(linear) < 2:
        raise AfinaError(f"{graph.name} has no linear layers but its head; there is nothing to round to eight bits.")
    but = nncf.IgnoredScope(names=linear[-1:]) if head else None
    with _unprinted(nncf):
        if calibration is None:
            rounded = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM, ignored_scope=but)
        else:
            # All rows that are given: their number is `subset_size`, which else is nncf's own.
            rounded = nncf.quantize(
                model, nncf.Dataset(list(calibration)), model_type=nncf.ModelType.TRANSFORMER,
                preset=nncf.QuantizationPreset.MIXED, subset_size=len(calibration), ignored_scope=but,
            )  # fmt: skip
    for name, value in EXACTLY.items():
        rounded.set_rt_info(value, ["runtime_options", name])
    count = sum(
        own.get_type_name() in ("MatMul", "Gather") and _after_rounding(own) for own in rounded.get_ordered_ops()
    )
    openvino.save_model(rounded, graph.with_stem("rounded"), compress_to_fp16=False)
    del model, rounded
    for ending in (".xml", ".bin"):
        graph.with_name(f"rounded{ending}").replace(graph.with_suffix(ending))
    left = ("products of two inputs in attention",) if calibration is None else ()
    return Rounded(count, ("the head's last layer", "layer norms", "softmax", *left))


def _is_linear(node: Any) -> bool:
    """Return whether an operation multiplies by a weight."""
    return bool(node.get_type_name() == "MatMul" and any(_is_weight(place) for place in node.inputs()))


def _is_weight(place: Any) -> bool:
    source = place.get_source_output().get_node()
    while source.get_type_name() in ("Convert", "Transpose", "Reshape"):
        source = source.input(0).get_source_output().get_node()
    return bool(source.get_type_name() == "Constant")


def _after_rounding(node: Any) -> bool:
    """Return whether what an operation takes was rounded."""
    for place in node.inputs():
        source = place.get_source_output().get_node()
        while source.get_type_name() in ("Convert", "Reshape", "Transpose", "Multiply", "Subtract"):
            if source.get_type_name() == "Convert" and "8" in source.input(0).get_element_type().get_type_name():
                return True
            source = source.input(0).get_source_output().get_node()
        if source.get_type_name() == "FakeQuantize":
            return True
    return False


@contextlib.contextmanager
def _unprinted(nncf: Any) -> Iterator[None]:
    """Leave out progress bars and what nncf tells of itself; its warnings stay."""
    logger = importlib.import_module(f"{nncf.__name__}.common.logging").nncf_logger
    level = logger.level
    try:
        logger.setLevel(logging.WARNING)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
