"""Strict configuration: files and environment to frozen specs, read when called."""
