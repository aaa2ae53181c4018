"""Answer with an exported folder in its runtime, as the adapter that it came from does: the same verbs, the same answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from afina.backbone.load import read_config, tokenizer_at
from afina.data.images import image_tokens
from afina.data.labels.tags import untagged, words_of
from afina.data.rows import Rows
from afina.data.tokens.batching import collate, evaluation_batches
from afina.data.tokens.tokens import IGNORED, Tokens
from afina.errors import AfinaError, UsageError
from afina.export.chosen import OneOfSeveral, manifest_of
from afina.export.manifest import MANIFEST, PROBE, Manifest, export_at, read_manifest
from afina.export.runtime import RUNTIMES, Session, runner_of, runtime_of
from afina.export.speech import RuntimeWrites, answer_scores
from afina.export.writing.names import READS
from afina.given_texts import check_pairs, given_choices, texts_or_images
from afina.predictor.predictor import rows_of
from afina.tasks.base import Task, restore
from afina.tasks.predictions import Prediction, TextAnswers

__all__ = ["OpenedExport", "WritingExport", "arrays", "open_export"]

_BATCH = ("input_ids", "attention_mask", "token_type_ids", "pixel_values")


@dataclass(eq=False)
class OpenedExport:
    """An exported folder that answers; `session` is where it runs."""

    folder: Path
    manifest: Manifest
    session: Session
    task: Task
    """The task it was trained for; outputs are in that task's unit."""
    tokenizer: Any
    config: Any
    """The base model's configuration, None where the folder has none."""
    notes: tuple[str, ...] = ()
    probe: str = PROBE
    """The file of questions and answers of the adapter from the time of writing."""

    def __repr__(self) -> str:
        manifest = self.manifest
        return f"OpenedExport('{self.folder}': {manifest.target} of {manifest.source.get('method')}, {self.task.name})"

    @property
    def runs_in(self) -> str:
        """Return the runtime with its version."""
        return f"{self.manifest.runtime} {RUNTIMES[self.manifest.runtime].version()}"

    def predict(
        self,
        texts: Sequence[str] | Sequence[Sequence[str]] | np.ndarray,
        text_pairs: Sequence[str] | None = None,
        *,
        choices: Sequence[Sequence[str]] | None = None,
        batch_size: int = 32,
    ) -> Sequence[Prediction]:
        """Return one prediction a text (or pair), or an image of uint8; raises `UsageError` as an adapter's `predict`."""
        texts = self.given(texts)
        tokens = self.read(texts, text_pairs, choices)
        if tokens is None:
            return []
        made = self.task.predictions(list(texts), tokens, self.logits(tokens, batch_size=batch_size), choices)
        return TextAnswers(made, tokens)

    @property
    def longest(self) -> int:
        """Return how many tokens of a text are read."""
        return self.manifest.max_length

    def writes_not(self) -> UsageError:
        """Return the sentence for whoever asks it to write."""
        return UsageError(f"{self.folder} was trained for {self.task.name}, not to write; use predict.")

    def read(
        self,
        texts: Sequence[str] | Sequence[Sequence[str]] | np.ndarray,
        text_pairs: Sequence[str] | None = None,
        choices: Sequence[Sequence[str]] | None = None,
    ) -> Tokens | None:
        """Return what was given as the graph takes it, None for nothing; raises `UsageError` for what it does not take."""
        if choices is not None:
            raise UsageError("This export wants no choices.")
        texts = self.given(texts)
        if isinstance(texts, np.ndarray) != ("pixel_values" in self.manifest.inputs):
            wants = "images, as an array of uint8" if "pixel_values" in self.manifest.inputs else "texts, as a list"
            raise UsageError(f"{self.folder} takes {wants}.")
        if isinstance(texts, np.ndarray):
            return self.images(Rows([""] * len(texts), None, np.zeros(len(texts), dtype=np.int64), texts))
        if not texts:
            return None
        if self.task.tags:
            return self.tokens(untagged(words_of(texts)))
        check_pairs(self.manifest.reading.get("pairs"), text_pairs is not None, str(self.folder))
        return self.tokens(rows_of(texts, text_pairs))

    def given(self, texts: Any) -> list[Any] | np.ndarray:
        """Return texts as a list (of words, where they are tagged), or images as they are."""
        return texts_or_images(texts, lists=self.task.tags)

    def tokens(self, rows: Rows) -> Tokens:
        """Tokenise rows of texts as the task reads them, by the folder's own tokenizer."""
        return self.task.tokenize(self.tokenizer, rows, self.manifest.max_length)

    def images(self, rows: Rows) -> Tokens:
        """Return images as the graph takes them."""
        image = self.manifest.reading.get("image", {})
        normalisation = {"image_mean": image.get("mean"), "image_std": image.get("deviation")}
        return image_tokens(rows, self.config, str(self.folder), normalisation)

    def logits(self, tokens: Tokens, *, batch_size: int = 32) -> np.ndarray:
        """Return logits (N, K), of all words where they are tagged, vectors (N, D) of what embeds."""
        parts: list[np.ndarray] = []
        order: list[np.ndarray] = []
        for rows in evaluation_batches(tokens.lengths, batch_size):
            batch = collate([(tokens, rows)], self.pad, most=self.manifest.max_length)
            outputs = self.session.outputs(arrays(batch.inputs, self.asked))
            parts.append(outputs[batch.labels[0].numpy() != IGNORED] if tokens.by_word else outputs)
            order.append(np.repeat(rows, tokens.trained[rows]) if tokens.by_word else rows)
        # Batches were made by length; rows, or the words of each, go back into the order in which they were asked.
        back = np.argsort(np.concatenate(order), kind="stable")
        return np.concatenate(parts)[back]

    @property
    def asked(self) -> list[str]:
        """Return what a batch is made of; what a graph takes of the tokens before is its session's."""
        inputs = self.manifest.reading.get(READS, self.manifest.inputs)
        return [name for name in inputs if name in _BATCH]

    @property
    def pad(self) -> int:
        """Return the token that fills a batch."""
        return 0 if self.tokenizer is None else int(self.tokenizer.pad_token_id)


