"""Which SQLite this process uses: chosen once, here, for all code.

SQLite 3.7.0 to 3.51.2 has a race between a checkpoint and a commit of another connection that
can corrupt a WAL file (fixed in 3.51.3, 3.50.7 and 3.44.6). The standard library's copy is used
when it is a fixed one, else `pysqlite3`, the drop-in that sqlite-utils picks up as well. Two
copies in one process do not see each other's locks, so nothing else may import either.
"""

import importlib
import sqlite3 as _standard
from types import ModuleType
from typing import Any, Final

Version = tuple[int, int, int]


def is_fixed(version: Version) -> bool:
    """Say whether this SQLite is free of the WAL-reset race."""
    return (
        version >= (3, 51, 3)
        or (3, 50, 7) <= version < (3, 51, 0)
        or (3, 44, 6) <= version < (3, 45, 0)
    )


def _choose() -> ModuleType:
    try:
        # sqlite-utils takes pysqlite3 whenever it can be imported, so it must win here too.
        return importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        return _standard


sqlite3: Final[Any] = _choose()
VERSION: Final[Version] = tuple(sqlite3.sqlite_version_info)
FIXED: Final[bool] = is_fixed(VERSION)
