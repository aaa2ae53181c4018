"""The order of the house: imports run one way, names stay in their own file, export lists are true."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import afina
from afina.backbone.storage.base import STORAGES
from afina.methods.base import METHODS
from afina.registry import listing
from source import SOURCE, tree_of

# From the bottom up: a room may import rooms before it, and its own.
ROOMS = (
    (
        "errors", "registry", "precision", "json_files", "yaml_file", "checked", "separator", "task_name", "dataset_spec",
        "hub", "links", "whole_file", "outputs", "settings", "study_parts",
    ),
    ("words",),
    ("measure", "ops", "optimisers", "tracking"), ("data",),
    ("corpus", "tasks", "mitigation"), ("config",), ("backbone", "results"),
    ("methods", "generation", "distil"),
    ("adapters",), ("train", "card"), ("predictor",), ("drift", "retrieval"), ("study",),
    ("report", "export", "serve", "evaluation", "audit", "compress", "explanation"), ("quantisation",),
    ("api",),
    ("cli",),
)  # fmt: skip
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.stem in LEVEL)
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(SOURCE)], "afina."))


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("afina."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("afina.")}
    return names


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("room", sorted({room_of(path) for path in FILES}))
def test_imports_run_one_way(room: str) -> None:
    above = {
        path.name: names
        for path in FILES
        if room_of(path) == room
        and (names := {name for name in imported(tree_of(path)) if LEVEL.get(name, -1) > LEVEL[room]})
    }
    assert not above, f"{room} stands below what it imports"


def imports_of(path: Path, names: set[str]) -> set[str]:
    """Return the modules that a file imports anywhere: at its top, in a function, for types only."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "afina":
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & names


@cache
def graph_of(source: Path) -> dict[str, set[str]]:
    """Return what each module imports; packages, which import nothing here, are left out."""
    paths = {path: ".".join(path.relative_to(source.parent).with_suffix("").parts) for path in source.rglob("*.py")}
    names = {name for path, name in paths.items() if path.stem != "__init__"}
    return {name: imports_of(path, names) - {name} for path, name in paths.items() if name in names}


