"""Tell plain linear layers, torch's and transformers' own, and how wide they are."""

from torch import nn

__all__ = ["is_conv1d", "is_plain_linear", "widths"]


def is_conv1d(module: nn.Module) -> bool:
    """Return whether a module is transformers' Conv1D, GPT-2's linear layer, which keeps its weight (in, out)."""
    # By its name: to import the class takes transformers, which this room does without.
    return type(module).__name__ == "Conv1D"


def is_plain_linear(module: nn.Module) -> bool:
    """Return whether a module is torch's Linear, and of no class made from it, or transformers' Conv1D."""
    return type(module) is nn.Linear or is_conv1d(module)


def widths(module: nn.Module) -> tuple[int, int]:
    """Return the inputs and outputs of a plain layer."""
    first, second = module.get_parameter("weight").shape
    return (first, second) if is_conv1d(module) else (second, first)
