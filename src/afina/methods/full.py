"""Full fine-tuning: every weight is trained.  Devlin et al., 2019, arXiv:1810.04805, section 3.2."""

from dataclasses import dataclass

from afina.methods.base import Method, method

__all__ = ["Full"]


@method("full")
@dataclass(frozen=True, kw_only=True)
class Full(Method):
    """All weights; it owns the backbone and so runs alone."""

    owns_backbone = True

    learning_rate: float = 5e-5
    """The largest of the rates that the BERT paper searches (appendix A.3), and Hugging Face Trainer's default."""
