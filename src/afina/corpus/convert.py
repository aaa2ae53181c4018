"""Converting any known form of dialogues or texts to one: parquet or JSON lines with `messages` or `text`."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from afina.corpus.clean import rejects_path
from afina.corpus.interaction_file import InteractionFile, as_values, check_output
from afina.corpus.lines import SourceFile
from afina.corpus.reading import Reading, read_interactions, settled
from afina.errors import UsageError
from afina.whole_file import whole_file

__all__ = ["ConvertReport", "convert"]


@dataclass(frozen=True)
class ConvertReport:
    """Counts what became of a file's rows."""

    source: Path
    out: Path
    rejects: Path | None
    """Rows that could not be read, each with its `reason`; None where there are none."""
    written: int
    rejected: int
    generated: int
    forms: dict[str, int]
    seen: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        return {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}


def convert(
    path: str | Path,
    out: str | Path,
    *,
    how: Reading | None = None,
    force: bool = False,
    tick: Callable[[int], None] | None = None,
) -> ConvertReport:
    """Write a file's rows to `out` as they are, in the one form; a row of several dialogues becomes several rows.

    `how` says how it is read. Raises `UsageError` where no row can be read.
    """
    path, out = Path(path), Path(out)
    # Rejects and result are settled together, before anything is read.
    check_output(out, rejects_path(out), path, force=force)
    source = SourceFile(path)
    forms: Counter[str] = Counter()
    generated, problem = 0, ""
    # Dialogues or texts is decided once for the whole file, as the result has one form.
    how = settled(source, how)
    texts = bool(how.plain)
    with whole_file(out) as partial, whole_file(rejects_path(out)) as rejected:
        with (
            InteractionFile(partial, out.suffix, plain=texts) as result,
            InteractionFile(rejected, out.suffix, plain=texts, rejects=True) as rejects,
        ):
            read = 0
            for read, row in enumerate(read_interactions(source, how), start=1):
                forms[row.form] += 1
                if row.problem:
                    problem = problem or row.problem
                    rejects.write(as_values(row, path.name, row.problem))
                else:
                    for messages in [row.messages, *row.others]:
                        result.write(as_values(replace(row, messages=messages), path.name))
                        generated += row.generated
                if tick is not None and read % 200 == 0:
                    tick(read)
        if not result.rows:
            raise UsageError(f"{path}: none of its {read:,} rows can be read ({problem or 'it holds none'}).")
    # Without rejects there is no file of them.
    if not rejects.rows:
        rejects_path(out).unlink()
    beside = rejects_path(out) if rejects.rows else None
    return ConvertReport(path, out, beside, result.rows, rejects.rows, generated, dict(forms), dict(source.seen))
