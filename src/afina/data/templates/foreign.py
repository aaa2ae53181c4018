"""Templates that others wrote, rendered with a limit of steps, time and size: what has none would stop here for ever.

Chat templates come with models, and are programs in Jinja. transformers renders them in a sandbox, which keeps them from
files and from Python; what they loop over and how large a text they make is theirs. Here every pass of a loop and every call
of a macro is counted, and a text, list or number that grows past the limit is refused before it is made. What a template may
use (its filters, its functions) is what transformers gives it, so that both write the same text.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from threading import Lock
from time import thread_time
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from afina.errors import UsageError

__all__ = ["render_template"]

STEPS = 200_000
"""Passes of loops and calls of macros in one rendering, at most; the longest conversations have a few thousand turns."""
SECONDS = 1.0
"""Seconds of processor time of this thread, at most: a busy machine refuses no template."""
SIZE = 16 << 20
"""Characters of a text, or items of a list, at most."""
_WIDEST = 100_000
"""The largest number that a filter or a method is given: widths, indents, repetitions."""

_SLOW = {"wordwrap": 10_000, "urlize": 100_000, "striptags": 1_000_000, "title": 1_000_000, "wordcount": 1_000_000}
"""Filters whose time grows faster than a text, with the longest text that they are given."""


class _Stopped(Exception):
    """A template went beyond a limit; says which."""


class _Generation(Extension):
    """transformers' mark of what an assistant says; who finds that otherwise may read over it."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> Any:
        # The mark's own word is passed over, and all between it and its end is kept.
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Counted(NodeTransformer):
    """Puts a step at the start of every loop's and macro's body, and a checked call in place of `~`."""

    def _stepping(self, node: Any) -> Any:
        self.generic_visit(node)
        call = nodes.Call(nodes.EnvironmentAttribute("step"), [], [], None, None, lineno=node.lineno)
        node.body.insert(0, nodes.ExprStmt(call, lineno=node.lineno))
        return node

    visit_For = visit_Macro = visit_CallBlock = _stepping

    def visit_Concat(self, node: Any) -> Any:
        self.generic_visit(node)
        return nodes.Call(nodes.EnvironmentAttribute("joined"), node.nodes, [], None, None, lineno=node.lineno)


