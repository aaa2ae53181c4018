"""Keep task files of others from running code here: functions that they name are refused, templates rendered in a sandbox."""

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from afina.errors import UsageError

__all__ = ["without_functions", "without_python"]

_HOW = "say --trust-tasks if you trust whoever wrote it"


@contextmanager
def without_python(*, trusted: bool = False) -> Iterator[None]:
    """Render the harness's templates in Jinja's sandbox, which keeps them from Python and the system.

    Raises `UsageError` for a template that asks for more, unless all are `trusted`: then it is the harness's own environment.
    """
    from lm_eval import utils

    if trusted:
        yield
        return
    plain = utils.env
    apart = ImmutableSandboxedEnvironment(
        loader=plain.loader, undefined=plain.undefined, keep_trailing_newline=plain.keep_trailing_newline
    )
    apart.filters.update(plain.filters)
    try:
        with _instead(utils, "env", apart):
            yield
    except SecurityError as error:
        raise UsageError(f"A task's template would run code ({error}); {_HOW}.") from None


@contextmanager
def _instead(module: Any, name: str, value: Any) -> Iterator[None]:
    """Put a value in the place of one of a module's, which stands there again afterwards."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


@contextmanager
def without_functions() -> Iterator[None]:
    """Refuse the Python that a task file names, but for the harness's own: its functions, and metrics that are scripts.

    Raises `UsageError` inside, or at the end for what the harness goes over with a warning.
    """
    import lm_eval
    from lm_eval.tasks import _yaml_loader

    harness, refused = Path(lm_eval.__file__).resolve().parent, list[str]()
    import_named, import_at = _yaml_loader._import_func_in_yml, _yaml_loader._import_fun_from_str

    def named(qualified: str, folder: Path) -> Any:
        # A task of the harness's own may name functions that stand beside it; nobody else's may.
        module, _, _ = qualified.rpartition(".")
        _check(Path(folder, f"{module.replace('.', '/')}.py"), qualified)
        return import_named(qualified, folder)

    def at(path: str) -> Any:
        _check(Path(f"{path.rpartition('.')[0].removesuffix('.py')}.py"), path)
        return import_at(path)

    def _check(file: Path, called: str) -> None:
        if not (file.exists() and file.resolve().is_relative_to(harness)):
            raise UsageError(f"it would run the Python function {called}; {_HOW}")

    def script(name: str, *_: Any, **__: Any) -> Any:
        # Noted as well, as the harness makes a warning of what is raised here.
        refused.append(name)
        raise UsageError(f"it would run the script of the metric {name}; {_HOW}")

    with ExitStack() as stack:
        stack.enter_context(_instead(_yaml_loader, "_import_func_in_yml", named))
        stack.enter_context(_instead(_yaml_loader, "_import_fun_from_str", at))
        if importlib.util.find_spec("evaluate") is not None:  # without it there are no metrics that are scripts
            stack.enter_context(_instead(importlib.import_module("evaluate"), "load", script))
        yield
    if refused:
        raise UsageError(f"it would run the script of the metric {refused[0]}; {_HOW}")
