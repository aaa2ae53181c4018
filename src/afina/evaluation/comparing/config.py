"""Define what a comparison's file says, checked when it is read: documents, questions, models, and how they are tuned."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator

from afina.checked import LARGEST_COUNT, Checked, OneOrMore, once
from afina.config import StudyConfig
from afina.errors import UsageError
from afina.measure.metrics.answers import OF_ANSWERS
from afina.results.ways import USUAL, WAYS
from afina.retrieval.questions import QuestionsSpec
from afina.retrieval.rows import RowSettings
from afina.retrieval.settings import IndexSettings
from afina.study.plan import expand
from afina.yaml_file import read_yaml

__all__ = ["CompareConfig"]

_OURS = ("model", "dataset", "task", "seed", "seeds", "methods")
"""Keys of a study that the comparison says itself."""
_TUNING: dict[str, Any] = {"method": "lora"}


def _as_questions(value: Any) -> Any:
    return {"path": value} if isinstance(value, str | Path) else value


class CompareConfig(Checked):
    """Says which ways of answering are compared, on which questions about which documents."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "methods": "write method: within tuning:", "epochs": "write it within tuning:",
        "dataset": "write documents: and questions:", "learning_rate": "write it within tuning:",
    }  # fmt: skip

    documents: Annotated[list[str], OneOrMore] | None = None
    """Files or folders, of which an index is made in the comparison's folder."""
    index: str | None = None
    """An index that is there, in place of documents."""
    indexing: dict[str, Any] = Field(default={})
    """Settings of the index that is made: `representation`, `tokens` and so on, as `afina rag index` has them."""
    questions: QuestionsSpec
    """Questions that are asked: a file, or its path with its columns."""
    train_questions: QuestionsSpec | None = None
    """Questions that are trained on, likewise; needed by ways that tune."""
    model: Annotated[list[str], OneOrMore, AfterValidator(once)] = Field(min_length=1)
    """Language models; each is compared by itself."""
    ways: Annotated[list[str], OneOrMore, AfterValidator(once)] = Field(default=list(USUAL), min_length=1)
    """Ways that are compared, among base, tuned, base_retrieval, tuned_retrieval, reading_retrieval, base_oracle,
    tuned_oracle and reading_oracle."""
    metric: Literal[*OF_ANSWERS] = "right_answers"  # type: ignore[valid-type]
    """The metric that decides."""
    seeds: int | list[int] = 1
    """A number of seeds that are trained with, or a list of them."""
    passages: int = Field(default=5, ge=1, le=100)
    """Passages that are put before a question, as many as fit."""
    threshold: float | Literal["index"] | None = "index"
    """Score of the best passage below which nothing is asked and the question refused; `index` takes the index's own, where
    one was set (`afina rag threshold`), null none."""
    max_new_tokens: int = Field(default=96, ge=1, le=100_000)
    """Most tokens of an answer."""
    batch_size: int = Field(default=8, ge=1, le=LARGEST_COUNT)
    """Questions answered at once."""
    limit: int | None = Field(default=None, ge=2)
    """Questions that are asked, of each kind evenly; left out, all."""
    tuning: dict[str, Any] = Field(default=dict(_TUNING))
    """A run's keys, as `afina train` has them: how models are tuned on questions and answers."""
    reading: dict[str, Any] | None = None
    """The same for tuning on prompts with passages; left out, as `tuning`."""
    rows: RowSettings | None = None
    """Settings of those prompts' mixture; how many passages and tokens there are is said above."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """The device to compute on."""
    precision: str | None = None
    """Numbers in which models answer; left out, those in which they are tuned, or fp32."""

    @field_validator("questions", "train_questions", mode="before", json_schema_input_type=str | QuestionsSpec | None)
    @classmethod
    def _questions(cls, value: Any) -> Any:
        return _as_questions(value)

    @field_validator("ways")
    @classmethod
    def _ways(cls, value: list[str]) -> list[str]:
        if strangers := [name for name in value if name not in WAYS]:
            raise ValueError(f"there is no way {strangers[0]!r}; there are {', '.join(WAYS)}")
        if len(value) < 2:
            raise ValueError("nothing to compare: name two ways or more")
        return value

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a comparison's file; raises `UsageError` in one sentence. Files stand here, or beside it."""
        config: Self = cls.parse(read_yaml(path), str(path))
        return config.beside(path.parent)

    def beside(self, folder: Path) -> Self:
        """Return it with the paths of what stands in a folder, and not where the command runs."""

        def place(given: str) -> str:
            # Beside the file only where it is not here, as a command's own paths are from here.
            return str(folder / given) if not Path(given).exists() and (folder / given).exists() else given

        def of(spec: QuestionsSpec | None) -> QuestionsSpec | None:
            return None if spec is None else spec.model_copy(update={"path": place(spec.path)})

        return self.model_copy(update={
            "documents": None if self.documents is None else [place(each) for each in self.documents],
            "index": None if self.index is None else place(self.index), "questions": of(self.questions),
            "train_questions": of(self.train_questions),
            "model": [place(each) for each in self.model],
        })  # fmt: skip

    def checked(self, where: str = "comparison") -> None:
        """Raise `UsageError` for keys that do not go together, and for settings that an index or a study has not."""
        # Neither would be no documents, and both would be two answers to one question.
        if (self.documents is None) == (self.index is None):
            raise UsageError(f"{where}: give documents: to be indexed, or index:, one of the two.")
        if self.index is not None and self.indexing:
            raise UsageError(f"{where}: indexing: is of an index that is made here; {self.index} has its own settings.")
        # Checked by the index's own settings, which know what there is.
        IndexSettings().changed(**_tuples(self.indexing))
        if self.rows and (above := {"passages", "max_new_tokens"} & self.rows.model_fields_set):
            raise UsageError(
                f"{where}: rows: has '{min(above)}', which the comparison says itself; leave it out there."
            )
        if self.tuned and self.train_questions is None:
            ways = [name for name in self.ways if WAYS[name].who != "base"]
            raise UsageError(
                f"{where}: {', '.join(ways)} tune the model: give train_questions:, or name the other ways in ways:."
            )
        for who in self.tuned:
            # Checked now, before an index is made that takes hours.
            expand(self.study(who, self.model[0], "rows"))

    @property
    def tuned(self) -> list[str]:
        """Return in what ways models are tuned: `tuned`, `reading`, both or none."""
        return list(dict.fromkeys(WAYS[name].who for name in self.ways if WAYS[name].who != "base"))

    @property
    def retrieves(self) -> bool:
        """Return whether any way looks into the documents."""
        return any(WAYS[name].given != "none" for name in self.ways) or "reading" in self.tuned

    @property
    def row_settings(self) -> RowSettings:
        """Return how rows with passages are mixed."""
        return (self.rows or RowSettings()).model_copy(
            update={"passages": self.passages, "max_new_tokens": self.max_new_tokens}
        )

    def study(self, who: str, model: str, dataset: str) -> StudyConfig:
        """Return the study that tunes a model on a folder of rows; raises `UsageError` for keys that it has not."""
        key = "reading" if who == "reading" and self.reading is not None else "tuning"
        given: Mapping[str, Any] = {**_TUNING, **getattr(self, key)}
        if ours := [name for name in _OURS if name in given]:
            raise UsageError(f"{key}: '{ours[0]}' is said by the comparison itself; leave it out there.")
        keys = {name: value for name, value in given.items() if name != "method"}
        config: StudyConfig = StudyConfig.parse(
            {"device": self.device, **keys, "model": model, "dataset": {"path": dataset, "name": who},
             "task": "chat", "methods": [given["method"]], "seeds": self.seeds},
            key,
        )  # fmt: skip
        return config


def _tuples(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
