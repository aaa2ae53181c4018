"""`python -m afina` is `afina`."""

from afina.cli.main import main

main()
