"""What authors of agents need for their tests."""

from aetheris_cli.testing.harness import Ran, run
from aetheris_cli.testing.witness import Witness

__all__ = ["Ran", "Witness", "run"]
