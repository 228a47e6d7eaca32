"""A worker's presence on its host: a lock that ends with the process, and a doorbell."""

import fcntl
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from aetheris_cli.domain.records import WorkerRow
from aetheris_cli.store.bells import Bell


def host_id(override: str | None) -> str:
    """Name this host: `override` (AETHERIS_HOST_ID), else the machine's id, else its name."""
    if override:
        return override
    for name in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            found = Path(name).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            return found
    return socket.gethostname()


def boot_id() -> str:
    """Give what changes with every boot of this host; empty when the system does not say."""
    if sys.platform != "linux":
        return ""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def looker(locks: Path, lock_dir: str, host: str) -> Callable[[WorkerRow], bool]:
    """Give a function that says of a worker whether its process has ended.

    Its lock is free, or its host was restarted. A lock in another directory, or none at all,
    proves nothing.
    """
    boot = boot_id()

    def is_gone(worker: WorkerRow) -> bool:
        if worker.host != host:
            return False
        if worker.boot and boot and worker.boot != boot:
            return True
        if worker.lock_dir != lock_dir:
            return False
        try:
            descriptor = os.open(_lock_path(locks, worker.id), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    return is_gone


class FilePresence:
    """The presence of a worker beside a store file."""

    def __init__(self, locks: Path, lock_dir: str, worker: str, host: str) -> None:
        self.host = host
        self.boot = boot_id()
        self.lock_dir = lock_dir
        self._locks = locks
        self._path = _lock_path(locks, worker)
        self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._bell = Bell(locks, worker)
        self._looker = looker(locks, lock_dir, host)

    def fileno(self) -> int:
        """Give the descriptor that becomes readable when someone rings."""
        return self._bell.fileno()

    def silence(self) -> None:
        """Take note of all rings so far."""
        self._bell.silence()

    def is_gone(self, worker: WorkerRow) -> bool:
        """Whether the worker's process has ended: its lock is free, or its host was restarted."""
        return self._looker(worker)

    def forget(self, worker: str) -> None:
        """Remove what a dead worker has left."""
        _lock_path(self._locks, worker).unlink(missing_ok=True)
        (self._locks / f"{worker}.bell").unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the lock, as the process's end would."""
        self._bell.close()
        os.close(self._lock)
        self._path.unlink(missing_ok=True)


def _lock_path(locks: Path, worker: str) -> Path:
    return locks / f"{worker}.lock"
