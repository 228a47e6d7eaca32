"""Which functions look after a store at which address."""

import os
from pathlib import Path
from typing import Any

import aetheris_cli
from aetheris_cli.app.session import principal
from aetheris_cli.domain.errors import AetherisError, Conflict
from aetheris_cli.ports.clock import SystemClock
from aetheris_cli.store import backup as backing_up
from aetheris_cli.store import check as checking
from aetheris_cli.store import files, sources, sqlite_lib, upkeep
from aetheris_cli.store import migrate as migrating
from aetheris_cli.store import restore as restoring
from aetheris_cli.store.lockdir import lock_folder
from aetheris_cli.store.migrate import has_older_schema
from aetheris_cli.store.presence import host_id, living_workers, looker
from aetheris_cli.store.turnstile import Turnstile

NOT_COVERED = checking.NOT_COVERED


def check(url: str) -> list[dict[str, str]]:
    """Give every problem of the store."""
    return [one._asdict() for one in checking.check(files.store_path(url))]


def migrate(url: str) -> list[str]:
    """Bring a store to this version's schema; give the names of what was applied.

    Raises Conflict while a worker of it is alive: it would meet tables that it does not know.
    """
    path = files.store_path(url)
    files.prepare(path, create=False)
    locks, _ = lock_folder(path)
    if path.exists() and has_older_schema(path):
        living = living_workers(locks)
        if living:
            raise Conflict(
                f"{len(living)} workers run on {path}",
                why="they would meet tables that they do not know",
                fix=f"stop them first: {', '.join(living)}",
            )
    return migrating.migrate(
        path, locks, Turnstile(locks), create=False, made_by=aetheris_cli.__version__
    )


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
    problem = _opens(path) if path.exists() else ""
    return [
        {
            "id": "sqlite",
            "ok": sqlite_lib.FIXED,
            "what": version if sqlite_lib.FIXED else race,
        },
        {"id": "file system", "ok": network is None, "what": network or "local"},
        {
            "id": "store",
            "ok": not problem,
            "what": problem or (str(path) if path.exists() else f"{path} (not made yet)"),
        },
    ]


def _opens(path: Path) -> str:
    """Say why the store cannot be used as it is; empty: it can."""
    try:
        files.prepare(path, create=False)
        if has_older_schema(path):
            return f"{path} has an older schema: aetheris store migrate"
        if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
            return f"{path} cannot be written"
    except AetherisError as error:
        return f"{error.message}: {error.why}"
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""
