"""`afina rag`: index documents, search them, and answer from them with citations."""

from afina.cli.command import PANELS, command

__all__ = ["rag"]


@command("rag", panel=PANELS[2])
def rag() -> None:
    """Index documents, search them, and have questions answered from them."""
