"""The examples of the documents work as they stand there."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from afina.serve.http.endpoint import ENDPOINTS
from afina.serve.http.keys import read_keys
from served import save, served

PAGE = (Path(__file__).parents[2] / "docs" / "how_to" / "serve.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_what_curl_asks_in_the_documents_is_answered(tmp_path: Path) -> None:
    save(Path("minilm"), tmp_path / "tickets", "lora", {"name": "classification", "label_names": ["late", "broken"]})
    lines = [line for block in blocks("sh") for line in re.split(r"\n(?=curl)", block.strip())]
    # The first says which server is meant, and here it is another.
    url, *commands = lines
    assert url.startswith("URL=http") and len(commands) == 6
    with served("minilm", adapters=tmp_path) as (server, _):
        for command in commands:
            found = subprocess.run(
                ["bash", "-c", command],
                env={"URL": server.url, "PATH": "/usr/bin:/bin"},
                capture_output=True,
                check=True,
            )
            answer = json.loads(found.stdout)
            assert "error" not in answer, answer


def test_the_keys_of_the_documents_are_read(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(next(block for block in blocks("yaml") if "sha256" in block))
    keys = read_keys(file, None, None)
    assert keys.who("Bearer foo").name == "bia" and keys.who("Bearer a-long-random-text").name == "ana"
    assert all(yaml.safe_load(block) for block in blocks("yaml"))


def test_every_path_is_in_the_documents() -> None:
    said = PAGE.replace("NAME", "{model}").replace("FILE", "{file}")
    missing = [path for path in ENDPOINTS if path.replace(":path", "") not in said]
    assert not missing
