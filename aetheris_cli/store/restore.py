"""Put a backup in the place of a store: going back in time, said out loud.

What happened after the backup was made is not in it, unsafe calls among that. So the store's
generation is raised, and every open job is parked as `restored`: a person says of each whether
it may go on. The store that was there is moved aside and stays whole.
"""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aetheris_cli.domain.errors import Conflict, NotFound, StoreDamaged
from aetheris_cli.domain.records import WorkerRow
from aetheris_cli.store import aging, files, migrate
from aetheris_cli.store.connection import connect, translate
from aetheris_cli.store.presence import is_held
from aetheris_cli.store.sqlite_lib import sqlite3
from aetheris_cli.store.turnstile import Turnstile


class Restored(NamedTuple):
    """What a restore has done."""

    path: Path
    aside: Path | None
    """Where the store that was there has gone; None: there was none."""
    generation: int
    parked: int
    """How many open jobs wait for a person's consent."""


def restore(
    path: Path, source: Path, now: int, actor: str, is_gone: Callable[[WorkerRow], bool]
) -> Restored:
    """Replace the store at `path` by a copy of the backup `source`.

    Raises NotFound, Conflict while a worker lives, and what opening either file raises; then
    nothing has changed.
    """
    if not source.exists():
        raise NotFound(f"there is no backup at {source}")
    files.prepare(path, create=True)
    locks, _ = files.lock_folder(path)
    turnstile = Turnstile(locks)
    turnstile.enter()
    try:
        return _restore(path, source, now, actor, is_gone)
    except sqlite3.Error as error:
        raise translate(error, source) from error
    finally:
        turnstile.leave()
        turnstile.close()


def _restore(
    path: Path, source: Path, now: int, actor: str, is_gone: Callable[[WorkerRow], bool]
) -> Restored:
    former = _former(path, is_gone) if path.exists() else 0
    copy = path.with_name(f"{path.name}.restoring-{secrets.token_hex(4)}")
    try:
        _copy(source, copy)
        generation, parked = aging.age(copy, former, now, actor, source.name)
        aside = _move_aside(path, former)
        copy.rename(path)
    finally:
        for suffix in ("", "-wal", "-shm"):
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return Restored(path, aside, generation, parked)


def _former(path: Path, is_gone: Callable[[WorkerRow], bool]) -> int:
    """Make sure that nobody works on the store that is replaced, and give its generation."""
    try:
        return _put_to_rest(path, is_gone)
    except StoreDamaged as error:
        # SQLite's own verdict: this is what backups are for. A file of another program is not.
        if not isinstance(error.__cause__, sqlite3.Error):
            raise
    locks, _ = files.lock_folder(path)
    held = [lock.stem for lock in locks.glob("wrk_*.lock") if is_held(lock)]
    if held:
        raise Conflict(
            f"{len(held)} workers run on {path}",
            why="it is damaged, but they may still write to it",
            fix=f"stop them first: {', '.join(held)}",
        )
    return 0


def _put_to_rest(path: Path, is_gone: Callable[[WorkerRow], bool]) -> int:
    """Bring everything of the live store into its one file, and give its generation."""
    conn = connect(path, look=lambda conn: migrate.check(conn, path))
    try:
        rows = conn.execute("SELECT * FROM workers WHERE status = 'alive'").fetchall()
        living = [worker.id for worker in (WorkerRow(*row) for row in rows) if not is_gone(worker)]
        if living:
            raise Conflict(
                f"{len(living)} workers run on {path}",
                why="they would go on with jobs of the store that is replaced",
                fix="stop them first; `aetheris workers` lists them",
            )
        busy = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise Conflict(f"{path} is in use", why="another program reads it", fix="try again")
        return aging.generation_of(conn)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    finally:
        conn.close()


def _copy(source: Path, copy: Path) -> None:
    conn = connect(source, look=lambda conn: migrate.check(conn, source))
    try:
        conn.execute("VACUUM INTO ?", (str(copy),))
    finally:
        conn.close()
    os.chmod(copy, 0o600)  # noqa: PTH101 - what SQLite made


def _move_aside(path: Path, generation: int) -> Path | None:
    if not path.exists():
        return None
    aside = path.with_name(f"{path.name}.generation-{generation}")
    while aside.exists():
        aside = path.with_name(f"{path.name}.generation-{generation}-{secrets.token_hex(4)}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside
