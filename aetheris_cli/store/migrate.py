"""Migrations: numbered, checksummed files, applied under one exclusive transaction."""

import hashlib
import re
import secrets
from importlib import resources
from pathlib import Path
from typing import Any, Final, NamedTuple

from aetheris_cli.domain.errors import NotFound, StoreDamaged, StoreTooNew, StoreUnavailable
from aetheris_cli.store import files, lockdir
from aetheris_cli.store.connection import connect, translate
from aetheris_cli.store.sqlite_lib import sqlite3
from aetheris_cli.store.turnstile import Turnstile

APPLICATION_ID: Final = 0x41657468
"""Stands in the file's header, so that other SQLite files are told apart."""


PATIENCE_S: Final = 15.0
"""How long to wait for whoever is writing."""


class Migration(NamedTuple):
    """One step of the schema."""

    number: int
    name: str
    text: str
    checksum: str


def known() -> list[Migration]:
    """Give all migrations in order."""
    found = []
    for entry in resources.files("aetheris_cli.store.migrations.sqlite").iterdir():
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", entry.name)
        if match:
            text = entry.read_text("utf-8")
            checksum = hashlib.sha256(text.encode()).hexdigest()
            found.append(Migration(int(match[1]), match[2], text, checksum))
    return sorted(found)


def migrate(
    path: Path, locks: Path, turnstile: Turnstile, *, create: bool, made_by: str
) -> list[str]:
    """Bring the store at `path` to this version's schema; give the names of what was applied.

    Raises NotFound when there is no file and `create` is false, StoreTooNew, StoreDamaged for
    a file that is not a store of ours, and what opening raises.
    """
    if not create and not path.exists():
        raise missing(path)
    if path.exists() and up_to_date(path, locks):
        return []
    turnstile.enter_within(PATIENCE_S)
    try:
        return _bring_up(path, locks, made_by)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    finally:
        turnstile.leave()


def up_to_date(path: Path, locks: Path) -> bool:
    """Whether the file lacks nothing, so that nobody need wait to write. Raises as `migrate`."""
    if not path.stat().st_size:
        return False
    conn = connect(path, look=lambda conn: check(conn, path))
    try:
        newest = check(conn, path) == known()[-1].number
        return newest and lockdir.noted_generation(locks) >= generation_of(conn)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    finally:
        conn.close()


def has_older_schema(path: Path) -> bool:
    """Whether the file is a store that an older version has made. Raises as `migrate`."""
    if not path.stat().st_size:
        return False
    conn = connect(path, look=lambda conn: check(conn, path))
    try:
        return 0 < check(conn, path) < known()[-1].number
    except sqlite3.Error as error:
        raise translate(error, path) from error
    finally:
        conn.close()


def _bring_up(path: Path, locks: Path, made_by: str) -> list[str]:
    former = lockdir.highest_generation(path, locks)
    if new := not path.exists():
        _make(path)
    look = check if new or not former else check_made
    conn = connect(path, look=lambda conn: look(conn, path))
    try:
        names = apply(conn, path, made_by, generation=former + 1)
        lockdir.note_generation(locks, generation_of(conn))
    finally:
        conn.close()
    return names


def missing(path: Path) -> NotFound | StoreDamaged:
    """Give the error that there is no store: none yet, or none any more."""
    log = path.with_name(path.name + "-wal")
    left = [*lockdir.aside_of(path), *([log] if log.exists() and log.stat().st_size else [])]
    if not left:
        return NotFound(
            f"there is no store at {path}",
            why="nothing has been submitted there yet",
            fix="run `aetheris store init`, or name another with --store",
        )
    return StoreDamaged(
        f"the store file {path} is gone",
        why=f"{left[-1].name} beside it shows that there was one",
        fix="restore a backup, or what was moved aside, with `aetheris store restore FILE`; "
        "to begin anew, move those files away",
    )


def _make(path: Path) -> None:
    """Make the file of a new store, but not where one has only lost its file."""
    error = missing(path)
    if isinstance(error, StoreDamaged):
        raise error
    with files.in_words(path):
        files.make_private(path)
        files.sync(path.parent)


def generation_of(conn: Any) -> int:  # noqa: ANN401 - whichever SQLite this is
    """Give how often this store has gone back in time, and one."""
    found = conn.execute("SELECT value FROM meta WHERE name = 'generation'").fetchone()
    return int(found[0]) if found else 0