def arrays(inputs: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """Return a batch of tensors as arrays of the names that a graph wants; a full batch gets the mask that it needs not."""
    values = {name: value.numpy() for name, value in inputs.items()}
    # A graph has fixed inputs: what a model would go without is written out as ones or zeros.
    if "attention_mask" in wanted and "attention_mask" not in values:
        values["attention_mask"] = np.ones_like(values["input_ids"])
    if "token_type_ids" in wanted and "token_type_ids" not in values:
        values["token_type_ids"] = np.zeros_like(values["input_ids"])
    return {name: values[name] for name in wanted}


@dataclass(eq=False, repr=False)
class WritingExport(RuntimeWrites, OpenedExport):
    """An exported folder that writes; one that was trained to choose says which answer is the likeliest, too."""

    merge_system: bool = False

    def read(
        self,
        texts: Sequence[str] | Sequence[Sequence[str]] | np.ndarray,
        text_pairs: Sequence[str] | None = None,
        choices: Sequence[Sequence[str]] | None = None,
    ) -> Tokens | None:
        if self.task.writes:
            raise UsageError(
                f"{self.folder} writes (task: {self.task.name}); it has no labels to predict: ask it by `afina generate` or "
                "`afina chat`."
            )
        if (choices is not None) != self.task.wants_choices:
            wanted = "each text's answers; give them as choices" if self.task.wants_choices else "no choices"
            raise UsageError(f"This export wants {wanted}.")
        texts = self.given(texts)
        if isinstance(texts, np.ndarray):
            raise UsageError(f"{self.folder} takes a list of texts.")
        if not texts:
            return None
        check_pairs(self.manifest.reading.get("pairs"), text_pairs is not None, str(self.folder))
        return self.tokens(rows_of(texts, text_pairs, None if choices is None else given_choices(choices, len(texts))))

    def tokens(self, rows: Rows) -> Tokens:
        task = self.task if rows.choices is None else self.task.choosing(rows.choices)
        return task.tokenize(self.tokenizer, rows, self.manifest.max_length)

    def logits(self, tokens: Tokens, *, batch_size: int = 32) -> np.ndarray:
        return answer_scores(self.session, tokens, self.pad)


def open_export(place: str | Path, *, base: str | Path | None = None, adapter: str | None = None) -> OpenedExport:
    """Open an exported folder in its runtime, a file in it, or a file that a runtime takes as it is.

    An adapter alone runs on its `base`, a file of that runtime, where that is not in the folder. Of a folder that holds
    several adapters `adapter` names the one that answers. Raises `AfinaError` in one
    sentence for what is damaged or incomplete, and for a runtime that is not here or is of another major version.
    """
    place = Path(place)
    folder = export_at(place)
    if folder is not None:
        return _opened(folder, _on(read_manifest(folder), folder, base), adapter)
    if not place.is_file():
        read_manifest(place)  # which says what is wrong
    runner = runner_of(place)
    if runner is None:
        raise AfinaError(f"{place} is no export: there is no {MANIFEST} beside it.")
    runner.version()
    return replace(_opened(place.parent, runner.alone(place)), folder=place)


def _on(manifest: Manifest, folder: Path, base: str | Path | None) -> Manifest:
    """Return the manifest of an adapter alone with its base; raises `UsageError` for the base of what holds its own."""
    if base is None:
        return manifest
    if "adapter" not in manifest.reading:
        raise UsageError(f"{folder} is an export, which holds its model as it is: it takes no --model.")
    if not Path(base).is_file():
        raise UsageError(f"{base} does not exist; give the base model's file.")
    return replace(manifest, reading=manifest.reading | {"base": str(Path(base).resolve())})


def _opened(folder: Path, manifest: Manifest, adapter: str | None = None) -> OpenedExport:
    manifest, number = manifest_of(manifest, folder, adapter)
    session, task = runtime_of(folder, manifest).open(folder, manifest), restore(manifest.task)
    tokenizer, has_config = session.tokenizer, (folder / "config.json").is_file()
    if tokenizer is None and any(folder.glob("tokenizer*")):
        tokenizer = tokenizer_at(str(folder), str(folder), False)
    kind = WritingExport if task.speaks else OpenedExport
    config = read_config(str(folder)) if has_config else None
    opened = kind(folder, manifest, session, task, tokenizer, config, session.notes)
    if number is None:
        return opened
    entry = manifest.adapters[str(adapter)]
    return replace(opened, session=OneOfSeveral(session, number, entry["outputs"]), probe=entry["probe"])
