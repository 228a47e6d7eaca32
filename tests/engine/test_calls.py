"""Attempts, retries, time limits and doubt, and what hostile tools do."""

import asyncio
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aetheris import (
    CallFailed,
    Context,
    DidNotHappen,
    Happened,
    NotSent,
    Refused,
    Retry,
    Runtime,
    Unknown,
    agent,
    current_call,
    tool,
)
from aetheris_cli.domain.errors import UsageError
from aetheris_cli.engine.worker import Settings

VERDICTS: Any = {
    "happened": {"happened": {"paid": 1}},
    "did_not_happen": {"did_not_happen": True},
    "fail": {"fail": True},
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Give a function that runs one tool in a job and waits for its end."""
    runtimes: list[Runtime] = []

    def run(made: Any, **args: Any) -> Any:
        @agent("calls")
        async def calls(ctx: Context, _message: str) -> Any:
            try:
                return await ctx.call(made, **args)
            except CallFailed as error:
                return {"failed": str(error)}

        runtime = Runtime(f"sqlite:///{tmp_path / 'jobs.db'}", [calls], [made])
        runtime.__enter__()
        runtimes.append(runtime)
        job = runtime.submit(calls, "x")
        return job.wait(timeout=60)

    yield run
    for runtime in runtimes:
        runtime.__exit__(None, None, None)


def attempts(job: Any) -> list[str]:
    return [one["status"] for one in job.calls()[0]["attempts"]]


def failing(times: int, error: BaseException) -> Callable[[], str]:
    left = itertools.count(1)

    def work() -> str:
        if next(left) <= times:
            raise error
        return "done"

    return work


@pytest.mark.parametrize(
    ("effect", "error", "seen", "status"),
    [
        ("pure", ValueError("no"), ["failed", "failed", "succeeded"], "succeeded"),
        ("unsafe", NotSent("refused"), ["not_sent", "not_sent", "succeeded"], "succeeded"),
        ("key", ValueError("reset"), ["unknown", "unknown", "succeeded"], "succeeded"),
        ("unsafe", Refused("never"), ["refused"], "succeeded"),
        ("unsafe", ValueError("reset"), ["unknown"], "parked"),
        ("key", Refused("never"), ["refused"], "succeeded"),
    ],
)
def test_what_follows_an_error_is_read_off_the_table(
    start: Callable[..., Any], effect: str, error: Exception, seen: list[str], status: str
) -> None:
    work = failing(2, error)
    made = tool(effect=effect, name="work", retry=Retry(3, base=0), key_ttl="1h")(work)
    job = start(made)
    assert (attempts(job), job.status) == (seen, status)
    if status == "parked":
        assert job.parked["reason"] == "in_doubt"


def test_a_call_in_doubt_may_be_declared_a_failure(start: Callable[..., Any]) -> None:
    made = tool(name="work", on_in_doubt="fail")(failing(1, ValueError("reset")))
    job = start(made)
    assert job.status == "succeeded"
    assert "reset" in job.output["failed"]


@pytest.mark.parametrize(
    ("verdict", "status", "output"),
    [
        ("happened", "succeeded", {"paid": 1}),
        ("did_not_happen", "succeeded", "done"),
        ("fail", "succeeded", None),
    ],
)
def test_a_person_settles_what_is_in_doubt(
    start: Callable[..., Any], verdict: str, status: str, output: Any
) -> None:
    job = start(tool(name="work")(failing(1, ValueError("reset"))))
    (asked,) = job._runtime.parked()  # noqa: SLF001 - the job's own runtime
    job._runtime.settle(asked["call_id"], **VERDICTS[verdict], reason="asked")  # noqa: SLF001
    done = job.wait(goal="step:1").wait(timeout=30)
    assert done.status == status
    if output is not None:
        assert done.output == output
    else:
        assert "asked" in done.output["failed"]
    assert job.calls()[0]["settled"]["reason"] == "asked"


@pytest.mark.parametrize(
    ("answer", "max_time", "status", "seen"),
    [
        (Happened({"ok": 1}), "0s", "succeeded", 1),
        (DidNotHappen(), "0s", "succeeded", 2),
        (DidNotHappen(), None, "parked", 1),
        (Unknown("who knows"), "0s", "parked", 1),
        ("nonsense", "0s", "parked", 1),
    ],
)
def test_a_probe_is_asked_and_a_no_counts_only_in_quarantine(
    start: Callable[..., Any], answer: Any, max_time: str | None, status: str, seen: int
) -> None:
    made = tool(
        effect="probe", name="work", probe=lambda _call: answer, max_time=max_time,
        retry=Retry(3, base=0),
    )(failing(1, ValueError("reset")))  # fmt: skip
    job = start(made)
    assert (job.status, len(attempts(job))) == (status, seen)


def test_a_pure_call_that_takes_too_long_is_tried_again(start: Callable[..., Any]) -> None:
    first = itertools.count()

    async def slow() -> str:
        if next(first) == 0:
            await asyncio.Event().wait()
        return "quick"

    job = start(tool(effect="pure", name="slow", timeout="50ms", retry=Retry(2, base=0))(slow))
    assert (job.output, attempts(job)) == ("quick", ["failed", "succeeded"])
    assert job.calls()[0]["attempts"][0]["error"]["kind"] == "timeout"


def test_an_unsafe_call_that_takes_too_long_is_in_doubt_and_its_answer_is_kept(
    start: Callable[..., Any],
) -> None:
    gate = threading.Event()

    def slow() -> str:
        gate.wait()
        return "it was paid"

    job = start(tool(name="slow", timeout="50ms")(slow))
    assert (job.status, attempts(job)) == ("parked", ["unknown"])
    before = len(job.calls()[0].get("evidence", []))
    gate.set()
    control = job._runtime.session.control  # noqa: SLF001

    async def evidence() -> Any:
        async for event in control.events(job.id, follow=True):
            if event["type"] == "call.evidence":
                return event
        return None

    event = job._runtime.ask(evidence())  # noqa: SLF001
    assert before == 0
    assert event["data"]["result"] == "it was paid"


@pytest.mark.parametrize("thing", [os.getpid, "".upper, object])
def test_what_cannot_carry_a_declaration_is_refused_in_words(thing: Any) -> None:
    with pytest.raises(UsageError, match="cannot carry"):
        tool(name="built-in")(thing)


class Rude(Exception):
    def __str__(self) -> str:
        raise RuntimeError("I have no words")


def _raise(error: BaseException) -> Any:
    raise error


def _fork() -> str:
    if os.fork() == 0:
        return "the child goes on"  # the child must not have a say
    return "the parent"


def _deep() -> Any:
    found: Any = []
    for _ in range(10_000):
        found = [found]
    return found


def _loop() -> Any:
    found: list[Any] = []
    found.append(found)
    return found


HOSTILE: dict[str, Callable[[], Any]] = {
    "raises SystemExit": lambda: sys.exit(3),
    "raises KeyboardInterrupt": lambda: _raise(KeyboardInterrupt()),
    "raises GeneratorExit": lambda: _raise(GeneratorExit()),
    "raises StopIteration": lambda: _raise(StopIteration()),
    "raises CancelledError": lambda: _raise(asyncio.CancelledError()),
    "raises TimeoutError": lambda: _raise(TimeoutError()),
    "has an error without words": lambda: _raise(Rude()),
    "gives NaN": lambda: float("nan"),
    "gives a large integer": lambda: 2**63,
    "gives half a surrogate pair": lambda: "\ud800",
    "gives a deep value": _deep,
    "gives a value that holds itself": _loop,
    "gives 20 MB": lambda: "x" * 20_000_000,
    "gives an object": lambda: object(),  # noqa: PLW0108 - a class is no tool
    "gives keys that are numbers": lambda: {1: 2},
}


@pytest.mark.parametrize("colour", ["plain", "async"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tool_harms_its_own_call_alone(
    start: Callable[..., Any], name: str, colour: str
) -> None:
    work = HOSTILE[name]

    async def awaited() -> Any:
        return work()

    made = tool(effect="pure", name="hostile")(awaited if colour == "async" else work)
    job = start(made)
    assert job.status == "succeeded"
    assert job.output["failed"]
    # The worker lives: the next job runs.
    fine = job._runtime.submit("calls", "again").wait(timeout=60)  # noqa: SLF001
    assert fine.status == "succeeded"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_tool_that_forks_is_answered_once(start: Callable[..., Any]) -> None:
    job = start(tool(name="forks")(_fork))
    assert (job.status, job.output) == ("succeeded", "the parent")


def test_what_a_tool_prints_and_changes_stays_its_own(
    start: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def rude(items: list[int]) -> int:
        sys.stdout.write("\x1b[2J\x1b]0;owned\x07")
        items.append(99)
        current_call().args["items"].append(98)
        return len(items)

    job = start(tool(effect="pure", name="rude")(rude), items=[1])
    capsys.readouterr()
    assert job.calls()[0]["args"] == {"items": [1]}
    assert job.status == "succeeded"


def test_a_tool_that_blocks_for_ever_does_not_keep_the_runtime_from_closing(
    tmp_path: Path,
) -> None:
    begun, never = threading.Event(), threading.Event()

    @tool(effect="pure")
    def blocks() -> None:
        begun.set()
        never.wait()

    @agent("calls")
    async def calls(ctx: Context, _message: str) -> None:
        await ctx.call(blocks)

    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    with Runtime(url, [calls], [blocks], settings=Settings(grace_s=0.05)) as runtime:
        job = runtime.submit(calls, "x")
        assert begun.wait(30)
    never.set()
    with Runtime(url, worker=False) as runtime:
        assert runtime.job(job.id).status == "queued"


def test_a_worker_that_leaves_a_tool_running_is_not_taken_for_stopped(tmp_path: Path) -> None:
    url, begun, go = f"sqlite:///{tmp_path / 'jobs.db'}", threading.Event(), threading.Event()

    def work() -> str:
        if not begun.is_set():
            begun.set()
            go.wait(60)
        return "done"

    made = tool(
        effect="probe", name="work", probe=lambda _call: DidNotHappen(), max_time="0s",
        retry=Retry(3, base=0),
    )(work)  # fmt: skip

    @agent("calls")
    async def calls(ctx: Context, _message: str) -> Any:
        return await ctx.call(made)

    with Runtime(url, [calls], settings=Settings(grace_s=0.01)) as runtime:
        job = runtime.submit(calls)
        assert begun.wait(60)
    with Runtime(url, [calls]) as runtime:
        found = runtime.job(job.id).wait(timeout=60)
        assert (found.status, found.parked["reason"]) == ("parked", "in_doubt")
        assert runtime.parked()[0]["owner_alive"] is True
        workers = runtime.ask(runtime.session.control.workers(all_of_them=True))
        assert sorted(one["status"] for one in workers) == ["alive", "lost"]
        # The answer that comes in the end is kept as evidence where the worker still can.
        go.set()


def test_a_worker_with_nothing_left_to_do_has_stopped(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    with Runtime(url):
        pass
    with Runtime(url, worker=False) as runtime:
        (row,) = runtime.ask(runtime.session.control.workers(all_of_them=True))
    assert (row["status"], row["alive"]) == ("stopped", False)
