"""Adapters that turn a kind of agent into something the engine can run."""
