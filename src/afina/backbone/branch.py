"""Define what a method puts at a site: up to three formulas around a frozen call, never the call itself."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.file_tensors import original_weight
from afina.backbone.quantise import full_weight
from afina.errors import AfinaError, UsageError
from afina.ops.whole_tensor import whole

__all__ = ["AttentionBranch", "Branch", "Frozen", "FrozenLinear", "Here", "Placed", "PromptBranch", "shares"]


@dataclass(frozen=True)
class FrozenLinear:
    """The frozen linear layer at a site; it is asked for its weight each time, as a quantised one keeps no full copy."""

    module: nn.Module
    site: Site

    @property
    def weight(self) -> Tensor:
        """Return the weight as it computes, (out, in)."""
        weight = full_weight(self.module)
        # transformers' Conv1D keeps its weight the other way round.
        return (weight.T if self.site.transposed else weight)[self.rows]

    @property
    def bias(self) -> Tensor | None:
        """Return the bias, (out,), or None."""
        bias: Tensor | None = getattr(self.module, "bias", None)
        # A copy is not needed, and what is read here is not to be trained by a branch's gradient.
        return None if bias is None else whole(bias).detach()[self.rows]

    @property
    def rows(self) -> slice:
        """Return the rows of the weight that are the site's: all, or a part of a fused projection."""
        return slice(None) if self.site.part is None else slice(*self.site.part)


@dataclass(frozen=True)
class Frozen:
    """Holds what a branch may read of the frozen model at its site; nothing of it is to be changed."""

    model: nn.Module
    anatomy: Anatomy
    site: Site
    name: str = ""
    """The name of the model, by which its files are found."""

    @property
    def module(self) -> nn.Module:
        return self.model.get_submodule(self.site.module)

    @property
    def output_scale(self) -> float:
        """Return what an embedding multiplies its vectors by on their way out (Gemma)."""
        scale = getattr(self.module, "embed_scale", None)
        return 1.0 if scale is None else float(scale)

    def original(self) -> Tensor:
        """Return the weight (out, in) of the layer at the site as the model's files have it, in float32.

        Raises `UsageError` where they hold none: they are of codes, or name weights otherwise than the modules.
        """
        linear = self.linear()
        weight, of_files = linear.weight.float().cpu(), original_weight(self.name, self.site.module)
        # Files may keep it the other way round: the right way is nearer to what was made of it.
        ways = [way[linear.rows] for way in (of_files, of_files.T) if way[linear.rows].shape == weight.shape]
        if not ways:
            raise UsageError(f"The weight of {self.site.module} has another size in the files of '{self.name}'.")
        return min(ways, key=lambda way: float((way - weight).norm()))

    def linear(self, role: str | None = None) -> FrozenLinear:
        """Return the linear layer of the site, or that of a role beside it."""
        site = self.site
        if role is not None:
            beside = [s for s in self.anatomy.sites if s.layer == self.site.layer and s.role == role]
            # A decoder's layer has two attentions: the projections of this one are inside it.
            site = next((s for s in beside if s.module.startswith(f"{self.site.module}.")), beside[0])
        return FrozenLinear(self.model.get_submodule(site.module), site)


@dataclass(frozen=True)
class Here:
    """Holds what a branch may know of the pass that it is in."""

    mask: Tensor | None
    """(rows, length) of its adapter's rows: ones on the texts' tokens; of a text that goes on with what the model is to say,
    on those that it reads. None for all ones."""
    rows: int
    length: int
    left: dict["Placed", Any]
    """Values that branches of one adapter leave for each other, by the branch that left them."""
    part: tuple[int, int | None] = (0, None)
    """Start and end of the piece that is read now, where a text is read in pieces; mask and length are the whole text's."""


class Placed(nn.Module):
    """Shares what every branch has: a start on the frozen weights, stored tensors, a fold."""

    per_token: ClassVar[bool] = True
    """True if each token's result depends on that token alone; if False, no token may be left out of the last layer."""

    def start(self, frozen: Frozen) -> None:
        """Prepare what depends on the frozen weights; called once, when the adapter is built, after `__init__`."""

    def stored(self) -> dict[str, Tensor]:
        """Return the tensors that an adapter's file keeps, by name; the parameters themselves unless overridden."""
        # By name and without a copy: what is saved is what is trained.
        return dict(self.named_parameters())

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the weight, (out, in) or a norm's (width,), and bias of the one layer that equals module and branch."""
        raise AfinaError(f"{type(self).__name__} has no equal layer, so it cannot be merged.")

    def by_groups(self, size: int) -> Tensor | None:
        """Return what is added to the weight, a number (out, in / size) for every `size` inputs; None where these differ."""
        return None

    def penalty(self) -> Tensor | None:
        """Return a term that the method adds to the loss of a step, or None."""
        return None


