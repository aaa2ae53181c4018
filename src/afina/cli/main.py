"""The `afina` command: those that this folder has, found by their registry; nothing heavy is imported before it is needed."""

import errno
import logging
import os
import sys
from functools import partial
from typing import Annotated

import typer

from afina.cli.command import add_commands
from afina.errors import AfinaError, is_short, printable, redacted, shortened

__all__ = ["app", "main"]

app = typer.Typer(
    help="Adapt a language model with the fine-tuning method that is worth it: train, measure, compare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
add_commands(app)
_INTERRUPTED = 130
"""The exit code that typer makes of Ctrl-C: 128 and the signal's number."""
_NO_MEMORY = (
    "Memory ran out; what is finished is kept. End other programs, raise the limit (ulimit), or take a smaller model, batch "
    "or length."
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from afina import __version__

        typer.echo(f"afina {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", is_eager=True, callback=_say_version)
    ] = False,
) -> None: ...


def _says_else(words: str, record: logging.LogRecord) -> bool:
    return words not in record.getMessage()


def main() -> None:
    """Run the command line; every expected error is one sentence on standard error."""
    # Nothing is sent anywhere: the libraries beneath would report usage to their hub.
    for name in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # ExecuTorch brings torchao, which transformers imports: it tells of its parts for other machines and of its own code.
    for name, words in {"torchao": "Failed to load", "torch.utils._pytree": "register_constant"}.items():
        logging.getLogger(name).addFilter(partial(_says_else, words))
    try:
        app()
    except AfinaError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except ValueError as error:
        from pydantic import ValidationError

        # Any other error of a value is a fault of ours, and is seen whole.
        if not isinstance(error, ValidationError):
            raise
        from afina.dataset_spec import DatasetSpec

        _say(f"{DatasetSpec.refusal(error)}.")  # an option that names a column, say
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:
            _say("Interrupted; what is finished is kept, and the same command goes on from there.")
        # typer has chosen the exit code.
        raise
    except KeyboardInterrupt:
        _say("Interrupted before anything began.")
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough.
        # What Python would flush on its way out has no reader either, and would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (MemoryError, RuntimeError, ImportError, OSError) as error:
        if is_short(error):
            _say(_NO_MEMORY)
        elif isinstance(error, OSError):
            _say(_of_the_system(error))
        else:
            raise
        sys.exit(1)


def _of_the_system(error: OSError) -> str:
    """Return what the operating system refused as a sentence; many such errors do not name their file."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full{where}: free some space and give the same command again; what is finished is kept."
    return f"{error.filename or 'A file'} cannot be read or written: {error.strerror or error}."


def _say(sentence: str) -> None:
    from rich.console import Console
    from rich.text import Text

    # A key may stand in an error of another program's.
    Console(stderr=True, soft_wrap=True).print(
        Text.assemble(("afina: ", "bold red"), printable(redacted(shortened(sentence))))
    )
