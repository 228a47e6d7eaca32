"""What lies around a store file: its folder, its lock directory, and what they must be like."""

import contextlib
import ctypes
import os
import secrets
import sys
from pathlib import Path
from typing import Final

from aetheris_cli.domain.errors import StoreUnavailable, UsageError

LOCKS_SUFFIX: Final = "-locks"

_NETWORK_FS: Final = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFE534D42: "SMB2",
    0xFF534D42: "CIFS",
    0x01021997: "9p",
    0x65735546: "FUSE",
    0x00C36400: "Ceph",
    0x5346414F: "AFS",
    0x47504653: "GPFS",
}


def store_path(url: str) -> Path:
    """Read `sqlite:///relative`, `sqlite:////absolute` or a plain path. Raises UsageError."""
    scheme, sep, rest = url.partition("://")
    if not sep:
        path = url
    elif scheme == "sqlite" and rest.startswith("/"):
        path = rest[1:]
    else:
        raise UsageError(
            f"{url!r} is not the address of a store",
            why="this version reads sqlite:///path/to/file.db and plain paths",
            fix="write for example sqlite:///jobs.db",
        )
    if not path or "\0" in path or path.startswith(":memory:"):
        raise UsageError(
            f"{url!r} names no file", why="a store is a file", fix="write sqlite:///jobs.db"
        )
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - no symlink resolution


def prepare(path: Path, *, create: bool) -> None:
    """Make sure that a store can live at `path`; make its folder when `create`.

    Raises StoreUnavailable for a network file system, a directory, a device or a pipe.
    """
    if create and not path.parent.exists():
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    if path.exists() and not path.is_file():
        raise StoreUnavailable(
            f"{path} is not a file", why="a store is one SQLite file", fix="name another path"
        )
    if not path.parent.is_dir():
        raise StoreUnavailable(
            f"{path.parent} is not a folder", why="the store's file would be in it"
        )
    kind = network_file_system(path.parent)
    if kind is not None and not os.environ.get("AETHERIS_ALLOW_NETWORK_FS"):
        raise StoreUnavailable(
            f"{path} is on {kind}",
            why="SQLite's locks and its log need a local file system; data would be lost",
            fix="put the store on a local disk, or use PostgreSQL to share it between hosts",
        )


def network_file_system(folder: Path) -> str | None:
    """Give the name of the network file system that `folder` is on, or None."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(256)
    if libc.statfs(os.fsencode(folder), buffer) != 0:
        return None
    magic = ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF
    return _NETWORK_FS.get(magic)


def lock_folder(path: Path) -> tuple[Path, str]:
    """Give the directory of locks beside the store, and its random id, making both at need."""
    folder = path.with_name(path.name + LOCKS_SUFFIX)
    folder.mkdir(mode=0o700, exist_ok=True)
    marker = folder / "id"
    if not marker.exists():
        # Written under a name of its own and linked, so that no reader sees half of it and the
        # first of two makers wins.
        mine = folder / f"id.{secrets.token_hex(8)}"
        mine.write_text(secrets.token_hex(16))
        with contextlib.suppress(FileExistsError):
            os.link(mine, marker)
        mine.unlink()
    return folder, marker.read_text()