class _Bounded(ImmutableSandboxedEnvironment):
    """transformers' environment with limits; one is made for each template, and renders one conversation at a time."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols], finalize=self._written
        )
        theirs = _transformers_environment()
        self.globals.update({name: value for name, value in theirs.globals.items() if name not in self.globals})
        del self.globals["lipsum"]  # makes texts of any length of nothing
        self.globals |= {name: theirs.globals[name] for name in ("dict", "namespace") if name in theirs.globals}
        self.filters["tojson"] = theirs.filters["tojson"]
        self.filters = {name: _guarded(self, name, given) for name, given in self.filters.items()}
        self.lock = Lock()
        self.begin()

    def begin(self) -> None:
        """Begin to count for one rendering."""
        # Counted anew for each conversation, and not for each template.
        self.steps = self.size = 0
        self.until = thread_time() + SECONDS

    def step(self) -> str:
        self.steps += 1
        if self.steps > STEPS:
            raise _Stopped(f"it takes more than {STEPS:,} steps")
        if thread_time() > self.until:
            raise _Stopped(f"it computes for more than {SECONDS:g} s")
        # Nothing is to stand in the text where it is called.
        return ""

    def joined(self, *parts: Any) -> str:
        # Sizes before joining: adding texts one by one would make all of them first.
        text = [str(part) for part in parts]
        _fits(sum(map(len, text)))
        return "".join(text)

    def _written(self, value: Any) -> Any:
        # Everything that is written passes here once, also inside macros and blocks that are written again.
        text = str(value)
        self.size += len(text)
        _fits(self.size)
        return text

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _check_operands(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        method = getattr(function, "__wrapped__", function)  # the sandbox wraps `str.format`
        owner = getattr(method, "__self__", None)
        _check_arguments((owner, *args) if isinstance(owner, str | bytes | list | tuple) else args, kwargs)
        return super().call(context, function, *args, **kwargs)


def _guarded(environment: _Bounded, name: str, given: Callable[..., Any]) -> Callable[..., Any]:
    def filtered(*args: Any, **kwargs: Any) -> Any:
        _check_arguments(args, kwargs)
        if name in _SLOW and any(isinstance(value, str) and len(value) > _SLOW[name] for value in args):
            raise _Stopped(f"it gives '{name}' a text of more than {_SLOW[name]:,} characters")
        # The filter's result too, as a list may be made longer than its text was.
        value = given(*args, **kwargs)
        if isinstance(value, str | list):
            _fits(len(value))
        return value

    # What jinja hands a filter beside its value (context, environment) is marked on the function.
    for mark in ("jinja_pass_arg", "jinja_async_variant"):
        if hasattr(given, mark):
            setattr(filtered, mark, getattr(given, mark))
    return filtered


def _check_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    sizes = [1]
    for value in (*args, *kwargs.values()):
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _WIDEST:
            raise _Stopped(f"it asks for a width or count of {value if abs(value) < 10**20 else 'many digits'}")
        if isinstance(value, str | list | tuple | dict | range):
            sizes.append(max(1, len(value)))
            _check_format(value)
    _fits(max(sizes))
    sizes.sort()
    _fits(sizes[-1] * sizes[-2] // 8 if len(sizes) > 2 else 0)


def _check_format(value: Any) -> None:
    """Refuse a format such as `%999999999d` or `{:>999999999}`."""
    if isinstance(value, str) and ("%" in value or "{" in value):
        digits = 0
        for place, letter in enumerate(value):
            digits = digits + 1 if letter.isdigit() else 0
            # A format's width stands between its mark and its letter.
            if digits > 6 and set(value[max(0, place - digits - 12) : place - digits + 1]) & set("%{"):
                raise _Stopped("it asks for a width of many digits")


def _check_operands(operator: str, left: Any, right: Any) -> None:
    sized = (str, bytes, list, tuple)
    if operator == "*":
        for one, times in ((left, right), (right, left)):
            if isinstance(one, sized) and isinstance(times, int):
                _fits(len(one) * max(0, times))
    elif operator == "+" and isinstance(left, sized) and isinstance(right, sized):
        _fits(len(left) + len(right))
    elif operator == "%" and isinstance(left, str):
        _check_format(left)
        _check_arguments(right if isinstance(right, tuple) else (right,), {})
    # Numbers of thousands of digits take longer to multiply than a rendering may last.
    numbers = [value.bit_length() for value in (left, right) if isinstance(value, int)]
    if len(numbers) == 2 and (sum(numbers) > 4_000 or (operator == "**" and numbers[0] * max(0, right) > 4_000)):
        raise _Stopped("it makes numbers of many digits")


def _fits(size: int) -> None:
    if size > SIZE:
        raise _Stopped(f"it makes a text or a list of {size:,} characters or items")


def _transformers_environment() -> Any:
    from transformers.utils.chat_template_utils import _compile_jinja_template

    # From the very environment of transformers, as what is in it differs by version.
    return _compile_jinja_template("").environment


@lru_cache(maxsize=32)
def _compiled(source: str) -> tuple[_Bounded, Any]:
    environment = _Bounded()
    tree = _Counted().visit(environment.parse(source))
    code = environment.compile(tree)
    return environment, environment.template_class.from_code(environment, code, environment.make_globals(None))


def render_template(source: str, values: Mapping[str, Any], *, what: str) -> str:
    """Return what a template writes with these values.

    Raises `UsageError` for one that is no Jinja, that fails (a division by zero, another file) or does not end within the
    limits; `TemplateError` is left to the caller, for it is how a template refuses what it is given.
    """
    try:
        environment, template = _compiled(source)
        # One at a time: steps are counted on the environment.
        with environment.lock:
            environment.begin()
            pieces, size = [], 0
            for piece in template.generate(**values):
                size += len(piece)
                _fits(size)
                pieces.append(piece)
            return "".join(pieces)
    except _Stopped as error:
        raise UsageError(f"{what} does not end as a template should: {error}.") from None
    except TemplateError as error:
        # `TemplateError` itself is raised by a template on purpose, its kinds by Jinja.
        if type(error) is TemplateError:
            raise
        line = f", line {number}" if (number := getattr(error, "lineno", None)) else ""
        raise UsageError(f"{what} is no template that can be used{line} ({type(error).__name__}: {error}).") from None
    except RecursionError:
        raise UsageError(f"{what} does not end as a template should: it calls itself too deeply.") from None
    except Exception as error:  # a foreign program may raise anything
        reason = " ".join(str(error).split())[:160]
        raise UsageError(f"{what} fails ({type(error).__name__}: {reason}).") from None
