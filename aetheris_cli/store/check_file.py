"""Checks of the file as a whole: SQLite's own, the schema, the settings, the payloads."""

import hashlib
import re
from collections.abc import Callable
from typing import Any, Final

from aetheris_cli.store import migrate
from aetheris_cli.store.findings import Finding, Findings, differs, shown
from aetheris_cli.store.sqlite_lib import sqlite3

Conn = Any
_HEX_32: Final = re.compile(r"[0-9a-f]{32}")
_COUNT: Final = re.compile(r"[1-9][0-9]{0,17}")
_TABLES: Final = """
SELECT name, type, tbl_name, sql FROM sqlite_schema WHERE name NOT GLOB 'sqlite_stat*'
"""
"""All but the statistics for SQLite's planner, which whoever runs ANALYZE leaves behind."""


def integrity(conn: Conn, path: str) -> Findings:
    """SQLite's own check of pages, indexes and constraints."""
    for (text,) in conn.execute("PRAGMA integrity_check"):
        if text != "ok":
            yield Finding(path, f"integrity: {text}")


def schema(conn: Conn, path: str) -> Findings:
    """Hold tables, indexes, triggers and views against what the migrations make."""
    blank = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate.build(blank)
        wanted = _things(blank)
    finally:
        blank.close()
    found = _things(conn)
    for name in sorted(wanted.keys() - found.keys()):
        yield Finding(path, f"{wanted[name][0]} {name} is missing", "nothing", wanted[name][2])
    for name in sorted(found.keys() - wanted.keys()):
        yield Finding(path, f"{found[name][0]} {name} is not ours", found[name][2], "nothing")
    for name in sorted(found.keys() & wanted.keys()):
        if found[name] != wanted[name]:
            yield differs(path, f"{wanted[name][0]} {name}", found[name][2], wanted[name][2])


def _things(conn: Conn) -> dict[str, tuple[str, str, str]]:
    rows = conn.execute(_TABLES).fetchall()
    return {name: (kind, table, " ".join((sql or "").split())) for name, kind, table, sql in rows}


def version(conn: Conn, path: str) -> Findings:
    """Check the number of the schema."""
    found = conn.execute("PRAGMA user_version").fetchone()[0]
    newest = migrate.known()[-1].number
    if found != newest:
        yield differs(path, "user_version", found, newest)


def meta(conn: Conn, path: str) -> Findings:
    """Check what the store says of itself, as far as anything else says it."""
    found = dict(conn.execute("SELECT name, value FROM meta").fetchall())
    for step in migrate.known():
        name = f"migration.{step.number:04}"
        if found.pop(name, None) != step.checksum:
            stored = conn.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
            yield differs(path, f"meta {name}", stored and stored[0], step.checksum)
    for name, (good, what) in _META.items():
        value = found.pop(name, None)
        if not (isinstance(value, str) and good(value)):
            yield differs(path, f"meta {name}", value, what)
    for name, value in found.items():
        yield Finding(path, f"meta {shown(name)} is not ours", shown(value), "nothing")


_META: Final[dict[str, tuple[Callable[[str], object], str]]] = {
    "made_by": (bool, "a version"),
    "store_id": (_HEX_32.fullmatch, "32 hexadecimal digits"),
    "generation": (_COUNT.fullmatch, "a number from 1"),
}


def payloads(conn: Conn, _path: str) -> Findings:
    """Check that each payload is what its digest says. One that nobody names is no error."""
    for digest, kind, body in conn.execute(
        "SELECT digest, typeof(body), CAST(body AS BLOB) FROM payloads"
    ):
        real = hashlib.sha256(body).hexdigest()
        if real != digest:
            yield Finding(
                shown(digest), "a payload is not what its digest says", real, shown(digest)
            )
        elif kind != "text" or not is_text(body):
            yield Finding(digest, "a payload is no text", kind, "text")


def is_text(body: bytes) -> bool:
    """Whether the bytes are UTF-8."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def strays(conn: Conn, path: str) -> Findings:
    """Let SQLite look for rows that refer to a job which is not there."""
    counts: dict[str, int] = {}
    for table, *_ in conn.execute("PRAGMA foreign_key_check"):
        counts[table] = counts.get(table, 0) + 1
    for table, rows in counts.items():
        yield Finding(path, f"{table} refers to jobs that are not there", f"{rows} rows", "0 rows")
