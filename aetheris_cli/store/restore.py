"""Put a backup in the place of a store: going back in time, said out loud.

What happened after the backup was made is not in it, unsafe calls among that. So the store's
generation is raised, and every open job is parked as `restored`: a person says of each whether
it may go on. The store that was there is moved aside and stays whole.

A restore that is killed at any moment leaves the former store or the restored one in place, and
never neither. The order is: the copy is made ready under a name of its own; the new generation
is noted; every program that has the store open is stopped (see `anchor`); the former file gets
its second name; its log, which is empty unless it is damaged, is moved there too; and one rename
puts the copy in its place. A log that stayed behind would be taken for that of the new file.
"""

import contextlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aetheris_cli.domain.errors import Conflict, StoreDamaged
from aetheris_cli.domain.records import WorkerRow
from aetheris_cli.ports import failpoints
from aetheris_cli.store import aging, anchor, files, lockdir, migrate, sources
from aetheris_cli.store.connection import connect, translate
from aetheris_cli.store.presence import is_held
from aetheris_cli.store.sqlite_lib import sqlite3
from aetheris_cli.store.turnstile import Turnstile

IsGone = Callable[[WorkerRow], bool]


class Restored(NamedTuple):
    """What a restore has done."""

    path: Path
    aside: Path | None
    """Where the store that was there has gone; None: there was none."""
    generation: int
    parked: int
    """How many open jobs wait for a person's consent."""


def restore(path: Path, source: Path, now: int, actor: str, is_gone: IsGone) -> Restored:
    """Replace the store at `path` by a copy of the backup `source`.

    Raises NotFound, Conflict while a worker lives, and what opening either file raises; then
    nothing has changed.
    """
    sources.find(source)
    files.prepare(path, create=True)
    locks, _ = lockdir.lock_folder(path)
    turnstile = Turnstile(locks)
    turnstile.enter_within(migrate.PATIENCE_S)
    try:
        with files.in_words(path):
            return _restore(path, locks, source, now, actor, is_gone)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    finally:
        turnstile.leave()
        turnstile.close()


def _restore(
    path: Path, locks: Path, source: Path, now: int, actor: str, is_gone: IsGone
) -> Restored:
    former = _former(path, locks, is_gone) if path.exists() else 0
    known = max(former, lockdir.highest_generation(path, locks))
    _sweep(path)
    copy = path.with_name(f"{path.name}.restoring-{secrets.token_hex(4)}")
    try:
        files.make_private(copy)
        sources.copy(source, copy)
        failpoints.hit("restore.after_copy")
        generation, parked = aging.age(copy, known, now, actor, source.name)
        files.sync(copy)
        failpoints.hit("restore.before_note")
        lockdir.note_generation(locks, generation)
        anchor.weigh(locks)
        failpoints.hit("restore.after_note")
        aside = _set_aside(path, former or known)
        failpoints.hit("restore.before_rename")
        copy.replace(path)
        failpoints.hit("restore.after_rename")
        files.sync(path.parent)
    finally:
        _remove(copy)
    return Restored(path, aside, generation, parked)


def _sweep(path: Path) -> None:
    """Remove what a restore has left that was killed."""
    for one in list(path.parent.iterdir()):
        if one.name.startswith(f"{path.name}.restoring-"):
            one.unlink(missing_ok=True)


def _remove(copy: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)


def _former(path: Path, locks: Path, is_gone: IsGone) -> int:
    """Make sure that nobody works on the store that is replaced, and give its generation."""
    try:
        return _put_to_rest(path, is_gone)
    except StoreDamaged as error:
        # SQLite's own verdict, or an empty file where a store has been: this is what backups
        # are for. A file of another program is not.
        if not (isinstance(error.__cause__, sqlite3.Error) or "empty" in error.details):
            raise
    held = [lock.stem for lock in locks.glob("wrk_*.lock") if is_held(lock)]
    if held:
        raise Conflict(
            f"{len(held)} workers run on {path}",
            why="it is damaged, but they may still write to it",
            fix=f"stop them first: {', '.join(held)}",
        )
    return 0


def _put_to_rest(path: Path, is_gone: IsGone) -> int:
    """Bring everything of the live store into its one file, and give its generation."""
    conn = connect(path, look=lambda conn: migrate.check_made(conn, path))
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
        return migrate.generation_of(conn)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    finally:
        conn.close()


def _set_aside(path: Path, generation: int) -> Path | None:
    """Give the former store a second name, and its log that name alone."""
    aside = path.with_name(f"{path.name}.generation-{generation}")
    while any(aside.with_name(aside.name + suffix).exists() for suffix in ("", "-wal", "-shm")):
        aside = path.with_name(f"{path.name}.generation-{generation}-{secrets.token_hex(4)}")
    there = path.exists()
    if there:
        aside.hardlink_to(path)
        aside.chmod(0o600)
        files.sync(path.parent)
        failpoints.hit("restore.after_link")
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            log = path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
            log.chmod(0o600)
    return aside if there else None
