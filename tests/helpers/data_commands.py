"""The commands of afina data, and the rows that they write."""

import json
from pathlib import Path
from typing import Any

from pyarrow import parquet
from typer.testing import CliRunner

from afina.cli.main import app


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(*arguments: object) -> str:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["data", *map(str, arguments)])
    assert result.exit_code == 0, result.exception
    return result.output
