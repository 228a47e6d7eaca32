"""`python -m aetheris_cli.cli` is `aetheris`."""

from aetheris_cli.cli.main import main

main()
