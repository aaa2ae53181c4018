"""QLoRA: add LoRA to every linear layer of a base in 4 bits.  Dettmers et al., 2023, arXiv:2305.14314, equation 5.

y = dequantised(W) x + (alpha / rank) B A x, with W in NormalFloat4 (`backbone/storage/nf4.py`), A and B as in LoRA. On a GPU
AdamW's moments are paged (section 3); on a CPU, which has nothing to page out of, it is plain AdamW.
"""

from dataclasses import dataclass

from afina.methods.base import method
from afina.methods.lora import LoRA
from afina.methods.rates import RateRule

__all__ = ["QLoRA"]


@method("qlora")
@dataclass(frozen=True, kw_only=True)
class QLoRA(LoRA):
    """Adapts all linear layers by low-rank updates, on a base in 4 bits."""

    portuguese = "Adapta todas as camadas lineares por atualizações de posto baixo, sobre uma base em 4 bits."

    quantised = True
    paged = True
    rates = RateRule(4.2e-4, by_steps=0.6, by_width=0.75)
    """The paper's 2e-4 (table 9) is for models of 7 and 13 billion weights, and constant; 1e-4 for larger ones. At 1e-3 two
    seeds of three learned nothing of SNLI, and at 6e-4 one of three nothing of IMDb."""
    writer_rates = RateRule(2e-3, by_steps=0.5, by_width=0.75)

    rank: int = 64
    """The paper's (section 4)."""
    alpha: float = 16.0
    """The paper's, likewise."""
    dropout: float = 0.1
    """The paper's for models of 7 and 13 billion weights; 0.05 for larger ones."""
    targets: tuple[str, ...] = ("all",)
    """Every linear layer of the model's layers, without which the paper does not reach full fine-tuning (figure 2)."""
