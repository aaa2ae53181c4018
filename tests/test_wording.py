"""The words of the code: a docstring begins with a full sentence, and one rule finds those that do not."""

import ast
import collections
import itertools
import re
from collections.abc import Iterator
from functools import cache

import pytest

from source import SOURCE, tree_of

ROOMS = sorted({path.relative_to(SOURCE).parts[0] for path in SOURCE.rglob("*.py")})
"""Folders of the source, and the files beside them."""
NEEDS_THE_LINE_ABOVE = set(
    re.findall(
        r"\w+", "As At By For From How If In Neither Not Of On Only Than To What When Where Whether Which Who Why With"
    )
)
"""Words that begin a clause, which says nothing without what it hangs on."""
VERBS = set(
    re.findall(
        r"\w+",
        """
accept act adapt add allow alter answer append apply approximate ask assign attach audit average become begin
bind bring build call carry change check choose classify clean clear close collect come compare compute
concatenate continue convert copy count cover create cut decide decode define depend describe deserve detach
differ divide do draw drop edit embed emit encode end enter erase estimate evaluate examine expand explain
export extend fall fill find fit fold follow forget form format forward freeze generate get give go group grow
guess hang have hide hold ignore import insert install join judge keep know label lay learn leave lend let lie
limit line list load lock look lose make map mark mask match mean measure merge move multiply name need note
observe offer open order pack pair parse part pass patch pick plan plant play point predict prepare print
produce provide put quantise quote race raise reach read recognise reconstruct record redraw reduce refuse
register reject release remain remember remove render replace report rescale reset resolve restore return rise
round run save say scale score see seem select send serve set settle shape share show shrink silence sit skip
sort speak spell split spread stand start state step stop store stream sum switch tag take talk teach tell test
time tokenise tokenize track train translate treat try turn undo update upload use validate wait want warn work wrap
write yield index search walk rank watch
""",
    )
)
"""What functions do, and modules and classes say that they do; a new verb is welcome."""
HELPERS = set(
    re.findall(
        r"\w+",
        "are be been can cannot could did do does goes had has have is may might must should was were will would",
    )
)


@cache
def files_of(room: str) -> list[tuple[str, ast.Module]]:
    """Return a room's files, each by its path and parsed."""
    paths = [SOURCE / room] if room.endswith(".py") else sorted((SOURCE / room).rglob("*.py"))
    return [(str(path.relative_to(SOURCE)), tree_of(path)) for path in paths]


def forms(verb: str) -> Iterator[str]:
    yield from (verb, f"{verb}s", f"{verb}es")
    if verb.endswith("y"):
        yield f"{verb[:-1]}ies"


SAID = {form for verb in VERBS for form in forms(verb)} | HELPERS


