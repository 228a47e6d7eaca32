"""What lies around a store file: whose it is, whether it lasts, and which directory it names."""

import asyncio
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from aetheris_cli.domain.errors import StoreDamaged, StoreFailed
from aetheris_cli.store import anchor, files, lockdir
from aetheris_cli.store.sqlite_lib import sqlite3
from aetheris_cli.store.sqlstore import SqlStore


def opened(path: Path) -> SqlStore:
    return SqlStore.open(f"sqlite:///{path}", create=True)


def used(path: Path) -> None:
    asyncio.run(opened(path).close())


def test_everything_around_a_store_is_its_users_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = opened(tmp_path / "a" / "b" / "jobs.db")
        try:
            asyncio.run(store.counts())
            found = {one.name: one for one in (tmp_path / "a").rglob("*")}
            assert {"jobs.db", "jobs.db-wal", "jobs.db-shm", "generation", "write.lock"} <= set(
                found
            )
            for one in [tmp_path / "a", *found.values()]:
                wanted = 0o700 if one.is_dir() else 0o600
                assert stat.S_IMODE(one.stat().st_mode) == wanted, one
        finally:
            asyncio.run(store.close())
    finally:
        os.umask(old)


def test_new_names_are_on_the_disk_before_anything_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    used(tmp_path / "a" / "b" / "jobs.db")
    for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "b"):
        assert folder in synced


def test_a_link_leads_to_one_store_with_one_lock_directory(tmp_path: Path) -> None:
    real, alias = tmp_path / "real" / "jobs.db", tmp_path / "alias.db"
    real.parent.mkdir()
    alias.symlink_to(real)
    used(alias)
    assert sorted(os.listdir(tmp_path)) == ["alias.db", "real"]  # noqa: PTH208
    assert {"jobs.db", "jobs.db-locks"} <= set(os.listdir(real.parent))  # noqa: PTH208
    assert files.store_path(f"sqlite:///{alias}") == real


def test_a_copied_lock_directory_has_an_id_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "project" / "jobs.db"
    used(path)
    _, first = lockdir.lock_folder(path)
    assert lockdir.lock_folder(path)[1] == first
    shutil.copytree(path.parent, tmp_path / "copy")
    _, copied = lockdir.lock_folder(tmp_path / "copy" / "jobs.db")
    assert copied != first
    assert lockdir.lock_folder(tmp_path / "copy" / "jobs.db")[1] == copied
    path.parent.rename(tmp_path / "moved")
    assert lockdir.lock_folder(tmp_path / "moved" / "jobs.db")[1] == first


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def a_first_page_alone(path: Path) -> None:
    path.unlink()
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA journal_mode = wal")
    conn.close()


@pytest.mark.parametrize("spoil", [emptied, a_first_page_alone])
def test_an_empty_file_where_a_store_has_been_is_no_new_store(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "jobs.db"
    used(path)
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match="is empty") as refused:
        opened(path)
    assert "aetheris store restore" in refused.value.fix
    assert path.read_bytes() == before


def test_a_deleted_store_may_be_begun_anew_and_is_of_a_higher_generation(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    used(path)
    path.unlink()
    used(path)
    assert lockdir.noted_generation(tmp_path / "jobs.db-locks") == 2


def test_what_was_opened_is_refused_once_another_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchor, "EVERY_S", 0.0)
    path = tmp_path / "jobs.db"
    store = opened(path)
    asyncio.run(store.counts())
    used(tmp_path / "other.db")
    (tmp_path / "other.db").rename(path)
    for ask in (store.counts, lambda: store.beat("w", 1, 2)):
        with pytest.raises(StoreFailed, match="replaced or moved away"):
            asyncio.run(ask())
    asyncio.run(store.close())


@pytest.mark.parametrize(
    ("magic", "name"),
    [(0x6969, "NFS"), (0x0BD00BD0, "Lustre"), (0x7461636F, "OCFS2"), (0x01161970, "GFS2"),
     (0x786F4256, "VirtualBox"), (0xBACBACBC, "VMware"), (0x19830326, "BeeGFS"),
     (0x564C, "NCP"), (0x73757245, "Coda")],
)  # fmt: skip
def test_a_network_file_system_is_known_by_its_number(magic: int, name: str) -> None:
    assert name in (files.network_name(magic) or "")
