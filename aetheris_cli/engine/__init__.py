"""The runtime: contexts, runs, the ledger, the worker. It reaches adapters only through ports."""
