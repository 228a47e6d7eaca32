"""Aetheris: runtime, command line and SDK in one distribution."""