def circles_in(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules of which each imports, through others, every other one."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            new = graph[waiting.pop()] - found
            found |= new
            waiting += new
        return found

    reach = {name: reached(name) for name in graph}
    groups = {frozenset(other for other in reach[name] if name in reach[other]) for name in graph}
    return sorted(sorted(group) for group in groups if group)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Neither by imports in functions nor by those for types: what knows each other is one thing, or one too many."""
    assert not circles_in(graph_of(SOURCE))


def test_a_circle_is_found_by_whatever_closes_it(tmp_path: Path) -> None:
    for name, text in {
        "afina/a.py": "from afina.room import b",
        "afina/room/b.py": "def later() -> None:\n    from afina.room.c import x",
        "afina/room/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import afina.a",
        "afina/room/d.py": "import afina.a",
        "afina/room/__init__.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert circles_in(graph_of(tmp_path / "afina")) == [["afina.a", "afina.room.b", "afina.room.c"]]


def test_siblings_do_not_import_each_other() -> None:
    """What people do with results and adapters: each of these rooms could be left out."""
    siblings = {"report", "export", "serve", "evaluation", "audit", "compress", "explanation"}
    for name, others in graph_of(SOURCE).items():
        room = name.split(".")[1]
        beside = {other for other in others if other.split(".")[1] in siblings - {room}}
        assert room not in siblings or not beside, f"{name} imports {beside}"


def test_export_lists_are_true() -> None:
    """Every module has one, and what it names is there, once; their order is lint's business."""
    for name in MODULES:
        if name == "afina.__main__":
            continue
        module = importlib.import_module(name)
        if (SOURCE / Path(*name.split(".")[1:]) / "__init__.py").exists():
            continue
        assert len(set(module.__all__)) == len(module.__all__), name
        assert not [entry for entry in module.__all__ if not hasattr(module, entry)], name


def test_everything_promised_at_the_top_is_there() -> None:
    assert all(hasattr(afina, name) for name in afina.__all__)


def test_adapters_and_exports_know_no_method() -> None:
    """They ask a method's form: neither its name, nor PEFT's word for it, nor anything of its file stands there."""
    from afina.adapters.peft_keys import forms

    # What is one method's by its nature: the other library has bottlenecks alone, and a target that makes a LoRA of others.
    of_one = {
        "adapters/formats/adapters_library.py", "export/low_rank.py", "export/targets/lora.py", "export/gguf/lora.py",
        "export/gguf/llama_cpp.py",  # whose words are llama.cpp's
    }  # fmt: skip
    words, homes = {*METHODS, *forms()}, {entry.module for entry in listing("afina.methods", "method").values()}
    for path in (*SOURCE.glob("adapters/**/*.py"), *SOURCE.glob("export/**/*.py")):
        if path.relative_to(SOURCE).as_posix() in of_one:
            continue
        nodes = list(ast.walk(tree_of(path)))
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not texts & words, f"{path.name} names {texts & words}"
        assert not modules & homes, f"{path.name} takes from {modules & homes}"


OTHERWISE = {
    ("prompt", "generate.py"),  # a call's argument
    ("prompt", "llama_cpp.py"),  # llama.cpp's own word
    ("prompt", "evaluate.py"),  # a column
    ("prompt", "choices.py"), ("prompt", "seq2seq.py"),  # a field of a state
    ("lora", "demonstrations.py"), ("qlora", "demonstrations.py"),  # the studies that the demonstrations are
}  # fmt: skip
"""Words that are a method's name and stand for another thing in these files."""
OF_ONE = {"low_rank.py", "lora.py", "adapters_library.py"}
"""Files that are one method's by their nature: a target that makes a LoRA of others, and a library of bottlenecks alone."""
ALSO = {
    ("chat", "evaluate.py"),  # a setting of the harness
    ("choices", "preset_columns.py"),  # a column
    ("choices", "bbq.py"),
    ("classification", "adapters_library.py"),  # a kind of that library's heads
    ("embedding", "anatomy.py"),  # a role of a module
    ("choices", "chat.py"),
    ("choices", "completions.py"),
    ("embedding", "embeddings.py"),  # keys of OpenAI's answers
}
"""Words that are a task's name and stand for another thing in these files."""


def questions(tree: ast.AST) -> Iterator[str]:
    """Yield the texts that a file asks for: compared, looked up in a group or by `startswith`, keys of a mapping, cases."""

    def texts(node: ast.AST | None) -> Iterator[str]:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            for each in node.elts:
                yield from texts(each)

    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            for side in (node.left, *node.comparators):
                yield from texts(side)
        elif isinstance(node, ast.Dict):
            for key in node.keys:
                yield from texts(key)
        elif isinstance(node, ast.MatchValue):
            yield from texts(node.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in (
            "startswith",
            "endswith",
            "removeprefix",
        ):
            for each in node.args:
                yield from texts(each)


@pytest.mark.always
def test_tasks_are_named_in_their_own_files_only() -> None:
    """Nobody asks for a task by its name, nor imports its file: what it can do is a class attribute on it."""
    found = list(listing("afina.tasks", "task").values())
    names, files = {name for own in found for name in (own.name, *own.others)}, {own.module for own in found}
    asked = asked_for(names, "tasks") | imports_from(files, "tasks")
    assert asked == ALSO


@pytest.mark.always
def test_methods_are_named_in_their_own_files_only() -> None:
    """Nobody asks for a method by its name, nor imports its file; what it is for is a class attribute on it."""
    homes = {entry.module for entry in listing("afina.methods", "method").values()}
    asked, taken = asked_for(set(METHODS), "methods"), imports_from(homes, "methods")
    assert asked == OTHERWISE
    assert {file for _, file in taken} <= OF_ONE, taken


@pytest.mark.always
def test_storages_are_named_in_their_own_files_only() -> None:
    """Neither is a storage, not even as what a call takes unless it is told: `precision.EXACT` is what says so of itself."""
    homes = {entry.module for entry in listing("afina.backbone.storage", "storage").values()}
    written = {
        (node.value, path.name)
        for path in SOURCE.rglob("*.py")
        if path.parent.name
        not in ("storage", "ways")  # a way of quantising writes what a storage reads, and is called so
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and node.value in STORAGES
    }
    assert written == {("bf16", "hardware.py"), ("bf16", "types.py")}  # a processor's own word, and GGUF's
    assert not imports_from(homes, "storage")


def asked_for(names: set[str], room: str) -> set[tuple[str, str]]:
    """Return which names the files outside a room ask for, with the file."""
    return {
        (text, path.name)
        for path in SOURCE.rglob("*.py")
        if room not in path.relative_to(SOURCE).parts
        for text in questions(tree_of(path))
        if text in names
    }


def imports_from(modules: set[str], room: str) -> set[tuple[str, str]]:
    """Return which of these modules the files outside a room import, with the file."""
    return {
        (node.module, path.name)
        for path in SOURCE.rglob("*.py")
        if room not in path.relative_to(SOURCE).parts
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.module in modules
    }


def test_files_are_of_a_readable_size() -> None:
    lines = {path.relative_to(SOURCE).as_posix(): len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert {name for name, count in lines.items() if count > 350} <= {"tasks/base.py"}  # what every task is asked
    assert max(lines.values()) <= 400


def test_the_docs_show_every_pair_of_method_and_architecture() -> None:
    """The table is written by the tests themselves (helpers/conformance.py); a new row or column has to be run for it."""
    from afina.methods.base import registry
    from conformance import DASH, can_be
    from families import FAMILIES

    text = (SOURCE.parents[1] / "docs" / "reference" / "architectures.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    table = {row[0]: row[1:] for row in rows if row[0] in FAMILIES}
    assert set(table) == set(FAMILIES)
    methods = [name for name, cls in registry().items() if not cls.gradient_free]
    for family, row in table.items():
        assert [cell == DASH for cell in row] == [not can_be(name, family) for name in methods], family
        assert all("✓" in cell for cell in row if cell != DASH), family


def test_tensors_are_written_by_one_function() -> None:
    """safetensors says of a full disk in words alone what `save_tensors` makes an error of the system again."""
    writers = {path.name for path in SOURCE.rglob("*.py") if "import save_file" in path.read_text(encoding="utf-8")}
    assert writers == {"tensor_file.py"}


@pytest.mark.always
def test_what_tests_share_stands_beside_them() -> None:
    """A helper in a test file would bring that file's fixtures and cases along, and go with it when it is split."""
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        names = {node.module for node in ast.walk(tree_of(path)) if isinstance(node, ast.ImportFrom)}
        borrowed = {name for name in names if name and name.startswith(("test_", "tests"))}
        assert not borrowed, f"{path.name} imports from {borrowed}"


def test_tests_stand_in_the_room_that_they_are_about() -> None:
    """What is about the whole house, or about a file outside the rooms, stands beside them; `docs` tests the documents."""
    tests = Path(__file__).parent
    folders = {path.parent.relative_to(tests).as_posix() for path in tests.rglob("test_*.py")} - {"."}
    assert folders - {"docs"} <= {path.name for path in SOURCE.iterdir() if path.is_dir()}


@pytest.mark.parametrize("room", sorted({path.name for path in SOURCE.iterdir()} - {"__pycache__", "models"}))
def test_functions_are_of_a_readable_size(room: str) -> None:
    """A command takes what a person may say, and so does its Python call; what they call takes no more than eight things."""
    place = SOURCE / room
    for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
        tree = tree_of(path)
        outermost = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            marks = {getattr(getattr(mark, "func", None), "id", "") for mark in node.decorator_list}
            is_face = "command" in marks or (room == "api" and node.name in outermost and node.name[0] != "_")
            taken = [each for each in (*node.args.args, *node.args.kwonlyargs) if each.arg not in ("self", "cls")]
            lines = int(node.end_lineno or 0) - node.lineno + 1
            assert len(taken) <= 8 or is_face, f"{path.name}: {node.name} takes {len(taken)} things"
            assert lines <= 60 or "command" in marks, f"{path.name}: {node.name} has {lines} lines"
