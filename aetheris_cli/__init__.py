"""Aetheris: runtime, command line and SDK in one distribution."""

from typing import Final

__version__: Final = "0.1.0"
