"""A worker's presence on its host: a lock that ends with the process, and a doorbell."""

import contextlib
import fcntl
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from aetheris_cli.domain.records import WorkerRow
from aetheris_cli.store import offspring
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

    Its lock is free, or it has none here and its host was restarted. A lock in another directory
    proves nothing, and neither does the absence of one.
    """
    boot = boot_id()

    def is_gone(worker: WorkerRow) -> bool:
        lock = _lock_path(locks, worker.id)
        if worker.lock_dir == lock_dir and lock.exists():
            return not is_held(lock)  # whatever the host calls itself by now
        return bool(worker.host == host and worker.boot and boot and worker.boot != boot)

    return is_gone


def living_workers(locks: Path) -> list[str]:
    """Name the workers whose locks are held, whatever the store's tables say of them."""
    return sorted(lock.stem for lock in locks.glob("wrk_*.lock") if is_held(lock))


def is_held(lock: Path) -> bool:
    """Whether some process holds this lock, or that cannot be known."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        # Shared: whoever else looks, or waits for the same death, must not pass for the worker.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


class FilePresence:
    """The presence of a worker beside a store file."""

    def __init__(self, locks: Path, lock_dir: str, worker: str, host: str) -> None:
        self.host = host
        self._worker = worker
        self.boot = boot_id()
        self.space = offspring.space()
        self.lock_dir = lock_dir
        self._locks = locks
        self._path = _lock_path(locks, worker)
        self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._bell = Bell(locks, worker)
        self._looker = looker(locks, lock_dir, host)
        offspring.mark(worker)

    def fileno(self) -> int:
        """Give the descriptor that becomes readable when someone rings."""
        return self._bell.fileno()

    def silence(self) -> None:
        """Take note of all rings so far."""
        self._bell.silence()

    def is_gone(self, worker: WorkerRow) -> bool:
        """Whether the worker's process has ended: its lock is free, or its host was restarted."""
        return self._looker(worker)

    def watch(self, worker: WorkerRow, gone: Callable[[str], None]) -> None:
        """Call `gone` with the worker's id once, on any thread, when its process has ended."""
        if worker.host == self.host and worker.lock_dir == self.lock_dir:
            _watch(_lock_path(self._locks, worker.id), gone)

    def unwatch(self, worker: WorkerRow, gone: Callable[[str], None]) -> None:
        """Do not call `gone` any more."""
        with _watching:
            _watched.get(_lock_path(self._locks, worker.id), set()).discard(gone)

    def forget(self, worker: str) -> None:
        """Remove what a dead worker has left."""
        _lock_path(self._locks, worker).unlink(missing_ok=True)
        (self._locks / f"{worker}.bell").unlink(missing_ok=True)

    def children_gone(self, worker: WorkerRow) -> bool:
        """Whether it is proven that no process survives that a tool of this worker has begun."""
        if worker.host == self.host and worker.boot and worker.boot != self.boot:
            return True  # nothing outlives a restart
        return not offspring.survives(worker.id, worker.space)

    def close(self, *, quiet: bool) -> None:
        """Let go of the lock, as the process's end would; not while something still runs."""
        self._bell.close()
        if not quiet:
            return
        offspring.unmark(self._worker)
        os.close(self._lock)
        self._path.unlink(missing_ok=True)


_watching = threading.Lock()
_watched: dict[Path, set[Callable[[str], None]]] = {}
"""Whom to tell about which lock; for each one thread of this process waits."""


def _watch(lock: Path, gone: Callable[[str], None]) -> None:
    with _watching:
        known = lock in _watched
        _watched.setdefault(lock, set()).add(gone)
    if not known:
        threading.Thread(target=_wait_for, args=(lock,), name="aetheris-watch", daemon=True).start()


def _wait_for(lock: Path) -> None:
    """Wait in the kernel's queue for a lock that ends with its process; nothing polls."""
    free = False
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        pass  # it was taken away in good order
    else:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            free = True
        os.close(descriptor)
    with _watching:
        listeners = _watched.pop(lock)
    for gone in listeners if free else ():
        gone(lock.stem)


def _lock_path(locks: Path, worker: str) -> Path:
    return locks / f"{worker}.lock"
