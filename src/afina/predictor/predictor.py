"""Register the kinds of what answers with an adapter; a task names its kind, and one more kind is one file of this folder.

All kinds have the same verbs. A kind does what its adapters were trained for, and refuses the rest in a sentence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from afina.adapters.adapter import Adapter
from afina.adapters.format import AdapterFormat
from afina.adapters.record import AdapterRecord
from afina.backbone.attachment import Attachment
from afina.backbone.language_head import LanguageHead, spoken_by
from afina.backbone.load import Backbone, load_backbone
from afina.backbone.model_files import model_path
from afina.data.images import image_tokens
from afina.data.rows import Rows
from afina.data.tokens.tokenize import tokenize
from afina.data.tokens.tokens import Tokens
from afina.errors import UsageError
from afina.generation.rows import Written
from afina.generation.settings import GenerationSettings
from afina.generation.template import Message
from afina.given_texts import check_pairs, given_texts, texts_or_images
from afina.methods.base import Method
from afina.registry import Registry
from afina.tasks.base import Task
from afina.tasks.predictions import Prediction
from afina.train.embed import embed
from afina.train.evaluate import predict_logits

__all__ = ["PREDICTORS", "Images", "Predictor", "Texts", "predictor", "rows_of"]

Images = np.ndarray
"""(N, H, W) or (N, H, W, C), uint8."""
Texts = Sequence[str] | Sequence[Sequence[str]] | Images
"""Texts to answer, texts as lists of words, or images."""


@dataclass(eq=False, repr=False)
class Predictor:
    """Answers with an adapter on its backbone; holds what was read of both."""

    name: ClassVar[str] = ""
    trained_to: ClassVar[str] = "label texts"
    """A phrase on what its adapters have learned, for sentences that refuse something else."""

    folder: Path
    format: type[AdapterFormat]
    record: AdapterRecord
    """The record in the folder, with the model and the precision that were loaded."""
    method: Method
    backbone: Backbone
    adapter: Adapter
    task: Task
    tokenizer: Any
    """The folder's own where it has one, else the base model's."""
    notes: tuple[str, ...] = ()
    """Sentences on what was assumed when it was loaded, which a reader of its answers has to know."""

    def __repr__(self) -> str:
        names = self.record.task.get("label_names")
        labels = f", labels {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else ""
        model = Path(self.record.model).name
        # The folder's name alone, as a path of the hub's cache is long.
        return f"{type(self).__name__}('{self.folder}': {self.record.method} on {model}, {self.task.name}{labels})"

    # -- the verbs

    def predict(
        self,
        texts: Texts,
        text_pairs: Sequence[str] | None = None,
        *,
        choices: Sequence[Sequence[str]] | None = None,
        batch_size: int = 32,
    ) -> Sequence[Prediction]:
        """Return one prediction a text (or pair), or an image of (N, H, W) or (N, H, W, C) uint8.

        Where words are tagged it is a `Tagged`; a text may then be a list of words. Without a head it is an `Embedded`.

        `choices` are each text's answers, where the task is to choose one. Raises `UsageError` for an empty text, for
        texts where the model takes images, where there are choices and should be none or the other way round, and for an
        adapter that was trained to write.
        """
        raise UsageError(
            f"This adapter was trained to {self.trained_to} (task: {self.task.name}); it has no labels to predict."
        )

    def logits(
        self,
        texts: Texts,
        text_pairs: Sequence[str] | None = None,
        *,
        choices: Sequence[Sequence[str]] | None = None,
        batch_size: int = 32,
    ) -> np.ndarray:
        """Return logits (N, K), of all words where they are tagged, or answers' scores (N, K, 4) of choices.

        Where it is to write: of each row (N, 3) its tokens' summed loss, their number, and those that were likeliest.
        """
        raise UsageError(f"{self.folder} was trained to {self.trained_to}; it has no logits.")

    def embed(
        self,
        texts: Sequence[str] | Images,
        text_pairs: Sequence[str] | None = None,
        *,
        pooling: str = "mean",
        batch_size: int = 32,
    ) -> np.ndarray:
        """Return one vector (N, D) a text from the adapted model: the mean of its tokens' last states.

        With `pooling="cls"` it is that of the first token, or in a decoder of the last.
        """
        texts = self.given(texts)
        if not len(texts):
            return np.zeros((0, self.backbone.anatomy.width), np.float32)
        if isinstance(texts, np.ndarray):
            tokens = self.images(texts)
        else:  # whatever the task makes of texts, here one is one text
            tokens = self._checked(tokenize(self.tokenizer, rows_of(texts, text_pairs), self.longest))
        return embed(self.backbone, tokens, pooling, batch_size=batch_size, adapter=self.adapter)

    def generate(
        self,
        prompts: Sequence[str | Sequence[Message]],
        settings: GenerationSettings | None = None,
        *,
        adapters: "Sequence[Predictor | None] | None" = None,
        batch_size: int = 16,
        special: bool = False,
        **changes: Any,
    ) -> list[Written]:
        """Write what follows each prompt, a text or a conversation's messages; `changes` are settings by name.

        `adapters` gives each prompt's own (None: the bare model), all loaded `beside` one another; this one's unless given.
        A result is the same alone and in any batch. With `special` the names of control tokens in a text (`</s>`) are those
        tokens; else, and in what messages say, they are text. Raises `UsageError` for an adapter that does not write, a
        prompt that is empty or too long, and settings that cannot be.
        """
        raise self.writes_not()

    def stream(
        self,
        prompt: str | Sequence[Message],
        settings: GenerationSettings | None = None,
        *,
        special: bool = False,
        **changes: Any,
    ) -> Iterator[str]:
        """Yield the text that follows a prompt, as `generate` writes it, in pieces of whole characters as they come.

        The model is busy until the stream is read to its end or closed.
        """
        raise self.writes_not()

    # -- what the kinds share

    def writes_not(self) -> UsageError:
        """Return the sentence for whoever asks it to write."""
        return UsageError(f"{self.folder} was trained to {self.trained_to}, not to write; use predict.")

    @property
    def longest(self) -> int:
        """Return the most tokens of a text that are read; what is longer is cut, as in training."""
        # What was trained at one length may stand on a model of shorter context.
        return min(self.record.max_length, self.backbone.context)

    @property
    def own_language(self) -> LanguageHead | None:
        """Return the language head that the adapter brought, None where it speaks with the model's or not at all."""
        language = self.backbone.language
        head = None if language is None else spoken_by(self.adapter.head, language)
        return None if head is language else head

    def bare(self, *, trust_remote_code: bool = False) -> Backbone:
        """Return the backbone as it is without the adapter: loaded again where the method changed it in place."""
        if not self.method.owns_backbone:
            return self.backbone
        return load_backbone(
            # The weights were changed in place, so that only the files have the model as it was.
            self.record.model, precision=self.record.precision, device=str(self.backbone.device),
            trust_remote_code=trust_remote_code, speaks=self.task.speaks,
        )  # fmt: skip

    def tokens_fit(self, words: int) -> bool:
        """Return whether each token of the tokenizer is one of so many words."""
        # Places may have gaps, so that the largest counts.
        return max(self.tokenizer.get_vocab().values(), default=0) < words

    def tokens(self, rows: Rows) -> Tokens:
        """Tokenise rows as the task reads them; raises `UsageError` for a token that the model has no vector for."""
        return self.tokenized(self.task, rows)

    def tokenized(self, task: Task, rows: Rows) -> Tokens:
        """Tokenise rows as a task reads them."""
        # An encoder-decoder reads a text and writes its answer apart.
        apart = bool(self.backbone.anatomy.row.further)
        with self.backbone.turns.reading():
            return self._checked(task.tokenize(self.tokenizer, rows, self.longest, apart=apart))

    def images(self, images: Images) -> Tokens:
        """Return images as the model takes them."""
        rows = Rows([""] * len(images), None, np.zeros(len(images), dtype=np.int64), images)
        return image_tokens(rows, self.backbone.config, model_path(self.record.model))

    def _checked(self, tokens: Tokens) -> Tokens:
        # The largest is enough: if that has a vector, all have.
        self.backbone.check_tokens([tokens.ids.max(initial=0)], "in a text", self.tokenizer, self.adapter.words)
        return tokens

    def outputs(self, tokens: Tokens, batch_size: int) -> np.ndarray:
        """Return what the adapter's head says of tokenised rows."""
        with Attachment(self.backbone, [self.adapter]) as attached:
            (outputs,) = predict_logits(attached, tokens, batch_size=batch_size)
        return outputs

    def given(self, texts: Texts, *, lists: bool = False) -> list[Any] | Images:
        """Return texts as a list, with `lists` also lists of words, or images as they are.

        Raises `UsageError` for what is neither, and for texts where the model takes something else.
        """
        taken = texts_or_images(texts, lists=lists)
        wants = self.backbone.anatomy.row.inputs
        # Sound is read by no predictor yet, only by training.
        if isinstance(taken, np.ndarray) != (wants != "text") or wants == "sound":
            raise UsageError(f"{self.record.model} takes {wants}; give texts as a list, images as an array of uint8.")
        return taken

    def rows(
        self, texts: Sequence[Any], text_pairs: Sequence[str] | None, groups: Sequence[str | None] | None = None,
        choices: list[list[str]] | None = None,
    ) -> Rows:  # fmt: skip
        """Make rows of texts, or of pairs where the adapter learned from pairs; raises `UsageError` for the others."""
        # Whoever embeds learned from questions with their passages, and gives a vector for each by itself.
        learned = None if self.task.embeds else self.record.learned_pairs
        check_pairs(learned, text_pairs is not None, str(self.folder))
        return rows_of(texts, text_pairs, choices, groups)


def rows_of(
    texts: Sequence[Any], text_pairs: Sequence[str] | None = None, choices: list[list[str]] | None = None,
    groups: Sequence[str | None] | None = None,
) -> Rows:  # fmt: skip
    """Make rows of texts; raises `UsageError` for an empty one, and for what is beside them and not as many."""
    pairs = None if text_pairs is None else given_texts(text_pairs, "second text")
    for name, beside in (("text_pairs", pairs), ("groups", groups)):
        if beside is not None and len(beside) != len(texts):
            least = ", None where it is not known" if name == "groups" else ""
            raise UsageError(f"{len(beside)} {name} for {len(texts)} texts; give one for each{least}.")
    if empty := [index for index, text in enumerate(texts) if not str(text).strip()]:
        raise UsageError(f"Text {empty[0] + 1} of {len(texts)} is empty.")
    known = None if groups is None else list(groups)
    return Rows(list(map(str, texts)), pairs, np.zeros(len(texts), dtype=np.int64), choices=choices, group=known)


PREDICTORS: Registry[type[Predictor]] = Registry("kind of predictor", "afina.predictor", "predictor")
"""All kinds by the name that a task has for one."""

predictor = PREDICTORS.register
