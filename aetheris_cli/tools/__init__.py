"""Adapters that turn a kind of tool into something the ledger can call."""
