"""Composition: opens a store and puts the parts around it together."""

import asyncio
import gc
import getpass
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aetheris_cli.app.registry import CodeRegistry
from aetheris_cli.control.control import Control
from aetheris_cli.domain.errors import StoreUnavailable
from aetheris_cli.domain.records import WorkerRow
from aetheris_cli.domain.states import SILENT
from aetheris_cli.engine.worker import Settings, Worker
from aetheris_cli.ports.clock import SystemClock
from aetheris_cli.ports.code import Registry
from aetheris_cli.store.presence import FilePresence, host_id, looker
from aetheris_cli.store.sqlstore import SqlStore


def principal() -> str:
    """Name who is acting: the user of this process."""
    try:
        return getpass.getuser().encode("utf-8", "replace").decode()
    except (KeyError, OSError):
        return f"uid:{os.getuid()}"


def settle_in() -> None:
    """Make the garbage collector of a process that is nothing but a worker look less often.

    What was imported lives as long as the process, and what a step makes is mostly gone when
    the step is: looking at all of it again and again is a fifth of what a step costs.
    """
    gc.freeze()
    gc.set_threshold(5_000, 10, 5)


class Session:
    """An open store with its operations."""

    def __init__(self, store: SqlStore, registry: CodeRegistry) -> None:
        self.store = store
        self.registry: Registry = registry
        self.clock = SystemClock()
        self.control = Control(store, self.clock, principal(), self.is_gone)
        self._looker: Callable[[WorkerRow], bool] | None = None

    def worker(self, settings: Settings) -> Worker:
        """Make a worker of this process. `begin` and `serve` run it."""
        return Worker(self.store, self.registry, self.clock, self._presence, settings)

    def _presence(self, worker: str) -> FilePresence:
        host = host_id(os.environ.get("AETHERIS_HOST_ID"))
        return FilePresence(self.store.locks, self.store.lock_dir, worker, host)

    def is_gone(self, worker: WorkerRow) -> bool:
        """Whether it is proven that nothing of a worker runs any more."""
        if self._looker is None:
            host = host_id(os.environ.get("AETHERIS_HOST_ID"))
            self._looker = looker(self.store.locks, self.store.lock_dir, host)
        return worker.status in SILENT or self._looker(worker)


@asynccontextmanager
async def opened(
    url: str, registry: CodeRegistry, *, create: bool = False
) -> AsyncIterator[Session]:
    """Open the store at `url` for as long as the block runs."""
    try:
        store = await asyncio.to_thread(SqlStore.open, url, create=create)
    except OSError as error:
        raise StoreUnavailable(
            f"the store {url} cannot be used: {error.strerror or error}",
            why=f"{type(error).__name__} at {error.filename}" if error.filename else repr(error),
            fix="check that its folder exists, is yours and can be written, or give --store",
        ) from error
    try:
        yield Session(store, registry)
    finally:
        await store.close()
