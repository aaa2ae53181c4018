"""YAML files as people write them, read so that nothing in one is passed over, grows without end, or runs."""

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from afina.errors import UsageError

__all__ = ["read_yaml"]


class _Loader(yaml.SafeLoader):
    """YAML whose mappings have each key once, and whose depth has an end."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _DEEPEST:
            here = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="it is nested too deeply", problem_mark=here)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name in seen and name != "<<":
                raise yaml.MarkedYAMLError(problem=f"the key '{name}' stands there twice", problem_mark=key.start_mark)
            seen |= {name} if name else set()
        return super().construct_mapping(node, deep)


_DEEPEST, _MOST_NODES, _MOST_BYTES = 40, 200_000, 64 << 20
"""Limits of a YAML file. A study's folder writes its own, which grows with its runs."""


def read_yaml(path: Path) -> Any:
    """Parse a YAML file; raises `UsageError` when it is missing, not UTF-8, not YAML, or has a key twice."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UsageError(f"{path} is no ordinary file.")
        if path.is_file() and path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{path} is too large to be a study file.")
        values = copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist.") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder; give the study file in it.") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise UsageError(
            f"{path} is not valid YAML{line}: {getattr(error, 'problem', None) or str(error).splitlines()[0]}."
        ) from None
    except (
        ValueError,
        OverflowError,
    ) as error:  # a number of thousands of digits, the 31st of February, a bomb of aliases
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} holds a value that cannot be: {error}.") from None
    return values


@lru_cache(maxsize=2)
def _parsed(text: str) -> Any:
    """Parse a text; a study asks for its own file at every run, which for hundreds of runs takes a second to parse."""
    values = yaml.load(text, _Loader)
    _count(values, [0])
    return values


def _count(value: Any, so_far: list[int], depth: int = 0) -> None:
    """Raise `ValueError` for what its aliases make too large to be written out."""
    so_far[0] += 1
    if so_far[0] > _MOST_NODES or depth > _DEEPEST:
        raise ValueError("its aliases (*) make it too large")
    if isinstance(value, (dict, list)):
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            _count(part, so_far, depth + 1)
