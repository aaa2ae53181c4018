"""Says how a task is learned from a teacher; one that says nothing here is learned from labels alone."""

from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TaughtTask"]


class TaughtTask:
    """Describes what of a teacher a task can be learned from, and what is lost where a student says otherwise."""

    taught_by: ClassVar[frozenset[Literal["answers", "states"]]] = frozenset()
    """The parts of a teacher that it learns from: its answers, its hidden states, both or neither."""
    tempered: ClassVar[bool] = True
    """True where answers are probabilities, which a temperature evens out."""

    def soft_loss(self, outputs: "Tensor", taught: "Tensor", temperature: float) -> "Tensor":
        """Return the loss, summed over its terms, of a student's outputs (N, ...) against a teacher's for the same terms.

        Not asked where text is written: there a teacher is known by its likeliest tokens.
        """
        raise NotImplementedError(f"{type(self).__name__} learns no answers of a teacher")

    def hard_loss(self, outputs: "Tensor", taught: "Tensor") -> "Tensor":
        """Return the loss, summed over its terms, where what the teacher answers is taken for the label."""
        raise NotImplementedError(f"{type(self).__name__} learns no answers of a teacher")
