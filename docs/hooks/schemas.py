"""Makes JSON schemas and tables of keys, of the study file and of results.jsonl, from the models that check both."""

import re
from typing import Any

from afina.config import StudyConfig
from afina.evaluation.comparing.config import CompareConfig
from afina.methods.base import registry
from afina.results.result import Result
from methods_told import setting_schemas

__all__ = ["SCHEMAS", "keys_of", "properties_of", "schema"]

SCHEMAS = {"study": StudyConfig, "result": Result, "comparison": CompareConfig}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(name: str) -> dict[str, Any]:
    """Return a schema by its name; that of a study file knows every method with its settings."""
    values = _plain(SCHEMAS[name].model_json_schema())
    if name == "study":
        values["properties"]["methods"] |= _methods()
    return {"$schema": _DIALECT, "title": f"Afina: {name}"} | values


def _plain(value: Any) -> Any:
    """Return a schema without the titles that only repeat a key, and with descriptions on one line."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _plain(entry) for key, entry in value.items() if key != "title" or not isinstance(entry, str)}
    if isinstance(kept.get("description"), str):
        kept["description"] = " ".join(kept["description"].split())
    return kept


def _methods() -> dict[str, Any]:
    """Return what `methods` takes: names, or one name with settings of its own."""
    one = [{"enum": sorted(registry())}]
    for name, cls in sorted(registry().items()):
        inner = {"type": ["object", "null"], "properties": setting_schemas(cls), "additionalProperties": False}
        one.append({"type": "object", "properties": {name: inner}, "required": [name], "additionalProperties": False})
    entry = {"anyOf": one}
    return {"anyOf": [entry, {"type": "array", "items": entry, "minItems": 1}]}


def keys_of(name: str) -> str:
    """Return the table of the keys that a person writes: of a file (`study`, `comparison`), or of a part (`RaceSpec`)."""
    wholes = {file: SCHEMAS[file].model_json_schema() for file in ("study", "comparison")}
    parts = {part: told for whole in wholes.values() for part, told in whole.get("$defs", {}).items()}
    values = _plain(wholes.get(name) or parts[name])
    needed = values.get("required", [])
    lines = ["| key | takes | default | meaning |", "|---|---|---|---|"]
    for key, told in values["properties"].items():
        default = "required" if key in needed else _default(told)
        lines.append(f"| `{key}` | {_kinds(told)} | {default} | {_cell(told.get('description', ''))} |")
    return "\n".join(lines)


def properties_of(name: str) -> str:
    """Return the table of the keys that a file of ours has: `result`, or a part of one."""
    whole = Result.model_json_schema()
    values = _plain(whole if name == "result" else whole["$defs"][name])
    lines = ["| key | holds | meaning |", "|---|---|---|"]
    for key, told in values["properties"].items():
        lines.append(f"| `{key}` | {_kinds(told)} | {_cell(told.get('description', ''))} |")
    return "\n".join(lines)


def _default(told: dict[str, Any]) -> str:
    default = told.get("default")
    if default is None:
        return ""
    if isinstance(default, list):
        return ", ".join(f"{entry:g}" if isinstance(entry, float) else str(entry) for entry in default)
    words = (
        str(default).lower() if isinstance(default, bool) else f"{default:g}" if isinstance(default, float) else default
    )
    return f"`{words}`"


def _kinds(told: dict[str, Any]) -> str:
    """Return in words what a value may be."""
    if "anyOf" in told:
        kinds = [_kinds(each) for each in told["anyOf"] if each.get("type") != "null"]
        return ", or ".join(dict.fromkeys(kinds))
    if "$ref" in told:
        return f"[keys](#{_anchor(told['$ref'].rpartition('/')[2])})"
    if "enum" in told:
        return ", ".join(f"`{each}`" for each in told["enum"])
    if "const" in told:
        return f"`{told['const']}`"
    kind = told.get("type", "anything")
    if kind == "array":
        inner = _kinds(told.get("items", {}))
        return "list of " + re.sub(r"^(whole )?(number|text)", r"\g<0>s", inner)
    words = {"string": "text", "integer": "whole number", "boolean": "true or false", "object": "mapping"}
    return words.get(kind, kind) + _bounds(told)


def _bounds(told: dict[str, Any]) -> str:
    least, above, below = (told.get(key) for key in ("minimum", "exclusiveMinimum", "exclusiveMaximum"))
    parts = [f"at least {least:g}"] if least is not None else []
    parts += [f"above {above:g}"] if above is not None else []
    parts += [f"below {below:g}"] if below is not None else []
    return f" {' and '.join(parts)}" if parts else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _anchor(name: str) -> str:
    """Return the anchor of the heading under which the keys of a part stand."""
    anchors = {
        "DatasetSpec": "keys-of-a-data-set", "RaceSpec": "keys-of-a-race", "QuestionsSpec": "keys-of-questions",
        "RowSettings": "keys-of-rows",
    }  # fmt: skip
    return anchors.get(name, name.lstrip("_").lower())
