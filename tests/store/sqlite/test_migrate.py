"""An older schema is changed on purpose alone, and not under those who still use it."""

import asyncio
from pathlib import Path

import pytest

from aetheris import Runtime
from aetheris_cli.app import upkeep
from aetheris_cli.domain.errors import Conflict, StoreUnavailable
from aetheris_cli.store import migrate
from aetheris_cli.store.migrate import Migration, known
from aetheris_cli.store.sqlstore import SqlStore

NEXT = Migration(2, "next", "ALTER TABLE workers ADD COLUMN mood TEXT;", "0" * 64)


def test_who_looks_at_an_older_store_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    with Runtime(url):
        monkeypatch.setattr(migrate, "known", lambda: [*known(), NEXT])
        with pytest.raises(StoreUnavailable, match="older schema"):
            SqlStore.open(url)
        with pytest.raises(Conflict, match="1 workers run"):
            upkeep.migrate(url)
    with pytest.raises(StoreUnavailable, match="older schema"):
        SqlStore.open(url)
    assert upkeep.migrate(url) == ["0002_next"]
    assert upkeep.migrate(url) == []
    asyncio.run(SqlStore.open(url).close())
