"""The documents: every link leads somewhere, and what they show is what there is."""

import io
import json
import logging
import re
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from afina import __version__
from afina.config import StudyConfig
from afina.errors import UsageError
from afina.methods.base import make_method
from commands_told import commands
from reference import stale
from repository import addressed
from schemas import schema

ROOT = Path(__file__).parents[2]
NAMES = ("README.md", "LEIAME.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md", "pretraining/README.md")
PAGES = [*(ROOT / name for name in NAMES), *sorted((ROOT / "docs").rglob("*.md"))]


def without_code(text: str) -> str:
    return re.sub(r"^(```.*?^```| {4}[^\n]*)$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{link} of {page.relative_to(ROOT)} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link} of {page.relative_to(ROOT)} has no such heading"


def test_every_room_of_the_code_stands_on_the_page_of_its_architecture() -> None:
    rooms = {path.parent.name for path in (ROOT / "src" / "afina").glob("*/__init__.py")}
    named = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Rooms")[2]
    assert sorted(room for room in rooms if f"`{room}/`" not in named) == []


def test_pages_repeat_the_share_of_cells_that_the_benchmark_shows() -> None:
    pages = {
        name: (ROOT / name).read_text(encoding="utf-8")
        for name in ("README.md", "LEIAME.md", "docs/reference/methods.md")
    }
    shown = re.search(r"in (\d+) of (\d+) cells", (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8"))
    assert shown is not None
    right, cells = shown.groups()
    counted = json.loads((ROOT / "benchmarks/results/auto_rates.json").read_text())["summary"]
    assert [int(right), int(cells)] == [counted["within 1 point of the four"], counted["cells"]]
    assert [name for name, text in pages.items() if not re.search(rf"{right} (of|de) {cells}\b", text)] == []


def test_the_reference_is_what_the_program_says() -> None:
    assert sorted(str(path.relative_to(ROOT)) for path in stale()) == [], "run `make reference`"


@pytest.mark.parametrize("name", commands())
def test_every_option_of_a_command_stands_under_its_name_with_its_meaning(name: str) -> None:
    page = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    section = page.partition(f"## `{name}`\n")[2].partition("\n## `")[0]
    for parameter in commands()[name].params:
        if getattr(parameter, "hidden", False):  # an older spelling, accepted and not shown
            continue
        called = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar or parameter.name]
        for word in [*called, *parameter.secondary_opts]:
            line = re.search(rf"^- `[^`]*{re.escape(word)}[^`]*`: (.*)$", section, flags=re.MULTILINE)
            assert line, f"{name} {word} is not in docs/reference/commands.md"
            assert parameter.help, f"{name} {word} has no help"


PUBLISHED = "https://example.org/afina.git"


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("README.md", f"    git clone {PUBLISHED} afina && cd afina\n"),
        ("LEIAME.md", f"    git clone {PUBLISHED} afina && cd afina\n"),
        ("CONTRIBUTING.md", f"    git clone {PUBLISHED} afina && cd afina\n"),
        ("docs/tutorials/index.md", f"git clone {PUBLISHED} afina\n"),
        ("notebooks/first_study.ipynb", f'REPOSITORY = \\"{PUBLISHED}\\"'),
    ],
)
def test_a_page_gets_the_repositorys_address_and_a_later_one(page: str, line: str) -> None:
    text = addressed((ROOT / page).read_text(encoding="utf-8"), PUBLISHED)
    assert line in text
    moved = addressed(text, "https://example.com/moved")
    assert PUBLISHED not in moved
    assert moved == addressed((ROOT / page).read_text(encoding="utf-8"), "https://example.com/moved")


class Loader(yaml.SafeLoader):
    """Reads 5e-3 as a number, as YAML 1.2 and editors do."""


Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[0-9.]+e[-+]?[0-9]+"), list("0123456789"))


def studies() -> Iterator[dict[str, Any]]:
    """Give every study file that the documents show."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"(?:^ {4}.*\n)+", text, flags=re.MULTILINE):
            if "\n    methods:" in block and re.search(r"^ {4}model:", block, flags=re.MULTILINE):
                yield yaml.load(block, Loader)
    yield yaml.safe_load((ROOT / "studies" / "published.yaml").read_text(encoding="utf-8"))


def test_study_files_of_the_documents_are_right_by_the_schema_and_by_the_program() -> None:
    valid = jsonschema.Draft202012Validator(schema("study"))
    shown = list(studies())
    assert len(shown) > 6
    for study in shown:
        assert [error.message for error in valid.iter_errors(study)] == []
        for method in StudyConfig.parse(study, "a page").methods:
            make_method(method.name, method.settings, {"rank": study["rank"]} if "rank" in study else {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"epoch": 3}, {"methods": ["lorra"]}, {"methods": [{"lora": {"rnk": 4}}]}, {"batch_size": 0}, {"precision": "fp8"},
        {"dataset": {"path": "a.csv", "txt": "b"}}, {"race": {"rung": [0.1]}},
    ],
    ids=str,
)  # fmt: skip
def test_the_schema_refuses_what_the_program_refuses(wrong: dict[str, Any]) -> None:
    study = {"model": "minilm", "dataset": "tickets", "methods": ["lora"]} | wrong
    assert not jsonschema.Draft202012Validator(schema("study")).is_valid(study)
    with pytest.raises(UsageError):
        for method in StudyConfig.parse(study, "a test").methods:
            make_method(method.name, method.settings)


def test_the_site_builds_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, which has imported already what the pages are written from; `make docs` is the command."""
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    monkeypatch.chdir(ROOT)
    said = io.StringIO()
    heard = logging.StreamHandler(said)
    heard.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as outside pytest: those of the pages are mkdocs' own
        from mkdocs.commands.build import build
        from mkdocs.config import load_config
        from mkdocs.exceptions import Abort

        logging.getLogger("mkdocs").addHandler(heard)
        try:
            build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path)))
        except Abort as error:
            said.write(str(error))
        finally:
            logging.getLogger("mkdocs").removeHandler(heard)
    assert said.getvalue() == ""
    assert (tmp_path / "reference" / "study.schema.json").exists()
    assert 'id="afina.study.study.Study"' in (tmp_path / "reference" / "python_api.html").read_text(encoding="utf-8")
    # Nothing of a page is fetched from elsewhere.
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"""<(?:script|img|link)[^>]*(?:src|href)=["']?https?://""", text), page


def test_paths_that_the_guide_for_contributors_names_are_there() -> None:
    for page in ("CONTRIBUTING.md", "docs/architecture.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for path in re.findall(r"(?:src/afina|tests|docs|benchmarks|studies|notebooks|pretraining)/[\w./]*", text):
            assert (ROOT / path.rstrip(".")).exists(), f"{page} names {path}"


def test_one_version_is_said_everywhere() -> None:
    said = {
        "pyproject.toml": tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"],
        "CITATION.cff": yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"],
    }
    assert set(said.values()) == {__version__}, said