def apply(conn: Any, path: Path, made_by: str, *, generation: int = 1) -> list[str]:  # noqa: ANN401
    """Apply what an open file lacks; give the names. Raises as `migrate` does.

    `generation`: that of a store which this makes.
    """
    version = check(conn, path)
    todo = [step for step in known() if step.number > version]
    if not todo:
        return []
    conn.execute("BEGIN EXCLUSIVE")
    try:
        for step in todo:
            _take(conn, step)
            put = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)"
            conn.execute(put, (f"migration.{step.number:04}", step.checksum))
        conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        conn.execute(f"PRAGMA user_version = {todo[-1].number}")
        conn.execute(put, ("made_by", made_by))
        if version == 0:
            conn.execute(put, ("store_id", secrets.token_hex(16)))
            conn.execute(put, ("generation", str(generation)))
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
    return [f"{step.number:04}_{step.name}" for step in todo]


def check(conn: Any, path: Path) -> int:  # noqa: ANN401
    """Give the schema version of an open file; refuse what is not ours, newer or altered."""
    version = belongs(conn, path)
    if version <= 0 and (version or conn.execute("SELECT 1 FROM sqlite_schema").fetchone()):
        raise StoreDamaged(
            f"{path} says that its schema is {version}, but it has tables",
            why="something other than Aetheris has changed it",
            fix="restore a backup with `aetheris store restore FILE`",
        )
    if version == 0:
        return 0
    if not _has_meta(conn):
        raise StoreDamaged(
            f"{path} lacks tables that a store has",
            why="something other than Aetheris has changed it",
            fix="restore a backup with `aetheris store restore FILE`",
        )
    meta = dict(conn.execute("SELECT name, value FROM meta").fetchall())
    for step in known():
        recorded = meta.get(f"migration.{step.number:04}")
        if step.number <= version and recorded != step.checksum:
            raise StoreUnavailable(
                f"{path} was made with another text of migration {step.number:04}_{step.name}",
                why="its tables may differ from what this version expects",
                fix="use the version that made it; `aetheris store check` shows more",
            )
    return version


def check_made(conn: Any, path: Path) -> int:  # noqa: ANN401
    """Give the schema version as `check` does, and refuse a file that is empty as well."""
    version = check(conn, path)
    if version == 0:
        raise StoreDamaged(
            f"{path} is empty",
            why="a store has been there; a new one in its place would hide that its jobs are gone",
            fix="restore a backup with `aetheris store restore FILE`; to begin anew, delete "
            f"{path} and {path.name}{lockdir.LOCKS_SUFFIX}",
            empty=True,
        )
    return version


def belongs(conn: Any, path: Path) -> int:  # noqa: ANN401
    """Give the schema version of an open file; refuse what is not ours, or newer."""
    version = int(conn.execute("PRAGMA user_version").fetchone()[0])
    application = int(conn.execute("PRAGMA application_id").fetchone()[0])
    tables = int(conn.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
    if application != APPLICATION_ID and (tables or application or version):
        raise StoreDamaged(
            f"{path} is an SQLite file of another program",
            why="it lacks the mark that Aetheris writes into its stores",
            fix="name another file with --store",
        )
    newest = known()[-1].number
    if version > newest:
        raise StoreTooNew(
            f"{path} was made by Aetheris {_maker(conn)}",
            why=f"its schema is {version}, this version knows {newest}",
            fix="use that version or a newer one",
        )
    return version


def _has_meta(conn: Any) -> bool:  # noqa: ANN401
    found = conn.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'").fetchone()[0]
    return bool(found)


def _maker(conn: Any) -> str:  # noqa: ANN401
    if not _has_meta(conn):
        return "(unknown)"
    found = conn.execute("SELECT value FROM meta WHERE name = 'made_by'").fetchone()
    return str(found[0]) if found else "(unknown)"


def build(conn: Any) -> None:  # noqa: ANN401
    """Make everything that the newest schema has, in an empty database."""
    for step in known():
        _take(conn, step)


def _take(conn: Any, step: Migration) -> None:  # noqa: ANN401
    for statement in _statements(step.text):
        conn.execute(statement)


def _statements(text: str) -> list[str]:
    """Split a migration at its semicolons; no migration has one inside a literal."""
    bare = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return [part.strip() for part in bare.split(";") if part.strip()]
