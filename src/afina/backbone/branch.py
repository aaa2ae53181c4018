"""What a method puts at a site: up to three formulas around a frozen call, never the call itself."""

from torch import Tensor, nn

from afina.errors import AfinaError

__all__ = ["AttentionBranch", "Branch"]


class Branch(nn.Module):
    """At a module: `before` changes what goes in, `after` what comes out; both leave it alone unless overridden."""

    def before(self, x: Tensor) -> Tensor:
        """Return the module's input in place of `x` (B, T, D_in)."""
        return x

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the module's output in place of `y` (B, T, D_out), given its input `x`."""
        return y

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the (out, in) weight and bias of the one linear layer that equals module and branch together."""
        raise AfinaError(f"{type(self).__name__} has no equal linear layer, so it cannot be merged.")

    def penalty(self) -> Tensor | None:
        """A term that the method adds to the loss of a step, or None."""
        return None


class AttentionBranch(nn.Module):
    """At an attention call, for the rows of one adapter."""

    def before(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return what is attended with; all (B, H, T, D/H), mask broadcastable to (B, H, T, S) or None."""
        return query, key, value, mask

    def after(self, query: Tensor, output: Tensor) -> Tensor:
        """Return the attention's output (B, H, T, D/H) in place of `output`."""
        return output

    def penalty(self) -> Tensor | None:
        """A term that the method adds to the loss of a step, or None."""
        return None
