"""A worker's lock: held while its process lives, and free for all who look once it has ended."""

import fcntl
import os
from pathlib import Path

import pytest

from aetheris_cli.store.presence import FilePresence, is_held


def test_whoever_waits_for_a_death_does_not_pass_for_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHERIS_WORKERS", "")  # it is put back afterwards
    presence = FilePresence(tmp_path, "dir", "wrk_a", "host")
    lock = tmp_path / "wrk_a.lock"
    assert is_held(lock)
    presence.close(quiet=False)  # as a worker leaves that cannot vouch for its tools
    assert is_held(lock)
    for descriptor in _descriptors_of(lock):
        os.close(descriptor)  # as the end of its process does
    waiting = os.open(lock, os.O_RDWR)
    fcntl.flock(waiting, fcntl.LOCK_SH)
    assert not is_held(lock)
    os.close(waiting)


def _descriptors_of(path: Path) -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not paths
        try:
            if Path(f"/proc/self/fd/{name}").readlink() == path:
                found.append(int(name))
        except OSError:
            continue
    return found
