"""`afina plan`: what a study will cost, before anything starts."""

import typer


def register(app: typer.Typer) -> None:
    """Placed once the estimator is there."""
