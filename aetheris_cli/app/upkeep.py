"""Which functions look after a store at which address."""

import os
from pathlib import Path
from typing import Any

from aetheris_cli.app.session import principal
from aetheris_cli.ports.clock import SystemClock
from aetheris_cli.store import backup as backing_up
from aetheris_cli.store import files, sources, sqlite_lib, upkeep
from aetheris_cli.store import restore as restoring
from aetheris_cli.store.lockdir import lock_folder
from aetheris_cli.store.presence import host_id, looker


def check(url: str) -> list[dict[str, str]]:
    """Give every problem of the store."""
    return upkeep.check(files.store_path(url))


def stats(url: str) -> dict[str, Any]:
    """Count what the store holds."""
    return upkeep.stats(files.store_path(url))


def backup(url: str, target: Path) -> Path:
    """Copy the store into a new file."""
    return backing_up.backup(files.store_path(url), target)


def find_backup(source: Path) -> None:
    """Raise NotFound and StoreUnavailable unless there is a file to restore from."""
    sources.find(source)


def restore(url: str, source: Path) -> restoring.Restored:
    """Put a backup in the place of the store."""
    path = files.store_path(url)
    files.prepare(path, create=True)
    locks, lock_dir = lock_folder(path)
    gone = looker(locks, lock_dir, host_id(os.environ.get("AETHERIS_HOST_ID")))
    return restoring.restore(path, source, SystemClock().now_ms(), principal(), gone)


def machine(url: str) -> list[dict[str, Any]]:
    """Give what of this machine matters to the store, each with whether it is well."""
    path = files.store_path(url)
    network = files.network_file_system(path.parent) if path.parent.is_dir() else None
    version = ".".join(map(str, sqlite_lib.VERSION))
    race = f"{version} has the WAL-reset race: install pysqlite3"
    return [
        {
            "id": "sqlite",
            "ok": sqlite_lib.FIXED,
            "what": version if sqlite_lib.FIXED else race,
        },
        {"id": "file system", "ok": network is None, "what": network or "local"},
        {
            "id": "store",
            "ok": True,
            "what": str(path) if path.exists() else f"{path} (not made yet)",
        },
    ]
