"""VeRA: y = W x + diag(b) B diag(d) A x, A and B random, frozen and the same in every layer.  Kopiczko et al., 2024.

arXiv:2310.11454, equation 2. A is (rank, in) and B (out, rank), as large as the largest layer needs; a smaller one takes the
first columns of A and the first rows of B. Each layer trains d (rank,), which starts at 0.1, and b (out,), which starts at
zero, so that nothing changes at the start.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import Branch, Placed
from afina.errors import AfinaError, UsageError
from afina.methods.base import Method, method
from afina.methods.bitfit import own_biases
from afina.methods.low_rank import Update
from afina.methods.peft_form import EVERY, TARGETS, Flag, PeftForm, PeftKey, Place, Whole, filled
from afina.methods.rates import RateRule

__all__ = ["Projections", "ScaledProjections", "VeRA"]

_LOW = 64
"""Below it a remark says that random matrices want a higher rank than trained ones."""


class Projections(nn.Module):
    """Holds A and B, which no one trains: buffers that all layers look into."""

    a: Tensor
    b: Tensor

    def __init__(self, a: Tensor, b: Tensor) -> None:
        super().__init__()
        self.register_buffer("a", a)
        self.register_buffer("b", b)

    @classmethod
    def drawn(cls, seed: int, rank: int, width_in: int, width: int) -> "Projections":
        """Draw A, then B, as PEFT does of the same seed: uniform (Kaiming), by a generator of their own."""
        generator = torch.Generator().manual_seed(seed)

        def draw(rows: int, columns: int) -> Tensor:
            # PEFT's bound, written out: one seed has to give the same numbers there and here.
            bound = math.sqrt(3.0) * (math.sqrt(2.0) / math.sqrt(columns))
            # On the CPU whatever the default device is: a GPU draws other numbers from a seed.
            return torch.empty(rows, columns, device="cpu").uniform_(-bound, bound, generator=generator)

        return cls(draw(rank, width_in), draw(width, rank))


class ScaledProjections(Update):
    """Makes the update of all layers' A and B, scaled by this layer's vectors."""

    def __init__(self, site: Site, *, rank: int, initial: float, dropout: float) -> None:
        super().__init__(1.0, dropout)
        self.width_in, self.width = site.width_in, site.width
        self.d = nn.Parameter(torch.full((rank,), initial))
        # At zero a row of B counts for nothing, though d already lets its gradient pass.
        self.b = nn.Parameter(torch.zeros(site.width))
        self.projections: tuple[Projections, ...] = ()
        """The one that all share, in a tuple, so that it is not a submodule of each."""

    def factors(self) -> tuple[Tensor, Tensor]:
        (shared,) = self.projections
        # Matrices are as large as the widest layer; a smaller one takes their first rows and columns, as PEFT's does.
        return self.d[:, None] * shared.a[:, : self.width_in], self.b[:, None] * shared.b[: self.width]


@dataclass(frozen=True)
class VeRAForm(PeftForm):
    """Reads two vectors a layer, and A and B once; without them PEFT draws both again from a seed."""

    keys = (
        *EVERY,
        *TARGETS,
        PeftKey("r", "tensors", "the rank"),
        PeftKey("projection_prng_key", "read", "the seed of A and B, where the file does not hold them", kind=Whole),
        PeftKey("save_projection", "read", "whether the file holds A and B", kind=Flag),
        PeftKey("vera_dropout", "nothing", "dropout while training"),
        PeftKey("d_initial", "nothing", "how it started"),
        PeftKey("init_weights", "nothing", "how it started"),
        PeftKey("fan_in_fan_out", "tensors", "whether the base keeps its weights as (in, out)"),
        PeftKey("bias", "tensors", "which biases are its own"),
        PeftKey("layers_to_transform", "tensors", "which layers are adapted"),
        PeftKey("layers_pattern", "tensors", "what the model calls its layers"),
    )
    beyond: ClassVar[str] = "on slices of a fused projection, each with vectors of its own"

    def shared(
        self, tensors: Mapping[str, Tensor], modules: Sequence[tuple[Place, Mapping[str, Tensor]]]
    ) -> nn.Module | None:
        adapted = [(place, values) for place, values in modules if "vera_lambda_d" in values]
        if not adapted:
            return None
        first, values = adapted[0]

        # The file's own matrices go before the seed: another version of torch may draw other numbers.
        held = [tensors[name] for name in self.together.values() if name in tensors]
        if len(held) == 2 and all(value.ndim == 2 for value in held):
            return Projections(held[0].float(), held[1].float())
        # PEFT writes `save_projection` when it leaves them out; a file without a word is damaged.
        if held or first.config.get("save_projection") is not False:
            missing = next((name for name in self.together.values() if name not in tensors), "its matrices")
            raise AfinaError(f"{first.folder} is damaged: it lacks '{missing}', which all of its layers share.")
        width_in, width = (max(getattr(place.site, key) for place, _ in adapted) for key in ("width_in", "width"))
        return Projections.drawn(
            int(first.config.get("projection_prng_key", 0)), len(values["vera_lambda_d"]), width_in, width
        )

    def read(self, place: Place, values: dict[str, Tensor]) -> list[Placed]:
        made: list[Placed] = []
        if "vera_lambda_d" in values:
            d = place.take(values, "vera_lambda_d", (None,))
            b = place.take(values, "vera_lambda_b", (place.site.width,))
            shared = place.shared
            if (
                not isinstance(shared, Projections)
                or len(shared.a) != len(d)
                or shared.b.shape[1] != len(d)
                or shared.a.shape[1] < place.site.width_in
                or len(shared.b) < place.site.width
            ):
                raise AfinaError(
                    f"{place.folder}: the matrices that its layers share do not fit '{place.path}' of {place.model}; it was "
                    "trained on another base model."
                )
            branch = ScaledProjections(place.site, rank=len(d), initial=0.0, dropout=0.0)
            branch.projections = (shared,)
            made.append(filled(branch, d=d, b=b))
        return [*made, *own_biases(place, values)]


@method("vera")
@dataclass(frozen=True, kw_only=True)
class VeRA(Method):
    """Vectors that scale random matrices, which all layers share."""

    portuguese = "Aprende vetores que dão escala a matrizes aleatórias que todas as camadas compartilham."

    mergeable = True
    peft = VeRAForm(
        "VERA",
        {"d": "vera_lambda_d", "b": "vera_lambda_b"},
        together={"a": "base_model.vera_A", "b": "base_model.vera_B"},
    )
    rates = RateRule(2.4e-2, by_steps=0.5, by_width=0.5)
    """Vectors, as IA3's; on AG News in 150 steps it gave 86.8%, a third of it 85.8%, three times 86.0%, ten times 28.0%."""

    rank: int = 256
    """Rank of the random matrices, which costs one trained number a layer; PEFT's default."""
    targets: tuple[str, ...] = ("query", "value")
    """Roles to adapt; LoRA's choice, so that the two compare."""
    initial: float = 0.1
    """The first value of d; PEFT's default."""
    dropout: float = 0.0
    """Dropout on the branch's input; PEFT's default."""
    projection_seed: int = 0
    """Seed of A and B, apart from the run's: adapters of one seed share their matrices. They are saved all the same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1:
            raise UsageError(f"{self.name}: rank should be at least 1, not {self.rank}.")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"{self.name}: dropout should be from 0 up to 1, not {self.dropout:g}.")
        if self.initial == 0:
            raise UsageError(f"{self.name}: initial is 0, at which neither vector would ever learn; leave it out.")

    def remarks(self, written: Collection[str]) -> list[str]:
        # Few random directions reach little, however well they are scaled.
        if self.rank >= _LOW:
            return []
        return [
            f"{self.name}: rank is {self.rank}, and its matrices are random, so that it reaches little at a rank that suits "
            f"trained ones; {self.name}: {{rank: {type(self).rank}}} trains one number a layer more for each."
        ]

    def sites(self, anatomy: Anatomy) -> list[Site]:
        return anatomy.by_role(self.targets, for_method=self.name)

    def branch(self, site: Site) -> Branch:
        return ScaledProjections(site, rank=self.rank, initial=self.initial, dropout=self.dropout)

    def shared(self, sites: Sequence[Site]) -> nn.Module:
        # As large as the widest site of either side, wherever each of them is.
        width_in, width = max(site.width_in for site in sites), max(site.width for site in sites)
        return Projections.drawn(self.projection_seed, self.rank, width_in, width)

    def connect(self, branches: Mapping[str, Placed], shared: nn.Module | None) -> None:
        assert isinstance(shared, Projections)
        for branch in branches.values():
            assert isinstance(branch, ScaledProjections)
            branch.projections = (shared,)

    def peft_config(self, sites: Sequence[Site], total_steps: int | None, prefix: str) -> dict[str, Any]:
        return {
            "r": self.rank,
            "projection_prng_key": self.projection_seed,
            "save_projection": True,
            "vera_dropout": self.dropout,
            "d_initial": self.initial,
            "bias": "none",
            "fan_in_fan_out": any(site.transposed for site in sites),
        }
