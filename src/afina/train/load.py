"""A trained adapter with its backbone, ready to predict: what `afina.load` returns."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from afina.adapters.adapter import read_tensors
from afina.adapters.format import Base, format_of
from afina.backbone.attachment import Attachment
from afina.backbone.branch import Branch
from afina.backbone.files import model_path
from afina.backbone.load import Backbone, load_backbone
from afina.backbone.own_tokenizer import own_tokenizer
from afina.backbone.quantise import packed
from afina.backbone.storage.base import STORAGES
from afina.data.batching import Tokens
from afina.data.images import image_tokens
from afina.data.rows import Rows
from afina.data.tags import untagged, words_of
from afina.errors import UsageError
from afina.generation.generate import Request, Written, encode_prompt, write
from afina.generation.settings import GenerationSettings
from afina.generation.template import Message, Template, check_messages, template_of
from afina.methods.classical import Classical
from afina.tasks.base import restore
from afina.tasks.predictions import Prediction
from afina.train.embed import embed
from afina.train.evaluate import predict_logits

__all__ = ["LoadedAdapter", "Prediction", "load"]


class LoadedAdapter:
    """An adapter on its backbone: `predict` answers with labels, `generate` and `stream` with text where the model speaks."""

    merge_system = False
    """Whether what the system says is put before the user's first words, for a template that takes no system turn."""

    def __init__(
        self,
        folder: str | Path,
        *,
        model: str | None = None,
        precision: str | None = None,
        device: str = "cpu",
        trust_remote_code: bool = False,
        rounded_to: str | None = None,
        beside: "LoadedAdapter | None" = None,
    ) -> None:
        """Load from a folder; `model` and `precision` are the record's own unless given.

        With `rounded_to` a plain base has the weights that this quantised precision makes of its own. With `beside` the
        backbone is that of another adapter. Raises `UsageError` if they do not share one.
        """
        self.folder = Path(folder)
        self.format = format_of(self.folder)
        self.record = self.format.record(self.folder)
        self.record = replace(
            self.record, model=model or self.record.model, precision=precision or self.record.precision
        )
        self.method = self.format.method(self.record)
        if model is None:
            self.format.check_base(self.folder, self.record)
        if self.method.owns_backbone:
            self.method.precision_on(self.record.precision)  # refuses what has no weights to train
        precision = "fp32" if self.method.owns_backbone else self.record.precision
        wanted = self.format.base(self.record)
        if beside is None:
            if self.record.model.startswith((".", "/")) and not Path(self.record.model).exists():
                raise UsageError(
                    f"{self.folder} adapts the model in {self.record.model}, which is not there; say where it is now with "
                    "--model, or model= in Python."
                )
            self.backbone = load_backbone(
                self.record.model, precision=precision, device=device, trust_remote_code=trust_remote_code,
                speaks=wanted.speaks, tags=wanted.tags, rounded_to=rounded_to,
            )  # fmt: skip
        else:
            self.backbone = self._shared(beside, precision, wanted)
        if self.method.owns_backbone:
            self.backbone.autocast = STORAGES[self.record.precision].autocast()
        if self.method.gradient_free:
            self.classical = Classical.from_tensors(
                read_tensors(self.folder / "adapter_model.safetensors", integers=True)
            )
        else:
            self.adapter, state = self.format.read(self.folder, self.backbone, self.record)
            self.record = replace(self.record, task=state)
            self.method = self.adapter.method
        self.task = restore(self.record.task)
        self.tokenizer = own_tokenizer(self.folder, self.backbone.tokenizer)
        """The folder's own where it has one, else the base model's."""
        self._check_vocabulary()

    def _check_vocabulary(self) -> None:
        """Refuse a tokenizer of the folder's own that has tokens which neither the base nor the adapter has vectors for."""
        if self.tokenizer is self.backbone.tokenizer or self.tokenizer is None:
            return
        words = self.backbone.config.vocab_size
        if not self.method.gradient_free:
            own = [branch.words for _, branch in self.adapter.placed() if isinstance(branch, Branch)]
            words = max([words, *own])
        if not self.tokens_fit(words):
            highest = max(self.tokenizer.get_vocab().values())
            raise UsageError(
                f"The tokenizer in {self.folder} has {highest + 1} tokens, and {self.backbone.name} with this adapter has "
                f"vectors for {words}; give by --model the base whose embeddings were made larger, or take the tokenizer out."
            )

    def tokens_fit(self, words: int) -> bool:
        """Whether each token of the tokenizer is one of so many words."""
        return max(self.tokenizer.get_vocab().values(), default=0) < words

    def _shared(self, beside: "LoadedAdapter", precision: str, wanted: Base) -> Backbone:
        backbone, record = beside.backbone, self.record
        if self.method.owns_backbone or beside.method.owns_backbone:
            raise UsageError(
                f"{self.folder} and {beside.folder} cannot share a model: {record.method} changes all of it."
            )
        if model_path(record.model) != model_path(backbone.name):
            raise UsageError(f"{self.folder} adapts {record.model}, not {backbone.name}, which is loaded.")
        kept = {precision, beside.record.precision}
        if len(kept) > 1 and any(packed(own) is not None for own in kept):
            raise UsageError(
                f"{self.folder} was trained on a model in {precision}, not in {beside.record.precision}, which is loaded."
            )
        unlike = {
            "writes": wanted.speaks != (backbone.language is not None),
            "tags words": wanted.tags != backbone.tags,
        }
        for what in (what for what, differs in unlike.items() if differs):
            raise UsageError(
                f"{self.folder} and {beside.folder} cannot share a model: one of them {what}, one does not."
            )
        return backbone

    def __repr__(self) -> str:
        names = self.record.task.get("label_names")
        labels = f", labels {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else ""
        model = Path(self.record.model).name
        return f"LoadedAdapter('{self.folder}': {self.record.method} on {model}, {self.task.name}{labels})"

    def bare(self, *, trust_remote_code: bool = False) -> Backbone:
        """Return the backbone as it is without the adapter: loaded again where the method changed it in place."""
        if not self.method.owns_backbone:
            return self.backbone
        return load_backbone(
            self.record.model, precision=self.record.precision, device=str(self.backbone.device),
            trust_remote_code=trust_remote_code, speaks=self.task.speaks,
        )  # fmt: skip

    @property
    def template(self) -> Template:
        """How a conversation becomes a prompt: as trained, or as the tokenizer says, or plainly."""
        return template_of(self.task, self.tokenizer, merge_system=self.merge_system)

    def generate(
        self,
        prompts: Sequence[str | Sequence[Message]],
        settings: GenerationSettings | None = None,
        *,
        adapters: "Sequence[LoadedAdapter | None] | None" = None,
        batch_size: int = 16,
        **changes: Any,
    ) -> list[Written]:
        """Write what follows each prompt, a text or a conversation's messages; `changes` are settings by name.

        `adapters` gives each prompt's own (None: the bare model), all loaded `beside` one another; this one's unless given.
        A result is the same alone and in any batch. Raises `UsageError` for an adapter that does not write, a prompt that
        is empty or too long, and settings that cannot be.
        """
        settings = (settings or GenerationSettings()).changed(**changes)
        if isinstance(prompts, str):
            raise UsageError("generate takes a list of prompts, not one text.")
        each = [self] * len(prompts) if adapters is None else list(adapters)
        if len(each) != len(prompts):
            raise UsageError(f"There are {len(each)} adapters for {len(prompts)} prompts; give one for each.")
        requests = [
            self.request(prompt, own, number) for number, (prompt, own) in enumerate(zip(prompts, each, strict=True))
        ]
        written: dict[int, Written] = {}
        requests.sort(key=lambda request: len(request.prompt))  # rows of like length together
        for start in range(0, len(requests), batch_size):
            for piece in write(self.backbone, requests[start : start + batch_size], settings):
                if piece.written is not None:
                    written[piece.number] = piece.written
        return [written[number] for number in range(len(prompts))]

    def stream(
        self, prompt: str | Sequence[Message], settings: GenerationSettings | None = None, **changes: Any
    ) -> Iterator[str]:
        """Yield the text that follows a prompt, as `generate` writes it, in pieces of whole characters as they come.

        The model is busy until the stream is read to its end or closed.
        """
        settings = (settings or GenerationSettings()).changed(**changes)
        request = self.request(prompt, self)  # now, not with the first piece: what is wrong with it is said here
        return (piece.text for piece in write(self.backbone, [request], settings))

    def request(self, prompt: str | Sequence[Message], adapter: "LoadedAdapter | None", number: int = 0) -> Request:
        """Return what `write` takes for a prompt and one of the adapters on this one's backbone, or none.

        Raises `UsageError` for adapters that do not write or stand on another backbone.
        """
        speaker = adapter or self
        if speaker.backbone.language is None:
            raise UsageError(f"{speaker.folder} was trained to label texts, not to write; use predict.")
        if speaker.backbone is not self.backbone:
            raise UsageError(f"{speaker.folder} has a model of its own; load it beside the other adapter.")
        if adapter is None and self.method.owns_backbone:
            raise UsageError(f"{self.folder} changed the whole model; the one that it began with is not there.")
        template: Template | None = getattr(speaker.task, "template", None)
        if not isinstance(prompt, str):
            turns, template = check_messages(prompt), speaker.template
            prompt = template.prompt(turns)
        stop, marks = ((), True) if template is None else (template.stop, template.marks)
        branches = None if adapter is None else adapter.adapter
        # The bare model knows its own tokens alone.
        tokenizer, words = (self.backbone.tokenizer, 0) if adapter is None else (speaker.tokenizer, speaker.words)
        tokens = encode_prompt(self.backbone, prompt, marks=marks, tokenizer=tokenizer, words=words)
        return Request(tokens, branches, stop, number, tokenizer)

    def predict(
        self,
        texts: Sequence[str] | Sequence[Sequence[str]] | np.ndarray,
        text_pairs: Sequence[str] | None = None,
        *,
        choices: Sequence[Sequence[str]] | None = None,
        batch_size: int = 32,
    ) -> Sequence[Prediction]:
        """Return one prediction a text (or pair), or an image of (N, H, W) or (N, H, W, C) uint8.

        Where words are tagged it is a `Tagged`; a text may then be a list of words. Without a head it is an `Embedded`.

        `choices` are each text's answers, where the task is to choose one. Raises `UsageError` for an empty text, for
        texts where the model takes images, and where there are choices and should be none or the other way round.
        """
        if self.task.writes:
            raise UsageError(
                f"This adapter was trained to write (task: {self.task.name}); it has no labels to predict."
            )
        tokens = self._given(texts, text_pairs, choices)
        if tokens is None:
            return []
        found = self._vectors(tokens, "mean", batch_size) if self.task.embeds else self._logits(tokens, batch_size)
        return self.task.predictions(list(texts), tokens, found, choices)

    def embed(
        self,
        texts: Sequence[str],
        text_pairs: Sequence[str] | None = None,
        *,
        pooling: str = "mean",
        batch_size: int = 32,
    ) -> np.ndarray:
        """Return one vector (N, D) a text from the adapted model: the mean of its tokens' last states.

        With `pooling="cls"` it is that of the first token, or in a decoder of the last.
        """
        tokens = self._given(texts, text_pairs, None)
        if tokens is None:
            return np.zeros((0, self.backbone.anatomy.width), np.float32)
        return self._vectors(tokens, pooling, batch_size)

    def _vectors(self, tokens: Tokens, pooling: str, batch_size: int) -> np.ndarray:
        adapter = None if self.method.gradient_free else self.adapter
        return embed(self.backbone, tokens, pooling, batch_size=batch_size, adapter=adapter)

    def logits(
        self,
        texts: Sequence[str] | Sequence[Sequence[str]] | np.ndarray,
        text_pairs: Sequence[str] | None = None,
        *,
        choices: Sequence[Sequence[str]] | None = None,
        batch_size: int = 32,
    ) -> np.ndarray:
        """Return logits (N, K), of all words where they are tagged, or answers' scores (N, K, 4) of choices.

        Where it is to write: of each row (N, 3) its tokens' summed loss, their number, and those that were likeliest.
        """
        if self.task.embeds:
            raise UsageError(f"{self.folder} has no task head: it is an embedding adapter; embed gives its vectors.")
        tokens = self._given(texts, text_pairs, choices)
        return np.zeros((0, self.task.outputs), np.float32) if tokens is None else self._logits(tokens, batch_size)

    def _given(
        self,
        texts: Sequence[str] | Sequence[Sequence[str]] | np.ndarray,
        text_pairs: Sequence[str] | None,
        choices: Sequence[Sequence[str]] | None,
    ) -> Tokens | None:
        """Return what `predict` or `logits` was given as the model takes it, None where it was nothing.

        Raises `UsageError` as `predict` says.
        """
        own_answers = self.task.wants_choices
        if (choices is not None) != own_answers:
            wanted = "each text's answers; give them as choices" if own_answers else "no choices"
            raise UsageError(f"This adapter wants {wanted}.")
        if isinstance(texts, str):
            raise UsageError("predict takes a list of texts, not one text.")
        wants = self.backbone.anatomy.row.inputs
        if isinstance(texts, np.ndarray) != (wants != "text") or wants == "sound":
            raise UsageError(f"{self.record.model} takes {wants}; give texts as a list, images as an array of uint8.")
        if isinstance(texts, np.ndarray):
            images = Rows([""] * len(texts), None, np.zeros(len(texts), dtype=np.int64), texts)
            return image_tokens(images, self.backbone.config, model_path(self.record.model))
        if not texts:
            return None
        if self.task.tags:
            return self.tokens(untagged(words_of(texts)))
        if empty := [index for index, text in enumerate(texts) if not str(text).strip()]:
            raise UsageError(f"Text {empty[0] + 1} of {len(texts)} is empty.")
        pairs = None if text_pairs is None else list(text_pairs)
        given = None if choices is None else [list(own) for own in choices]
        if given is not None and (few := [index for index, own in enumerate(given) if len(own) < 2]):
            raise UsageError(f"Text {few[0] + 1} of {len(texts)} has {len(given[few[0]])} choices; give at least two.")
        return self.tokens(Rows(list(map(str, texts)), pairs, np.zeros(len(texts), dtype=np.int64), choices=given))

    @property
    def words(self) -> int:
        """Words that the adapter has vectors for, where it brought embeddings of its own."""
        placed = [] if self.method.gradient_free else self.adapter.placed()
        return max((getattr(branch, "words", 0) for site, branch in placed if site.kind == "embedding"), default=0)

    def tokens(self, rows: Rows) -> Tokens:
        """Tokenise rows of texts as the task reads them."""
        task, limit = self.task, min(self.record.max_length, self.backbone.context)
        if rows.choices is not None and task.wants_choices:
            task = task.choosing(rows.choices)
            # A head without weights of its own takes any number of answers.
            self.adapter.head.outputs = task.outputs
        tokens = task.tokenize(self.tokenizer, rows, limit, apart=bool(self.backbone.anatomy.row.further))
        self.backbone.check_tokens([tokens.ids.max(initial=0)], "in a text", self.tokenizer, self.words)
        return tokens

    def _logits(self, tokens: Tokens, batch_size: int) -> np.ndarray:
        if self.method.gradient_free:
            vectors = embed(self.backbone, tokens, self.method.settings()["pooling"], batch_size=batch_size)
            return self.classical.logits(vectors)
        with Attachment(self.backbone, [self.adapter]) as attached:
            (logits,) = predict_logits(attached, tokens, batch_size=batch_size)
        return logits


def load(
    folder: str | Path,
    *,
    model: str | None = None,
    precision: str | None = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
    beside: LoadedAdapter | None = None,
) -> LoadedAdapter:
    """Load an adapter that Afina or PEFT saved, with the backbone that it names (or `model`, the same elsewhere).

    The backbone has the precision that the adapter was trained on, or `precision`; PEFT's files name none, and have fp32.
    `beside` another adapter it shares that one's backbone.
    """
    return LoadedAdapter(
        folder, model=model, precision=precision, device=device, trust_remote_code=trust_remote_code, beside=beside
    )
