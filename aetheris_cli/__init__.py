"""Aetheris: runtime, command line and SDK in one distribution."""

__version__ = "0.1.0"
