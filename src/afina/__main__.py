"""`python -m afina` is `afina`."""

import sys

__all__ = ["run"]


def run() -> None:
    """Run the command line, where Ctrl-C ends the first second too, in which Python still reads its modules."""
    try:
        from afina.cli.main import main
    except KeyboardInterrupt:
        sys.stderr.write("afina: Interrupted before anything began.\n")
        sys.exit(130)
    main()


if __name__ == "__main__":
    run()
