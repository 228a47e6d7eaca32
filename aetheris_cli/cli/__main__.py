"""`python -m aetheris_cli.cli` is `aetheris`."""

from aetheris_cli.cli.entry import main

main()
