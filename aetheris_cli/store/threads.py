"""The two threads of a store: one writes and one reads, each with a connection of its own.

The writer takes everything that waits into one transaction, and answers after the commit: so
many small writes share one fsync. When one of them fails after it has written something, all
run again, each under a savepoint: so it takes nothing with it.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from aetheris_cli.domain.errors import AetherisError, StoreBusy, StoreFailed, StoreUnavailable
from aetheris_cli.ports import failpoints
from aetheris_cli.store.anchor import Anchor
from aetheris_cli.store.connection import BUSY_MS, connect, translate
from aetheris_cli.store.execute import run
from aetheris_cli.store.requests import MakeOp
from aetheris_cli.store.sqlite_lib import sqlite3
from aetheris_cli.store.turnstile import Turnstile

_OF_ONE: Final = (
    sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.DataError,
)  # fmt: skip
"""Errors of one statement, which say nothing against the transaction around it."""
_BATCH_OPS: Final = 512
QUICK_S: Final = 0.002
QUICK_ONES: Final = 16
"""After so many quick transactions in a row the next is expected to be quick, too."""
_BUSY_STEP_S: Final = 0.005


class _Item:
    """An operation in the queue of a thread, and where its answer goes."""

    __slots__ = ("answer", "error", "make", "reply", "taken")

    def __init__(self, make: MakeOp[Any], reply: Callable[["_Item"], None]) -> None:
        self.make = make
        self.reply = reply
        self.answer: Any = None
        self.error: BaseException | None = None
        self.taken = threading.Lock()
        """Held by whoever came first: the thread that runs it, or the caller who gave up."""


class Reader:
    """The reading thread. Each operation sees one state of the store and holds it briefly."""

    def __init__(self, path: Path, anchor: Anchor) -> None:
        self._path = path
        self._anchor = anchor
        self._conn = connect(path)
        self._conn.execute("PRAGMA query_only = 1")
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="aetheris-reader", daemon=True)
        self._thread.start()

    def put(self, item: _Item | None) -> None:
        """Queue an operation; None ends the thread."""
        self._queue.put(item)

    def _serve(self) -> None:
        while (item := self._queue.get()) is not None:
            if not item.taken.acquire(blocking=False):
                continue
            try:
                self._anchor.hold()
                self._conn.execute("BEGIN")
                try:
                    item.answer = run(self._conn, item.make())
                finally:
                    if self._conn.in_transaction:  # an I/O error ends it by itself
                        self._conn.execute("ROLLBACK")
            except sqlite3.Error as error:
                item.error = translate(error, self._path)
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller
                item.error = error
            item.reply(item)
        self._conn.close()

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout=5)


class Writer:
    """The writing thread: everything that waits goes into one transaction.

    A transaction that is alone and expected to be quick may run in its caller's thread instead
    (`put_here`): handing it over and back takes half as long as the transaction.
    """

    def __init__(self, path: Path, turnstile: Turnstile, anchor: Anchor) -> None:
        self._path = path
        self._turnstile = turnstile
        self._anchor = anchor
        self._conn: Any = None
        self._pid = os.getpid()
        self._desk = threading.Lock()
        """Held by the thread that uses the connection."""
        self._quick = 0
        """How many transactions in a row were quick."""
        self._failed: AetherisError | None = None
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self.commits = 0
        self._thread = threading.Thread(target=self._serve, name="aetheris-writer", daemon=True)
        self._thread.start()

    def put(self, item: _Item | None) -> None:
        """Queue an operation; None ends the thread after what came before it."""
        self._refuse_fork()
        self._queue.put(item)

    def put_here(self, item: _Item) -> None:
        """Run an operation in this thread if nothing is in its way; else queue it."""
        self._refuse_fork()
        if self._quick >= QUICK_ONES and self._queue.empty() and self._desk.acquire(blocking=False):
            try:
                ran = self._transact([item], wait=False)
            finally:
                self._desk.release()
            if ran is not None:
                _answer(ran)
                return
        self._queue.put(item)

    def _refuse_fork(self) -> None:
        if os.getpid() != self._pid:
            raise StoreUnavailable(
                "this process was forked from one that has the store open",
                why="a connection must not be carried over a fork",
                fix="start tools with subprocess, not with os.fork",
            )

    def _serve(self) -> None:
        ending = False
        while not ending:
            batch: list[_Item] = []
            item = self._queue.get()
            while True:
                if item is None:
                    ending = True
                    break
                batch.append(item)
                if len(batch) >= _BATCH_OPS or self._queue.empty():
                    break
                item = self._queue.get()
            if batch:
                with self._desk:
                    ran = self._transact(batch, wait=True)
                _answer(ran or [])  # whoever hears of it finds the desk free
        if self._conn is not None:
            self._conn.close()
        self._turnstile.close()

    def _transact(self, batch: list[_Item], *, wait: bool) -> list[_Item] | None:
        """Run a batch; give those to be answered. None: it would have to wait, so nothing began."""
        ran: list[_Item] = []
        began = time.monotonic()
        try:
            if self._failed is not None:
                raise self._failed
            if not self._turnstile.enter(wait=wait):
                return None
            try:
                self._anchor.hold()
                if self._conn is None:
                    self._open()
                self._inside(batch, ran, wait=wait)
            finally:
                self._turnstile.leave()
        except (AetherisError, OSError) as problem:
            error = problem if isinstance(problem, AetherisError) else _of_the_system(problem)
            if not wait and not ran:
                return None
            if not ran:
                ran += [item for item in batch if item.taken.acquire(blocking=False)]
            for item in ran:
                item.error = item.error or error
            if isinstance(error, StoreFailed):
                self._failed = error
        self._quick = self._quick + 1 if time.monotonic() - began < QUICK_S else 0
        return ran

    def _open(self) -> None:
        """Connect in the turnstile: no restore is half done there, so the log is the file's own."""
        self._conn = connect(self._path)
        self._conn.execute("PRAGMA busy_timeout = 0")  # `_begin` waits, and only where it may

    def _begin(self, *, wait: bool) -> None:
        """Take SQLite's own write lock. Past the turnstile only a foreign program can hold it."""
        until = time.monotonic() + BUSY_MS / 1_000
        while True:
            try:
                self._conn.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                busy = (error.sqlite_errorname or "").startswith("SQLITE_BUSY")
                if not wait or not busy or time.monotonic() > until:
                    raise
                time.sleep(_BUSY_STEP_S)
            else:
                return

    def _inside(self, batch: list[_Item], ran: list[_Item], *, wait: bool) -> None:
        """Run a batch in one transaction; again, with a savepoint for each, if one has failed."""
        conn = self._conn
        try:
            self._begin(wait=wait)
            try:
                # Only now: until it begins, a caller may give up.
                ran += [item for item in batch if item.taken.acquire(blocking=False)]
                if not self._plainly(ran):
                    conn.execute("ROLLBACK")
                    conn.execute("BEGIN IMMEDIATE")
                    for item in ran:
                        self._apart(item)
            except BaseException:
                if conn.in_transaction:
                    conn.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise translate(error, self._path) from error
        self._commit()

    def _commit(self) -> None:
        conn = self._conn
        try:
            failpoints.hit("store.before_commit")
            conn.execute("COMMIT")
            self.commits += 1
            failpoints.hit("store.after_commit")
        except sqlite3.Error as error:
            problem = translate(error, self._path, at_commit=True)
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            raise problem from error

    def _plainly(self, batch: list[_Item]) -> bool:
        """Run a batch without savepoints. False: one raised after it had written something.

        Nearly all that raise do so before they write, and then there is nothing to undo.
        """
        conn = self._conn
        for item in batch:
            before = conn.total_changes
            try:
                item.answer = run(conn, item.make())
            except BaseException as error:
                if isinstance(error, sqlite3.Error):
                    if not isinstance(error, _OF_ONE):
                        raise  # the whole transaction is in doubt
                    error = translate(error, self._path)
                if conn.total_changes != before:
                    return False
                item.error = error
        return True

    def _apart(self, item: _Item) -> None:
        """Run one operation so that it takes nothing with it when it fails."""
        conn = self._conn
        item.answer = item.error = None
        conn.execute("SAVEPOINT one")
        try:
            item.answer = run(conn, item.make())
        except BaseException as error:
            if isinstance(error, sqlite3.Error):
                if not isinstance(error, _OF_ONE):
                    raise  # the whole transaction is in doubt
                error = translate(error, self._path)
            item.error = error
            conn.execute("ROLLBACK TO one")
        conn.execute("RELEASE one")

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout=30)


