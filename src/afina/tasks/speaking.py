"""Shares what all tasks have in common that a model answers with its own language head."""

from afina.tasks.base import Task

__all__ = ["SpeakingTask"]


class SpeakingTask(Task):
    """A task without a head of its own: the model says how likely texts are, or writes them."""

    speaks = True
    has_head = False

    @classmethod
    def auto_class(cls, inputs: str, *, reads_apart: bool) -> str:
        return "AutoModelForSeq2SeqLM" if reads_apart else "AutoModelForCausalLM"

    @classmethod
    def asked(cls, tokens: str) -> str:
        return f"tokenizer.decode(model.generate(**{tokens})[0])"
