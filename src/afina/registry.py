"""One registry for all of which there are several: a decorator names a thing, and a walk over a folder finds its file.

    METHODS: Registry[type[Method]] = Registry("method", "afina.methods")  # beside the base class
    method = METHODS.register

    @method("lora")  # in any file of that folder
    class LoRA(Method): ...

Names are read from the decorators in the files' source, so that to list them imports nothing; what a name stands for is
imported when it is first asked for. A file outside the folder (a script, a notebook) enters things by the same decorator.
"""

import ast
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from afina.errors import UsageError, nearest, shown

__all__ = ["Entry", "Registry", "listing"]

T = TypeVar("T")
Thing = TypeVar("Thing", bound=Any)


@dataclass(frozen=True)
class Entry:
    """A registered thing as its source names it: its name, other names for it, and where it is defined."""

    name: str
    others: tuple[str, ...]
    module: str
    attribute: str
    constants: Mapping[str, Any]
    """The class attributes that it sets to what is written out: what can be said of it without importing it."""


@cache
def listing(package: str, decorator: str) -> Mapping[str, Entry]:
    """Return what the files of a package register by `@decorator("name")`, sorted by name, without importing any of them.

    Raises `UsageError` where two things have one name, or where a name is not written out.
    """
    home = importlib.util.find_spec(package)
    assert home is not None and home.submodule_search_locations is not None, f"{package} is no package"
    entries: list[Entry] = []
    for info in pkgutil.iter_modules(home.submodule_search_locations, f"{package}."):
        # Names are read from the source: to import every method or command only to list them would load torch.
        spec: Any = importlib.util.find_spec(info.name)
        source = spec.loader.get_source(info.name)  # also out of a zip file
        if source is None:
            raise UsageError(
                f"{info.name} is installed without its source, from which names are read; reinstall afina."
            )

        # Parsed only where the decorator stands in it at all, which keeps `afina --help` quick.
        if f"@{decorator}(" in source:
            entries += _entries(ast.parse(source), decorator, info.name)
    taken: dict[str, Entry] = {}
    for entry in entries:
        for name in (entry.name, *entry.others):
            if name in taken:
                raise UsageError(_twice(decorator, name, taken[name].module, entry.module))
            taken[name] = entry
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}


def _entries(tree: ast.Module, decorator: str, module: str) -> Iterator[Entry]:
    """Yield what a file's top level registers."""
    for node in tree.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == decorator:
                # A computed name could not be read without running the file.
                names = [part.value for part in mark.args if isinstance(part, ast.Constant)]
                if not names or len(names) < len(mark.args) or not all(isinstance(name, str) for name in names):
                    raise UsageError(f"{module}: @{decorator} of {node.name} should be given its names as plain text.")
                yield Entry(str(names[0]), tuple(map(str, names[1:])), module, node.name, _constants(node))


def _constants(node: ast.ClassDef | ast.FunctionDef) -> dict[str, Any]:
    constants: dict[str, Any] = {}
    for line in node.body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            with suppress(ValueError):  # a call, or a name
                constants[line.targets[0].id] = ast.literal_eval(line.value)
    return constants


def _twice(kind: str, name: str, first: str, second: str) -> str:
    return f"Two things are registered as the {kind} '{name}', in {first} and in {second}; rename one of them."


class Registry(Mapping[str, T], Generic[T]):
    """The things of one kind by their names, each imported when it is first looked up."""

    def __init__(self, kind: str, package: str, decorator: str | None = None) -> None:
        """Take what an error calls the entries (`kind`), which is the decorator's name too unless `decorator` is another."""
        self.kind, self.package, self.decorator = kind, package, decorator or kind
        self._entered: dict[str, T] = {}
        self._others: dict[str, str] = {}

    def register(self, name: str, *others: str) -> Callable[[Thing], Thing]:
        """Return a decorator that enters a class or function under a name, of which `others` are spellings.

        What is entered gets the name as its attribute `name`.
        """

        # The same thing again is a file that was reloaded, or a notebook's cell that was run twice.
        def enter(thing: Thing) -> Thing:
            for each in (name, *others):
                if (before := self._place(self.canonical(each))) not in (None, _place(thing)):
                    raise UsageError(_twice(self.kind, each, before[0], thing.__module__))
            thing.name = name
            self._entered[name] = thing
            self._others.update(dict.fromkeys(others, name))
            return thing

        return enter

    def __getitem__(self, name: str) -> T:
        if name not in self._entered:
            importlib.import_module(listing(self.package, self.decorator)[name].module)
        return self._entered[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entered or name in listing(self.package, self.decorator)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*listing(self.package, self.decorator), *self._entered}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _place(self, name: str) -> tuple[str, str] | None:
        """Return the module and name of what is registered under a name, imported or not."""
        if name in self._entered:
            return _place(self._entered[name])
        entry = listing(self.package, self.decorator).get(name)
        return None if entry is None else (entry.module, entry.attribute)

    def canonical(self, given: str) -> str:
        """Return the name of which `given` is a spelling, or `given` itself."""
        listed = {
            other: entry.name for entry in listing(self.package, self.decorator).values() for other in entry.others
        }
        return (listed | self._others).get(given, given)

    def named(self, given: str) -> T:
        """Return what a person names; raises `UsageError` with the nearest name where there is no such thing."""
        name = self.canonical(given)
        if name not in self:
            raise UsageError(f"Unknown {self.kind} {shown(given)}{nearest(given[:80], self)}")
        return self[name]


def _place(thing: Any) -> tuple[str, str]:
    return thing.__module__, thing.__qualname__