class Branch(Placed):
    """Acts at a module: `before` changes what goes in, `after` what comes out; both leave it alone unless overridden."""

    adds: ClassVar[bool] = False
    """True if `fold` adds a term that does not depend on the weight; it may then follow other changes of the weight."""
    answers: ClassVar[bool] = True
    """True if it also acts on the tokens of an answer; False if only on those of the text that is read."""
    words: int = 0
    """Words that an embedding's branch has vectors for, where they may be more than the module's."""

    def __init_subclass__(cls, **settings: Any) -> None:
        """Refuse a class that has a `stack_key` and a formula without its stacked form, which a cohort would leave out."""
        super().__init_subclass__(**settings)

        # A subclass that overrides a formula alone would inherit the stacked form of another one, silently.
        def owner(name: str) -> type:
            return next(kind for kind in cls.__mro__ if name in vars(kind))

        if cls.stack_key is not Branch.stack_key and cls.after_here is not Branch.after_here:
            raise TypeError(f"{cls.__name__} has a stack_key and after_here, which has no stacked form.")
        for verb in ("before", "after") if cls.stack_key is not Branch.stack_key else ():
            if not issubclass(owner(f"{verb}_stacked"), owner(verb)):
                raise TypeError(
                    f"{cls.__name__} has a stack_key and {verb}, and no {verb}_stacked of the same formula."
                )

    def before(self, x: Tensor) -> Tensor:
        """Return the module's input in place of `x` (B, T, D_in)."""
        return x

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the module's output in place of `y` (B, T, D_out), given its input `x`."""
        return y

    def after_here(self, here: Here, x: Tensor, y: Tensor) -> Tensor:
        """Return what `after` does, for a formula that has to know of the pass; it is this that the hook calls."""
        # Most formulas want nothing of the pass, and are written as `after` alone.
        return self.after(x, y)

    def stack_key(self) -> Hashable:
        """Return what branches of several adapters share that are computed at once where they are neighbours, or None.

        It says all that `before_stacked` and `after_stacked` take for granted: their class, shapes and settings.
        """
        return None

    def together(self, branches: Sequence[Any]) -> Any:
        """Return what the stacked formulas take of branches, this one first; it may be kept while these do not change."""
        return branches

    def before_stacked(self, together: Any, x: Tensor) -> Tensor:
        """Return what `before` would of each branch in `together` for its rows, equally many each, in order."""
        return x

    def after_stacked(self, together: Any, x: Tensor, y: Tensor) -> Tensor:
        """Return what `after` would, likewise."""
        return y


def shares(x: Tensor, count: int) -> Tensor:
    """Return rows x (..., D) of as many adapters as (count, N, D)."""
    return x.reshape(count, -1, x.shape[-1])


class AttentionBranch(Placed):
    """Acts at an attention call, for the rows of one adapter."""

    moves: int = 0
    """Positions taken up by this branch's prefix keys (0: none)."""
    prepends: int = 0
    """Keys and values that this branch puts before each text's own, where that is all that it does (0: none).

    Where text is written they are put once among those that are kept, and the branch is not asked again."""

    def before(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return what is attended with; all (B, H, T, D/H), mask broadcastable to (B, H, T, S) or None."""
        return query, key, value, mask

    def kept(self) -> tuple[Tensor, Tensor]:
        """Return the keys and values (H, P, D/H) of a branch that `prepends`."""
        raise NotImplementedError

    def after(self, query: Tensor, output: Tensor) -> Tensor:
        """Return the attention's output (B, H, T, D/H) in place of `output`."""
        return output


class PromptBranch(Placed):
    """Puts vectors before every text, at the embeddings, as tokens that no vocabulary has."""

    per_token = False
    length: int
    """Number of vectors."""
    seen: bool = False
    """True if a head that takes the first token sees the first vector (as PEFT's do), not the text's own first token."""

    def vectors(self) -> Tensor:
        """Return them, (length, D)."""
        raise NotImplementedError