def _answer(items: list[_Item]) -> None:
    for item in items:
        item.reply(item)


def _of_the_system(error: OSError) -> StoreFailed:
    return StoreFailed(
        f"the lock of the store failed: {error}",
        why="without it two programs could write at the same time, so nothing more is written",
        fix="check the disk, then start again: what is durable is found and goes on",
    )


async def ask(
    thread: Reader | Writer, make: MakeOp[Any], *, patience_s: float | None = None
) -> Any:  # noqa: ANN401
    """Run an operation on a thread and wait for its answer.

    Raises what the operation raises, and StoreBusy when its turn has not come after
    `patience_s`; then it never runs.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not done.done():
            done.set_result(None)  # not the item, which leads back here

    item = _Item(make, lambda _item: _call(loop, settle))
    thread.put(item)
    if patience_s is None:
        await done
    else:

        def give_up() -> None:
            if not done.done() and item.taken.acquire(blocking=False):
                item.error = StoreBusy(
                    f"the store was busy for {patience_s:g} s",
                    why="another program holds its write lock; nothing was written",
                    fix="try again; `aetheris doctor` shows who uses it",
                )
                done.set_result(None)

        handle = loop.call_later(patience_s, give_up)
        try:
            await done
        finally:
            handle.cancel()
    if item.error is not None:
        raise item.error
    return item.answer


def _call(loop: asyncio.AbstractEventLoop, settle: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        return  # the loop is closed: nobody waits any more


def push(
    writer: Writer,
    make: MakeOp[Any],
    reply: Callable[[Any, BaseException | None], None],
    *,
    here: bool,
) -> None:
    """Queue an operation; `reply(answer, error)` is called on the thread that runs it.

    With `here` that may be this one, before `push` returns.
    """
    put = writer.put_here if here else writer.put
    put(_Item(make, lambda item: reply(item.answer, item.error)))