def first_lines(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield text.splitlines()[0], node


def wrong(line: str, node: ast.AST) -> str | None:
    """Say what keeps a first line from being a sentence: a function's begins with what it does; a formula is one."""
    words = re.findall(r"[A-Za-z'-]+", line)
    if words and words[0] in NEEDS_THE_LINE_ABOVE:
        return "begins in the middle of a sentence"
    if isinstance(node, ast.FunctionDef):
        return None if words and words[0].lower() in VERBS else "does not begin with a verb"
    has_verb = " = " in line or any(word.lower() in SAID for word in words)
    return None if has_verb else "has no verb"


@pytest.mark.parametrize("room", ROOMS)
def test_a_docstring_begins_with_a_full_sentence(room: str) -> None:
    first = [(name, line, node) for name, tree in files_of(room) for line, node in first_lines(tree)]
    assert not [(name, line, why) for name, line, node in first if (why := wrong(line, node))]


@pytest.mark.parametrize("text", [
    '"""What a method is."""', '"""Metrics of numbers."""', 'def f():\n    """The mask of a batch."""',
    'class A:\n    """In 32 bits."""', 'class A:\n    """One vector a text."""',
])  # fmt: skip
def test_a_docstring_that_is_no_sentence_is_found(text: str) -> None:
    assert [wrong(line, node) for line, node in first_lines(ast.parse(text))] != [None]


NO_NOUN = {"Of", "By", "What", "How", "Whether", "Which"}
"""Words that an attribute's text does not begin with: it names the thing, with its unit or shape, or says when it is true."""


def attribute_texts(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the texts under attributes and variables, in modules, classes and functions, with their lines."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for before, after in itertools.pairwise(body if isinstance(body, list) else []):
            match before, after:
                case ast.Assign() | ast.AnnAssign(), ast.Expr(ast.Constant(str(text))):
                    yield text.strip(), after.lineno


@pytest.mark.parametrize("room", ROOMS)
def test_an_attribute_is_described_by_a_phrase_that_names_it(room: str) -> None:
    texts = [(name, line, text) for name, tree in files_of(room) for text, line in attribute_texts(tree)]
    assert not [place for place in texts if place[2].split(maxsplit=1)[0] in NO_NOUN]


@pytest.mark.parametrize("text", ['x = 1\n"""Of rows."""', 'class A:\n    x: int\n    """How many."""'])
def test_an_attribute_that_needs_the_line_above_is_found(text: str) -> None:
    ((words, _),) = attribute_texts(ast.parse(text))
    assert words.split(maxsplit=1)[0] in NO_NOUN


def depth(node: ast.AST) -> int:
    """Return how deep comprehensions stand within each other."""
    own = isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp)
    return own + max((depth(child) for child in ast.iter_child_nodes(node)), default=0)


@pytest.mark.parametrize("room", ROOMS)
def test_comprehensions_nest_at_most_once(room: str) -> None:
    """What nests deeper is a riddle, and gets a function with a name."""
    simple = ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return | ast.Expr | ast.Assert
    statements = [(name, node) for name, tree in files_of(room) for node in ast.walk(tree) if isinstance(node, simple)]
    assert not [(name, node.lineno) for name, node in statements if depth(node) > 2]


PRIVATE = {"own", "found", "said", "kept", "told"}
"""Names that say how a value was come by, and not what it is."""


def named_privately(tree: ast.AST) -> list[int]:
    """Return the lines on which a variable has such a name for longer than a comprehension."""
    comprehensions = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    short = {id(inner) for node in ast.walk(tree) if isinstance(node, comprehensions) for inner in ast.walk(node)}
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in short:
            lines += [node.lineno] if node.id in PRIVATE else []
        elif isinstance(node, ast.FunctionDef):
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            fields = {"property"} & {getattr(mark, "id", "") for mark in node.decorator_list}
            lines += [each.lineno for each in arguments if each.arg in PRIVATE and not fields]
    return lines


@pytest.mark.parametrize("room", ROOMS)
def test_variables_are_named_for_what_they_are(room: str) -> None:
    wrongly = []
    for name, tree in files_of(room):
        # A dataclass's field and what a class assigns to its own name is a name that callers read with the class before it.
        fields = {each.lineno for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for each in node.body}
        wrongly += [(name, line) for line in named_privately(tree) if line not in fields]
    assert not wrongly


@pytest.mark.parametrize(
    "text", ["found = 1", "for own in x:\n    pass", "def f(told):\n    return told", "if (said := x):\n    pass"]
)
def test_a_variable_that_is_named_privately_is_found(text: str) -> None:
    assert len(named_privately(ast.parse(text))) == 1


def test_a_comprehension_may_name_as_it_likes() -> None:
    assert not named_privately(ast.parse("x = [own for own in y if (found := own)]"))


def test_a_class_name_means_one_thing() -> None:
    """Events are named for what events.jsonl calls them, and read with their module (`events.Epoch`)."""
    classes = collections.Counter(
        node.name
        for room in ROOMS
        for name, tree in files_of(room)
        if name != "study/events.py"
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not [name for name, count in classes.items() if count > 1]
