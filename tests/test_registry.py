"""The registry: names are read from source, things are imported when looked up, and every mistake is one sentence."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import afina
from afina.errors import UsageError, nearest
from afina.methods.base import METHODS, Method, make_method, method
from afina.registry import Registry, listing

CIRCLE = '@shape("circle", "disc")\nclass Circle:\n    corners = 0\n'
# What is in a docstring, in a function or under another decorator registers nothing.
SQUARE = '''"""Squares.

@shape("docstring")
"""
import dataclasses

@dataclasses.dataclass
@shape("square")
class Square:
    corners: int = 4

@other("triangle")
class Triangle: ...

@shape("area")
def area(side): return side * side
'''
HEAD = "from {package}.base import shape\nother = lambda name: lambda thing: thing\n"
Make = Callable[..., Registry[Any]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Make:
    """Make a package of the given files whose registry is in its `base`, and return that registry."""

    def made(**files: str) -> Registry[Any]:
        package = "shapes_" + "".join(filter(str.isalnum, request.node.name))
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        base = (
            f'from afina.registry import Registry\nSHAPES = Registry("shape", "{package}")\nshape = SHAPES.register\n'
        )
        for name, text in {"base": base, **files}.items():
            (folder / f"{name}.py").write_text(text if name == "base" else HEAD.format(package=package) + text)
        monkeypatch.syspath_prepend(tmp_path)
        registry: Registry[Any] = __import__(f"{package}.base", fromlist=["SHAPES"]).SHAPES
        return registry

    return made


def test_names_are_listed_without_importing_the_files(make: Make) -> None:
    shapes = make(circle=CIRCLE, square=SQUARE)
    assert list(shapes) == ["area", "circle", "square"]
    assert "circle" in shapes and "triangle" not in shapes and len(shapes) == 3
    assert f"{shapes.package}.circle" not in sys.modules
    assert shapes["circle"].corners == 0
    assert f"{shapes.package}.circle" in sys.modules and f"{shapes.package}.square" not in sys.modules
    assert shapes["square"].name == "square" and shapes["area"](3) == 9


def test_a_thing_is_found_by_its_other_names(make: Make) -> None:
    shapes = make(circle=CIRCLE)
    assert shapes.canonical("disc") == "circle" and shapes.canonical("ring") == "ring"
    assert shapes.named("disc") is shapes.named("circle") is shapes["circle"]
    assert shapes.get("disc") is None, "what is written down has the name itself"


def test_an_unknown_name_is_one_sentence_with_the_nearest(make: Make) -> None:
    shapes = make(circle=CIRCLE, square=SQUARE)
    with pytest.raises(UsageError, match=r"^Unknown shape 'circel'; did you mean 'circle'\?$"):
        shapes.named("circel")
    with pytest.raises(UsageError, match=r"^Unknown shape 'x'; possible: area, circle, square$"):
        shapes.named("x")
    with pytest.raises(KeyError):
        shapes["circel"]


@pytest.mark.parametrize("twin", ['@shape("circle")\nclass Ring: ...\n', '@shape("ring", "disc")\nclass Ring: ...\n'])
def test_a_name_may_be_registered_once(make: Make, twin: str) -> None:
    shapes = make(circle=CIRCLE, ring=twin)
    with pytest.raises(UsageError, match=r"registered as the shape '(circle|disc)', in \w+\.circle and in \w+\.ring"):
        list(shapes)


def test_names_are_written_out(make: Make) -> None:
    shapes = make(circle='NAME = "circle"\n@shape(NAME)\nclass Circle: ...\n')
    with pytest.raises(UsageError, match=r"circle: @shape of Circle should be given its names as plain text"):
        list(shapes)


def test_a_script_may_enter_things_of_its_own(make: Make) -> None:
    shapes = make(circle=CIRCLE)

    @shapes.register("star")
    class Star: ...

    assert list(shapes) == ["circle", "star"] and shapes["star"] is Star
    shapes.register("star")(Star)  # a notebook's cell, run again
    with pytest.raises(UsageError, match=r"Two things are registered as the shape 'circle'"):
        shapes.register("circle")(Star)
    with pytest.raises(UsageError, match=r"Two things are registered as the shape 'disc'"):
        shapes.register("ring", "disc")(Star)
    assert shapes["circle"].corners == 0 and "ring" not in shapes


def test_a_package_in_a_zip_file_is_walked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.writestr("zipped_shapes/__init__.py", "")
        packed.writestr("zipped_shapes/circle.py", CIRCLE)
    monkeypatch.syspath_prepend(tmp_path / "packed.zip")
    (entry,) = listing("zipped_shapes", "shape").values()
    assert (entry.name, entry.others, entry.attribute) == ("circle", ("disc",), "Circle")


def test_every_method_stands_at_the_top_by_its_class(tmp_path: Path) -> None:
    classes = {cls.__name__: cls for cls in METHODS.values()}
    assert len(classes) == len(METHODS) >= 19
    assert set(classes) < set(afina.__all__) and set(classes) < set(dir(afina))
    assert all(getattr(afina, name) is cls for name, cls in classes.items())
    assert all(cls.name == name for name, cls in METHODS.items())
    with pytest.raises(AttributeError, match="has no attribute 'LORA'"):
        _ = afina.LORA


def test_names_at_the_top_are_completed_without_torch() -> None:
    """In a fresh interpreter: `import afina`, the names and Tab load nothing heavy, nor does an unknown name."""
    script = (
        "import sys, rlcompleter, afina\n"
        "names = dir(afina)\n"
        "assert not hasattr(afina, 'Lroa')\n"
        "assert {'torch', 'transformers', 'numpy', 'pydantic'}.isdisjoint(sys.modules)\n"
        "shell = rlcompleter.Completer({'afina': afina})\n"
        "print([shell.complete('afina.LoR', state) for state in range(3)])\n"
        "from afina import *\n"
        "print(DoRA, Study)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "['afina.LoRA(', 'afina.LoReFT(', None]",
        "<class 'afina.methods.dora.DoRA'> <class 'afina.study.study.Study'>",
    ]


def test_a_method_of_a_script_is_made_by_its_name() -> None:
    @method("nothing-at-all")
    class Nothing(Method): ...

    try:
        assert make_method("nothing-at-all", {}) == Nothing()
        assert "nothing-at-all" in METHODS
    finally:
        METHODS._entered.pop("nothing-at-all")


def test_of_thousands_of_names_a_few_are_told() -> None:
    """Those of another program's tasks made a sentence of 200,000 characters."""
    sentence = nearest("nope", [f"task_{number}" for number in range(9_000)])
    assert sentence.startswith("; of 9,000 that there are, those spelled most like it are task_")
    assert len(sentence) < 200
    assert nearest("tsk_17", ["task_17", "other"]) == "; did you mean 'task_17'?"
