"""Full fine-tuning: every weight is trained.  Devlin et al., 2019, arXiv:1810.04805, section 3.2.

With `layer_decay` d the rate of layer i of L is d^(L - i) times the head's, the embeddings' d^(L + 1): lower layers, which
hold what is more general, move less (Howard and Ruder, 2018, arXiv:1801.06146, section 3.2).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from afina.backbone.anatomy import Anatomy
from afina.errors import UsageError
from afina.methods.base import Method, method
from afina.methods.rates import RateRule

__all__ = ["Full"]


@method("full")
@dataclass(frozen=True, kw_only=True)
class Full(Method):
    """All weights; it owns the backbone and so runs alone."""

    portuguese = "Treina todos os pesos; fica com o modelo só para si e por isso roda sozinho."

    owns_backbone = True
    mergeable = True
    rates = RateRule(5.6e-5, by_steps=0.4, by_width=0.75)
    """3.3e-5 at the width of BERT-base in 500 steps: the paper searches 2e-5, 3e-5 and 5e-5 (appendix A.3)."""

    layer_decay: float = 1.0
    """Rate of each layer over that of the next above; 1 for the same everywhere, the usual choice else is 0.65 to 0.95."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.layer_decay <= 1:
            raise UsageError(f"full: layer_decay should be above 0 and at most 1, not {self.layer_decay:g}.")

    def rate_factors(self, names: Iterable[str], anatomy: Anatomy) -> dict[str, float]:
        layers = [site.module for site in anatomy.of_kind("layer")]
        factors: dict[str, float] = {}
        # At a decay of one all rates are the same, and nothing has to be said.
        for name in names if self.layer_decay < 1 else ():
            inside = name.removeprefix("backbone.")
            if inside != name:  # the head keeps the whole rate
                above = next(
                    (len(layers) - i for i, layer in enumerate(layers, 1) if inside.startswith(f"{layer}.")), None
                )
                outer = any(inside.startswith(f"{module}.") for module in _behind(anatomy))
                # Embeddings are below the lowest layer, and so one step further from the head.
                factors[name] = self.layer_decay ** (0 if outer else len(layers) + 1 if above is None else above)
        return factors


def _behind(anatomy: Anatomy) -> list[str]:
    """Return the modules behind the last layer: the pooler, and norms that stand in no layer and are no embedding's."""
    outer = [site.module for site in anatomy.sites if site.role == "outer"]
    # Embeddings have norms that stand in no layer either, and these are below.
    return outer + [s.module for s in anatomy.of_kind("norm") if s.layer is None and "embed" not in s.module]
