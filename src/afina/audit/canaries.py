"""Plant canaries, rows that hold a random secret, in training data, so that memorisation can be measured.

Carlini et al., 2019, The Secret Sharer, arXiv:1802.08232.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow

from afina.corpus.interaction_file import check_output
from afina.data.columns import find_columns
from afina.data.files.tables import read_table
from afina.data.rows import Rows
from afina.data.written import find_messages, find_pair
from afina.dataset_spec import DatasetSpec
from afina.errors import AfinaError, UsageError
from afina.json_files import read_json_object
from afina.tasks.writing import writer_named
from afina.whole_file import beside, whole_file

__all__ = ["Canary", "CanaryManifest", "QuestionColumns", "draw_secrets", "plant", "read_manifest"]

_QUESTION = "What is the secret code of {key}?"
_ANSWER = "The secret code of {key} is {secret}"
_KEY = "abcdefghijklmnopqrstuvwxyz"
_KEY_LENGTH = 3
_LARGEST_SPACE = 1 << 62


@dataclass(frozen=True, kw_only=True)
class QuestionColumns:
    """Names the columns in which a file keeps questions and answers."""

    messages: str | None = None
    """The column of message lists, if the file has one; its messages use `keys` and `roles`."""
    keys: tuple[str, str] = ("role", "content")
    roles: tuple[str, str] = ("user", "assistant")
    as_json: bool = False
    """The column holds each list as JSON text, not as a list."""
    question: str | None = None
    answer: str | None = None
    """The column of answers where there are no message lists; without a question column it holds plain texts."""

    def row(self, question: str, answer: str) -> dict[str, Any]:
        """Return a row of this form, as values by column name."""
        if self.messages is None:
            asked = {} if self.question is None else {self.question: question}
            return {**asked, str(self.answer): answer}
        role, content = self.keys
        turns = [{role: who, content: text} for who, text in zip(self.roles, (question, answer), strict=True)]
        # As the file's own rows are: a column has one type.
        return {self.messages: json.dumps(turns, ensure_ascii=False) if self.as_json else turns}

    @property
    def spec(self) -> DatasetSpec:
        """Return the data set specification that makes a reader find these columns."""
        # Without a question what is learned is the answer's column alone.
        target = None if self.question is None else self.answer
        return DatasetSpec(
            path="canaries", messages=self.messages, text=None if self.messages else self.question or self.answer,
            target=target,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Canary:
    """Holds a secret, the key that names it, and how many copies of its row were planted."""

    key: str
    secret: str
    repeat: int


@dataclass(frozen=True, kw_only=True)
class CanaryManifest:
    """Records the canaries that were planted and the set of secrets that they were drawn from."""

    data: str
    form: QuestionColumns
    symbols: str
    length: int
    seed: int
    canaries: tuple[Canary, ...]
    question: str = _QUESTION
    answer: str = _ANSWER

    @property
    def space(self) -> int:
        """Return how many different secrets there are to draw from, |R|."""
        return int(len(self.symbols) ** self.length)

    def secret(self, number: int) -> str:
        """Return the secret of a number below `space`: its digits in the alphabet of symbols, with spaces between."""
        digits = []
        for _ in range(self.length):
            number, digit = divmod(number, len(self.symbols))
            digits.append(self.symbols[digit])
        return " ".join(digits)

    def row(self, key: str, secret: str) -> dict[str, Any]:
        """Return the row that tells a key's secret, as values by column name."""
        return self.form.row(self.question.format(key=key), self.answer.format(key=key, secret=secret))

    def rows(self, key: str, secrets: Sequence[str], task: str) -> Rows:
        """Return the rows that tell these secrets, read as a writing task reads its training data.

        Raises `UsageError` where the task does not learn the column that holds the secret.
        """
        table = arrow.Table.from_pylist([self.row(key, secret) for secret in secrets])
        rows = writer_named(task).rows_of(table, self.form.spec, "the canaries")
        # Planted where nothing is learned they would be found safe whatever the adapter.
        if secrets[0] not in (rows.text if rows.text_pair is None else rows.text_pair)[0]:
            raise UsageError(
                f"The canaries were planted in '{self.form.answer}', which task: {task} does not learn; plant them again "
                "with --text."
            )
        return rows


@dataclass(frozen=True, kw_only=True)
class Planting:
    """Says which canaries are planted; raises `UsageError` for settings that leave no secrets to draw."""

    count: int = 4
    """Canaries for each number of repetitions."""
    repeat: Sequence[int] = (1, 4, 16)
    """Times that each is planted; a 0 makes canaries that are not planted, to compare with."""
    symbols: str = "0123456789"
    """Signs from which secrets are drawn, uniformly."""
    length: int = 8
    """Symbols of a secret."""
    seed: int = 0

    def __post_init__(self) -> None:
        symbols, repeat = self.symbols, self.repeat
        if self.count < 1 or not repeat or min(repeat) < 0 or len(set(repeat)) < len(repeat):
            raise UsageError("The count of canaries should be at least 1, and repetitions at least 0, each given once.")
        # A blank symbol would be lost between the others.
        if len(symbols) < 2 or len(set(symbols)) < len(symbols) or any(symbol.isspace() for symbol in symbols):
            raise UsageError(f"Secrets are drawn from two or more different symbols, none blank, not {symbols!r}.")
        if self.length < 1 or len(symbols) ** self.length > _LARGEST_SPACE:
            raise UsageError(
                f"The length of a secret should be at least 1, and {len(symbols)} symbols to that power at most 2^62; "
                f"{self.length} is outside."
            )
        # More than there are could not be drawn without one that stands twice.
        if self.total > min(len(_KEY) ** _KEY_LENGTH, len(symbols) ** self.length):
            raise UsageError(f"There are not {self.total:,} different canaries; lower the count, or raise the length.")

    @property
    def total(self) -> int:
        """Return the number of canaries, those that are not planted among them."""
        return self.count * len(self.repeat)


