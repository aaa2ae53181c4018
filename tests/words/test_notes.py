"""Every note of what was assumed can be said in Portuguese, wherever in the source it is made."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from afina.words.language import Words
from afina.words.notes import NOTES, said_note
from afina.words.serving import SERVED
from source import SOURCE, tree_of

MAKERS = [
    *(path for room in ("data", "corpus", "tasks", "backbone", "methods", "retrieval")
      for path in sorted((SOURCE / room).rglob("*.py"))),
    *sorted((SOURCE / "export" / "targets").glob("*.py")),
    *(SOURCE / "study" / f"{name}.py" for name in ("prepare", "data", "plan", "race", "tracked")),
]  # fmt: skip
RETURNS = re.compile(
    r"(_notes?|left_out|_written_out|said_of|sentences|_translated|_questions?|_answered|remarks?|lost_words|renamed)$"
)
"""Functions whose value is a note, by their names."""
LISTS = ("notes", "all_notes", "assumed", "sentences", "warnings", "told", "said")
WRITTEN_OUT = (
    "audit/watch/rows.py",
    "data/predicting/logged.py",
    "audit/watch/run.py",
    "study/planned.py",
    "study/devices/elsewhere.py",
    "study/less.py",
    "study/fit.py",
    "study/chosen.py",
    "study/units.py",
    "study/executors/accelerate.py",
    *(f"export/gguf/{name}.py" for name in ("judge", "lora", "model", "modelfile", "llama_cpp")),
    *(f"mitigation/{name}.py" for name in ("balance", "reweigh", "swap", "thresholds")),
    "audit/bias/material.py",
    "data/labels/given.py",
    "methods/representations/words.py",
    "audit/kinds/bias.py",
    "audit/kinds/leak.py",
    "audit/leak.py",
    "audit/run.py",
    "audit/watch/rows.py",
    "audit/watch/run.py",
    "evaluation/comparing/compare.py",
    "evaluation/comparing/preparing.py",
    "api/adapters.py",
    "explanation/explained.py",
    "explanation/whole.py",
    "predictor/load.py",
    "retrieval/build.py",
    "retrieval/duplicates.py",
    "retrieval/parsing.py",
    "retrieval/readers/pdf.py",
    "retrieval/representations/bert.py",
    "retrieval/representations/bm25.py",
    "retrieval/representations/word2vec.py",
    "retrieval/settings.py",
    "retrieval/stores/postgres.py",
    "retrieval/stores/usearch.py",
    "retrieval/terms.py",
    "export/by_groups.py",
    "export/costs.py",
    "export/export.py",
    "export/export_several.py",
    "export/push.py",
    "export/writing/held.py",
    "study/catalogue.py",
    "evaluation/evaluate.py",
    "export/int8_target.py",
    "study/executors/in_process.py",
    "study/executors/ray.py",
    "study/plan.py",
    "compress/compress.py",
    *(f"distil/signals/{name}.py" for name in ("soft", "hard", "hidden")),
    *(f"compress/ways/{name}.py" for name in ("drop_layers", "width", "heads", "rank", "zeros")),
    "quantisation/make.py",
    "quantisation/plan.py",
)
"""Files whose notes are constants, or made of parts that are not followed here."""
HOLE = "7"


def expansions(node: ast.expr | None, named: dict[str, list[ast.expr]], depth: int = 0) -> list[str]:
    """Return every text that an expression may be, with `HOLE` for what is filled in."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        texts = [""]
        for part in node.values:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            texts = [text + more for text in texts for more in expansions(inner, named, depth) or [HOLE]]
        return texts
    if isinstance(node, ast.IfExp):
        return expansions(node.body, named, depth) + expansions(node.orelse, named, depth)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [a + b for a in expansions(node.left, named, depth) for b in expansions(node.right, named, depth)]
    if isinstance(node, ast.Name) and depth < 4:
        return [text for value in named.get(node.id, []) for text in expansions(value, named, depth + 1)]
    if isinstance(node, ast.List | ast.Tuple) and depth == 0:
        return [text for item in node.elts for text in expansions(item, named, 1)]
    return []


def assignments(function: ast.FunctionDef) -> dict[str, list[ast.expr]]:
    named: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            before = named.get(node.target.id, [])
            named[node.target.id] = before + [ast.BinOp(one, ast.Add(), node.value) for one in before]
        if not (isinstance(node, ast.Assign) and len(node.targets) == 1):
            continue
        target, value = node.targets[0], node.value
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=False))
        for one, own in pairs:
            if isinstance(one, ast.Name):
                named.setdefault(one.id, []).append(own)
    return named


