"""Where a store lies and what that place must be like; files that last and are nobody else's."""

import contextlib
import ctypes
import errno
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aetheris_cli.domain.errors import StoreFull, StoreUnavailable, UsageError

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
    0x0BD00BD0: "Lustre",
    0x7461636F: "OCFS2",
    0x01161970: "GFS2",
    0x19830326: "BeeGFS",
    0x786F4256: "a shared folder of VirtualBox",
    0xBACBACBC: "a shared folder of VMware",
    0x564C: "NCP",
    0x73757245: "Coda",
}


def store_path(url: str) -> Path:
    """Read `sqlite:///relative`, `sqlite:////absolute` or a plain path. Raises UsageError.

    A link is followed here, once: locks, log and lock directory belong beside the file itself.
    """
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
    # A folder on the way may be a link: what lies in it is the same under either name.
    whole = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - links are kept
    return Path(os.path.realpath(whole) if os.path.islink(whole) else whole)  # noqa: PTH114


def prepare(path: Path, *, create: bool) -> None:
    """Make sure that a store can live at `path`; make its folder when `create`.

    Raises StoreUnavailable for a network file system, a directory, a device or a pipe.
    """
    if create:
        make_folder(path.parent)
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
    return network_name(magic)


def network_name(magic: int) -> str | None:
    """Give the name of the network file system of that number, or None."""
    return _NETWORK_FS.get(magic)


def make_folder(folder: Path) -> None:
    """Make a folder for this user alone, and those above it that lack, to outlive a power cut."""
    if folder.exists():
        return
    make_folder(folder.parent)
    with in_words(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        sync(folder.parent)


def make_private(path: Path, text: str = "") -> None:
    """Make a new file that no other user could ever open, with all that SQLite puts beside it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(path: Path, text: str) -> None:
    """Give a small file a new content that is there as a whole or not at all."""
    mine = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    make_private(mine, text)
    mine.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def in_words(path: Path) -> Iterator[None]:
    """Say what the system refuses to do with `path`. Raises StoreFull and StoreUnavailable."""
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StoreFull(
                f"no room left for {path}", why=said, fix="free some space, then try again"
            ) from error
        raise StoreUnavailable(
            f"{path} cannot be made: {said}",
            why="a store needs a folder of its own user's, in which files can be made",
            fix="name another place, or mend its permissions",
        ) from error
