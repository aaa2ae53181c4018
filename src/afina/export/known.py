"""Compute what in a traced graph depends on no input, and let it stand there as tensors."""

from typing import Any

import torch
from torch import Tensor
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument

__all__ = ["known_ahead"]

_VIEWS = frozenset({
    "permute", "t", "transpose", "view", "reshape", "unsqueeze", "squeeze", "expand", "slice", "select", "detach", "alias",
    "numpy_T", "split_with_sizes",
})  # fmt: skip
"""Operations left to the graph: storing their results would only make it larger."""


def known_ahead(program: torch.export.ExportedProgram) -> int:
    """Compute what in a program depends on no input, put it there as constants, in place, and return how many these are."""
    graph = program.graph
    values, worth = _values(program)
    count = 0
    for node in list(graph.nodes):
        wanted = node.op == "call_function" and worth.get(node, False) and isinstance(values[node], Tensor)

        # Only what an unknown node uses is put into the graph; the known nodes behind it fall away.
        if wanted and any(user not in values for user in node.users):
            node.replace_all_uses_with(_constant(program, f"known_{count}", values[node].detach().clone()))
            count += 1
    for node in [node for node, value in values.items() if value is None]:
        graph.erase_node(node)  # an assertion, which holds
    graph.eliminate_dead_code()
    _drop_unused(program)
    program.graph_module.recompile()
    return count


def _values(program: torch.export.ExportedProgram) -> tuple[dict[Any, Any], dict[Any, bool]]:
    """Return what each node gives that depends on no input, and whether more than a view of a tensor is in it."""
    values: dict[Any, Any] = {}
    worth: dict[Any, bool] = {}
    tensors = {**program.state_dict, **program.constants}
    held = {spec.arg.name: tensors.get(spec.target) for spec in program.graph_signature.input_specs if spec.target}

    # One walk in the graph's order: a node whose inputs are all known is computed here, once and not at every call.
    for node in program.graph.nodes:
        if node.op == "placeholder" and isinstance(held.get(node.name), Tensor):
            values[node], worth[node] = held[node.name], False
        elif node.op == "call_function" and node.all_input_nodes and all(own in values for own in node.all_input_nodes):
            given = torch.fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            with torch.no_grad():
                values[node] = node.target(*given[0], **given[1])

            # A view costs nothing where it is, and would take memory as a tensor of its own.
            computes = getattr(node.target, "_opname", "") not in _VIEWS
            worth[node] = computes or any(worth[own] for own in node.all_input_nodes)
    return values, worth


def _constant(program: torch.export.ExportedProgram, name: str, value: Tensor) -> Any:
    """Put a tensor into a program, in place, and return its node; it stands before what the program is given."""
    specs, nodes = program.graph_signature.input_specs, program.graph.find_nodes(op="placeholder")
    place = next(place for place, spec in enumerate(specs) if spec.kind == InputKind.USER_INPUT)
    with program.graph.inserting_before(nodes[place]):
        node = program.graph.placeholder(name)
    node.meta["val"] = nodes[place].meta["val"].fake_mode.from_tensor(value, static_shapes=True)
    specs.insert(place, InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(node.name), name))
    program.constants[name] = value
    return node


def _drop_unused(program: torch.export.ExportedProgram) -> None:
    """Take what nothing in a program uses any more out of it, in place."""
    specs = program.graph_signature.input_specs
    for node, spec in zip(program.graph.find_nodes(op="placeholder"), list(specs), strict=True):
        if spec.kind != InputKind.USER_INPUT and not node.users:
            program.graph.erase_node(node)
            specs.remove(spec)
            for tensors in (program.state_dict, program.constants):
                tensors.pop(spec.target, None)
