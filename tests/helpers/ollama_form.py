"""Read a Modelfile by Ollama's documented grammar, and write conversations by its template, as Ollama would.

    docs/modelfile.md and docs/template.md of github.com/ollama/ollama; its reader of Modelfiles drops what cannot be printed

Ollama itself is no package of Python. Of Go's templates there is what a Modelfile of ours has: `range .Messages`,
`if eq .Role`, `else if`, `.Content`, and constants.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["answered_by", "read_modelfile"]

_COMMANDS = {"from", "parameter", "template", "system", "adapter", "license", "message"}


def read_modelfile(text: str) -> dict[str, list[str]]:
    """Return the values by instruction, those of parameters by the parameter's name; raises `ValueError` for what is none."""
    found: dict[str, list[str]] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, value = line.strip().partition(" ")
        if name.lower() not in _COMMANDS:
            raise ValueError(f"no instruction: {name}")
        if name.lower() == "parameter":
            name, _, value = value.partition(" ")
        value = "".join(own for own in value if own.isprintable() or own == "\t")
        while (plain := _unquoted(value.strip())) is None:  # it goes on until its quotes are closed
            value += "\n" + "".join(own for own in next(lines) if own.isprintable() or own == "\t")
        found.setdefault(name.lower(), []).append(plain)
    if "from" not in found:
        raise ValueError("no FROM line")
    return found


def _unquoted(value: str) -> str | None:
    for mark in ('"""', '"'):
        if value.startswith(mark):
            closed = len(value) >= 2 * len(mark) and value.endswith(mark)
            return value[len(mark) : -len(mark)] if closed else None
    return value


def answered_by(modelfile: Mapping[str, Sequence[str]], messages: Sequence[Mapping[str, str]]) -> str:
    """Return a conversation up to its answer; the file's SYSTEM is its first turn where it has none."""
    given = list(messages)
    if "system" in modelfile and given[0]["role"] != "system":
        given.insert(0, {"role": "system", "content": modelfile["system"][0]})
    (template,) = modelfile["template"]
    nodes = iter(re.split(r"(\{\{.*?\}\})", template, flags=re.S))
    return "".join(_written(nodes, given, None))


def _written(
    nodes: Iterator[str], messages: Sequence[Mapping[str, str]], turn: Mapping[str, str] | None
) -> Iterator[str]:
    """Yield what the nodes write up to the `end` that closes them."""
    for node in nodes:
        if not node.startswith("{{"):
            yield node
            continue
        inside = node[2:-2].strip()
        if inside == "range .Messages":
            body = _body(nodes)
            for message in messages:
                yield from _written(iter(body), messages, message)
        elif constant := re.fullmatch(r'"([^"\\]*)"', inside):
            yield constant[1]
        elif inside == ".Content" and turn is not None:
            yield turn["content"]
        elif (asked := re.fullmatch(r'if eq \.Role "(\w+)"', inside)) and turn is not None:
            yield from _chosen(asked[1], _body(nodes), messages, turn)
        else:
            raise ValueError(f"a template has {node}")


def _chosen(
    role: str, body: Sequence[str], messages: Sequence[Mapping[str, str]], turn: Mapping[str, str]
) -> Iterator[str]:
    """Yield what the branch of the turn's role writes."""
    branches: list[tuple[str, list[str]]] = [(role, [])]
    for node in body:
        if other := re.fullmatch(r'\{\{ else if eq \.Role "(\w+)" \}\}', node):
            branches.append((other[1], []))
        else:
            branches[-1][1].append(node)
    for name, own in branches:
        if name == turn["role"]:
            yield from _written(iter(own), messages, turn)
            return


def _body(nodes: Iterator[str]) -> list[str]:
    """Return the nodes up to the `end` of a block."""
    found, depth = list[str](), 0
    for node in nodes:
        depth += bool(re.match(r"\{\{ (range|if)\b", node)) - (node == "{{ end }}")
        if depth < 0:
            return found
        found.append(node)
    raise ValueError("a block has no end")
