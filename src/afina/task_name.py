"""List what a study file may call a task: the names that the registry finds, and other spellings of them."""

from typing import Annotated, Any

from pydantic import BeforeValidator, GetJsonSchemaHandler

from afina.registry import Entry, listing

__all__ = ["TaskName"]


def _tasks() -> list[Entry]:
    """Return the tasks that a study may have; their files are not imported for that."""
    return [entry for entry in listing("afina.tasks", "task").values() if entry.constants.get("trained", True)]


def _as_task(value: Any) -> Any:
    """Return a task's name for what a person calls it."""
    spellings = {spelling: entry.name for entry in _tasks() for spelling in (entry.name, *entry.others)}
    if not isinstance(value, str) or value == "auto":
        return value
    if value not in spellings:
        possible = ["auto", *(entry.name for entry in _tasks())]
        raise ValueError(f"should be {', '.join(map(repr, possible[:-1]))} or {possible[-1]!r}")
    return spellings[value]


class _TaskSchema:
    """Has a schema list the tasks there are, when it is made."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "enum": ["auto", *(entry.name for entry in _tasks())]}


TaskName = Annotated[str, BeforeValidator(_as_task), _TaskSchema()]
