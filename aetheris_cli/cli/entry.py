"""Where the process begins: before anything heavy is imported, and whatever it was started with."""

import os
import sys

_STANDARD = (0, 1, 2)


def main() -> None:
    """Run the command line and leave with its exit code."""
    _occupy()
    try:
        from aetheris_cli.cli.main import main as run  # noqa: PLC0415 - so that Ctrl-C is heard

        code = run()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _occupy() -> None:
    """Make sure that stdin, stdout and stderr are open: else a store file takes their numbers.

    Then let nothing that is printed fail for its characters.
    """
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