def notes_made(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the notes that a file's functions make: appended, counted by what was seen, or given back."""
    for function in ast.walk(tree_of(path)):
        if not isinstance(function, ast.FunctionDef):
            continue
        named = assignments(function)
        for node in ast.walk(function):
            made: ast.expr | None = None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
                owner = node.func.value
                made = node.args[0] if isinstance(owner, ast.Name) and owner.id in LISTS else None
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Subscript):
                place = node.target.value
                held = place.id if isinstance(place, ast.Name) else getattr(place, "attr", "")
                made = node.target.slice if held == "seen" else None
            elif isinstance(node, ast.Return) and RETURNS.search(function.name):
                made = node.value
            yield from ((node.lineno, text) for text in expansions(made, named))


NO_NOTES = ("diversity.py",)
"""What generated texts lack is told where they are generated."""


@pytest.fixture(scope="module")
def made() -> set[tuple[str, int, str]]:
    """Give every note that the source makes: its file, its line and its text."""
    return {
        (path.name, line, re.sub(rf"{HOLE}(?=rows?\b)", f"{HOLE} ", text))  # a split with a space after it
        for path in MAKERS if path.name not in NO_NOTES
        for line, text in notes_made(path) if re.search("[a-z]{2}", text)
    }  # fmt: skip


@pytest.mark.always
def test_every_note_has_its_portuguese(made: set[tuple[str, int, str]]) -> None:
    assert len(made) > 90
    untold = {(name, line, text) for name, line, text in made if said_note(text, "pt") == text}
    assert not untold


def test_every_row_is_a_note_that_is_made(made: set[tuple[str, int, str]]) -> None:
    """A row that no source makes any more is dead, or its note was reworded and is English now."""
    patterns = {key: re.compile("(.+?)".join(map(re.escape, re.split(r"\{\w+\}", key))), re.DOTALL) for key in NOTES}
    makers = (*MAKERS, *(SOURCE / name for name in WRITTEN_OUT))
    elsewhere = "\n".join(path.read_text(encoding="utf-8") for path in makers)
    texts = [text for _, _, text in made]
    for key, pattern in patterns.items():
        longest = max(re.split(r"\{\w+\}", key), key=len).strip()
        assert any(pattern.fullmatch(text) for text in texts) or longest[:25] in elsewhere, key


def test_what_is_filled_in_is_filled_in_again() -> None:
    for key, portuguese in NOTES.items():
        places = [name for _, name, _, _ in Formatter().parse(key) if name]
        other = [name for _, name, _, _ in Formatter().parse(portuguese) if name]
        assert sorted(places) == sorted(other), key
        values = {name: f"v{number}" for number, name in enumerate(places)}
        assert said_note(key.format(**values), "pt") == portuguese.format(**values)
        assert said_note(key.format(**values), "en") == key.format(**values)


def test_notes_are_said_with_their_file_their_count_and_portuguese_numbers() -> None:
    words = Words("pt")
    assert (
        words.note("1,234 train rows with no label left out")
        == "1.234 linhas de treino com nenhum rótulo ficam de fora"
    )
    assert (
        words.note("mails.csv: columns are separated by a semicolon")
        == "mails.csv: as colunas estão separadas por ponto e vírgula"
    )
    assert words.note("answers that are read and not learned (weight 0): 1,000") == (
        "respostas que são lidas e não aprendidas (peso 0): 1.000"
    )
    assert words.note("the labels 'Sim' (3) and 'sim' (2) differ in capitals only and are classes of their own; are they "
                      "meant to be one?").startswith("os rótulos 'Sim' (3) e 'sim' (2) só diferem")  # fmt: skip
    assert words.note("nobody's note") == "nobody's note"
    assert Words("en").note("tags such as B_X are read as B-X") == "tags such as B_X are read as B-X"


def test_what_a_server_tells_has_its_portuguese() -> None:
    told = set[str]()
    for path in (SOURCE / "serve").rglob("*.py"):
        for node in ast.walk(tree_of(path)):
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in ("tell", "_say_once"):
                told |= set(expansions(node.args[0], {}))
    told.discard(f"{HOLE}: {HOLE}")  # an adapter's note, which is known as such
    told = {text for text in told if re.search("[a-z]{2}", text.replace(HOLE, ""))}
    assert len(told) > 8
    assert not {text for text in told if said_note(text, "pt") == text}
    for key in SERVED:
        pattern = re.compile("(.+?)".join(map(re.escape, re.split(r"\{\w+\}", key))), re.DOTALL)
        assert any(pattern.fullmatch(text) for text in told), key