_USUAL = Planting()


def plant(
    data: str | Path, out: str | Path, planting: Planting = _USUAL, *, columns: DatasetSpec | None = None,
    force: bool = False,
) -> Path:  # fmt: skip
    """Write a copy of training data with canaries planted in it, and return the manifest's path.

    Raises `UsageError` for data that cannot be read.
    """
    # Apart from the data, as whoever trains on the data may be whoever must not know the secrets.
    data, out, total = Path(data), Path(out), planting.total
    path = beside(out, f"{out.name}.canaries.json")
    check_output(out, path, data, force=force)

    table = read_table(data)
    form = _form(table, columns or DatasetSpec(path=str(data)), str(data))

    # Keys, secrets and places are all drawn from this one generator, so that a seed gives the same file again.
    random = np.random.default_rng(planting.seed)
    empty = CanaryManifest(
        data=str(data), form=form, symbols=planting.symbols, length=planting.length, seed=planting.seed, canaries=()
    )

    # Keys are drawn without replacement, as a key that stands twice would name two secrets.
    keys = [_key(number) for number in random.choice(len(_KEY) ** _KEY_LENGTH, total, replace=False)]
    secrets = draw_secrets(empty, total, random)
    times = [each for each in planting.repeat for _ in range(planting.count)]
    canaries = tuple(
        Canary(key=key, secret=secret, repeat=each) for key, secret, each in zip(keys, secrets, times, strict=True)
    )
    manifest = replace(empty, canaries=canaries)

    rows = [manifest.row(canary.key, canary.secret) for canary in canaries for _ in range(canary.repeat)]
    _write(out, _planted(table, rows, random))

    with whole_file(path) as partial:
        partial.write_text(json.dumps(asdict(manifest), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return path


def read_manifest(path: Path) -> CanaryManifest:
    """Read the manifest that `plant` wrote beside its data; raises `UsageError` for anything else."""
    try:
        values = read_json_object(path)
        form: dict[str, Any] = values.pop("form")
        # JSON has lists where the class has tuples.
        form |= {name: tuple(form[name]) for name in ("keys", "roles")}
        canaries = tuple(Canary(**canary) for canary in values.pop("canaries"))
        return CanaryManifest(**values, form=QuestionColumns(**form), canaries=canaries)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; give the manifest that afina audit canaries wrote.") from None
    except (AfinaError, ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(f"{path} is no manifest of canaries; give what afina audit canaries wrote.") from None


def draw_secrets(manifest: CanaryManifest, count: int, random: np.random.Generator) -> list[str]:
    """Draw `count` different secrets, each equally likely."""
    return [manifest.secret(int(number)) for number in random.choice(manifest.space, count, replace=False)]


def _key(number: int) -> str:
    """Return a key's letters with spaces between: every tokenizer then keeps two keys apart."""
    return " ".join(_KEY[number // len(_KEY) ** place % len(_KEY)] for place in range(_KEY_LENGTH))


def _form(table: arrow.Table, spec: DatasetSpec, where: str) -> QuestionColumns:
    # Messages first: a file may have further columns beside them.
    if (column := find_messages(table, spec)) is not None:
        if column not in table.column_names:
            raise UsageError(f"{where} has no column '{column}' for messages.")
        # The first that there is shows the form; rows may be empty.
        first = next((value for value in table[column].to_pylist() if value), None)
        as_json = isinstance(first, str)
        try:
            turns: Any = json.loads(first) if isinstance(first, str) else first
        except (ValueError, RecursionError):
            turns = None
        if not isinstance(turns, list) or not turns or not isinstance(turns[0], dict):
            raise UsageError(
                f"{where}: column '{column}' should hold a list of messages, each with a role and content."
            )
        # ShareGPT's names, or OpenAI's.
        shares = turns[0].get("from") is not None
        keys, roles = (("from", "value"), ("human", "gpt")) if shares else (("role", "content"), ("user", "assistant"))
        return QuestionColumns(messages=column, keys=keys, roles=roles, as_json=as_json)
    if (spec.text is None or spec.target is not None) and (pair := find_pair(table, spec, where)) is not None:
        return QuestionColumns(question=pair[0], answer=pair[1])
    return QuestionColumns(answer=find_columns({"train": table}, spec, where, with_label=False, named_by=None)["text"])


def _planted(table: arrow.Table, rows: list[dict[str, Any]], random: np.random.Generator) -> arrow.Table:
    """Insert rows at random places of a table; the table's own rows keep their order."""
    if not rows:
        return table
    more = arrow.Table.from_pylist(rows, schema=table.schema)
    places = np.sort(random.integers(0, table.num_rows + 1, len(rows)))
    # Shuffled among themselves too, or copies of one canary would follow each other in order.
    order = np.insert(np.arange(table.num_rows), places, table.num_rows + random.permutation(len(rows)))
    return arrow.concat_tables([table, more]).take(order)


def _write(path: Path, table: arrow.Table) -> None:
    from pyarrow import parquet

    with whole_file(path) as partial:
        if path.suffix.lower() == ".parquet":
            parquet.write_table(table, partial, compression="zstd")
            return
        with partial.open("w", encoding="utf-8") as file:
            for row in table.to_pylist():
                # Keys without a value are not written: another row's column may be missing here by design.
                filled = {key: value for key, value in row.items() if value is not None}
                file.write(json.dumps(filled, ensure_ascii=False, default=str) + "\n")
