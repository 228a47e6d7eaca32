"""Values of the wrong type or shape, wherever an author can give one.

Each is told in words to whoever gave it. None is kept: an event that names something by a number
could be written and never be read again, and would stop every worker that claims its job.
"""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from stage import Doors, alive, closed, done, parked, until_there  # type: ignore[import-not-found]

from aetheris import Context, Retry, Runtime, SyncContext, agent, tool
from aetheris_cli.domain.errors import InvalidPayload, NotFound, UsageError
from aetheris_cli.store.sqlite_lib import sqlite3

Start = Callable[..., Runtime]
HALF = "file-\udcff"
LONG = "x" * 1_001
THING = object()
IN_WORDS = {"invalid_payload", "usage", "not_found"}


@tool(effect="unsafe")
async def send(x: int) -> int:
    return x


@tool(effect="pure")
async def look(x: int = 0) -> int:
    return x


@agent("good")
async def good(_ctx: Context, _message: str) -> str:
    return "fine"


GIVEN_BY_AN_AGENT: dict[str, Callable[[Any], Any]] = {
    "the key of a call is a number": lambda ctx: ctx.call(send, x=1, key=42),
    "the key of a call is empty": lambda ctx: ctx.call(send, x=1, key=""),
    "the key of a call is half of a character": lambda ctx: ctx.call(send, x=1, key=HALF),
    "the key of a call is long": lambda ctx: ctx.call(send, x=1, key=LONG),
    "the key of a pure call is a number": lambda ctx: ctx.call(look, key=42),
    "retry is a number": lambda ctx: ctx.call(send, x=1, retry=3),
    "retry is a text": lambda ctx: ctx.call(send, x=1, retry="often"),
    "the timeout of a call is no duration": lambda ctx: ctx.call(send, x=1, timeout="soon"),
    "the timeout of a call is a list": lambda ctx: ctx.call(send, x=1, timeout=[1]),
    "the timeout of a call is negative": lambda ctx: ctx.call(send, x=1, timeout=-1),
    "the tool is a number": lambda ctx: ctx.call(7, x=1),
    "the tool is nothing": lambda ctx: ctx.call(None),
    "the tool does not exist": lambda ctx: ctx.call("typo", x=1),
    "the name of the tool is half of a character": lambda ctx: ctx.call(HALF, x=1),
    "an argument is missing": lambda ctx: ctx.call(send),
    "an argument is too many": lambda ctx: ctx.call(send, x=1, y=2),
    "an argument has another type": lambda ctx: ctx.call(send, x="one"),
    "an argument is no JSON": lambda ctx: ctx.call(send, x=THING),
    "an argument is not a number": lambda ctx: ctx.call(send, x=float("nan")),
    "the name of a signal is a number": lambda ctx: ctx.wait_signal(7),
    "the name of a signal with a time is a number": lambda ctx: ctx.wait_signal(7, timeout="1h"),
    "the name of a signal is empty": lambda ctx: ctx.wait_signal(""),
    "the name of a signal is bytes": lambda ctx: ctx.wait_signal(b"go"),
    "the timeout of a signal is a mapping": lambda ctx: ctx.wait_signal("go", timeout={}),
    "the title of an approval is a number": lambda ctx: ctx.approval(5),
    "the title of an approval is empty": lambda ctx: ctx.approval(" "),
    "the title of an approval is half of a character": lambda ctx: ctx.approval(HALF),
    "the role of an approval is a list": lambda ctx: ctx.approval("ok?", role=["boss"]),
    "the role of an approval is a number": lambda ctx: ctx.approval("ok?", role=5),
    "the end of an approval is no duration": lambda ctx: ctx.approval("ok?", expires="never"),
    "the details of an approval are no JSON": lambda ctx: ctx.approval("ok?", details=THING),
    "the message of a child is a mapping": lambda ctx: ctx.child("good", {"a": 1}),
    "the message of a child is nothing": lambda ctx: ctx.child("good", None),
    "the message of a child is half of a character": lambda ctx: ctx.child("good", HALF),
    "the input of a child is no JSON": lambda ctx: ctx.child("good", "", input=THING),
    "the agent of a child is a number": lambda ctx: ctx.child(7),
    "the agent of a child is nothing": lambda ctx: ctx.child(None),
    "the agent of a child does not exist": lambda ctx: ctx.child("typo"),
    "a sleep is no duration": lambda ctx: ctx.sleep("soon"),
    "a sleep is nothing": lambda ctx: ctx.sleep(None),
    "a sleep is negative": lambda ctx: ctx.sleep(-1),
    "a sleep is not a number": lambda ctx: ctx.sleep(float("nan")),
    "a patch is a number": lambda ctx: ctx.patched(7),
    "a patch has no name": lambda ctx: ctx.patched(""),
    "a patch is half of a character": lambda ctx: ctx.patched(HALF),
    "a field of a log line is no JSON": lambda ctx: ctx.log("x", field=THING),
    "a branch is no function": lambda ctx: ctx.gather(7),
    "a branch is a call that runs already": lambda ctx: ctx.gather(ctx.call(look)),
    "the limit of a gather is zero": lambda ctx: ctx.gather(lambda: ctx.call(look), limit=0),
    "the limit of a gather is a text": lambda ctx: ctx.gather(lambda: ctx.call(look), limit="2"),
}


@agent("async")
async def in_the_loop(ctx: Context, message: str) -> Any:
    found = GIVEN_BY_AN_AGENT[message](ctx)
    return str(await found if hasattr(found, "__await__") else found)


@agent("plain")
def in_a_thread(ctx: SyncContext, message: str) -> Any:
    return str(GIVEN_BY_AN_AGENT[message](ctx))


@pytest.mark.parametrize("colour", ["async", "plain"])
@pytest.mark.parametrize("what", GIVEN_BY_AN_AGENT)
def test_it_fails_its_own_job_in_words(start: Start, what: str, colour: str) -> None:
    agents = (in_the_loop, in_a_thread, good)
    runtime = start(*agents)
    job = done(runtime.submit(colour, what))
    assert (job.status, job.error["kind"] in IN_WORDS) == ("failed", True), job.error
    assert [one for one in job.calls() if one["tool"] == "send"] == []
    assert runtime.submit(good).wait(timeout=60).output == "fine"
    closed(runtime)
    # Nor does it stop the worker that comes after.
    runtime = start(*agents)
    assert runtime.submit(good).wait(timeout=60).output == "fine"


GIVEN_TO_A_RUNTIME: dict[str, Callable[[Runtime], Any]] = {
    "a label is a number": lambda rt: rt.submit(good, "", labels={"order": 42}),
    "a label is nothing": lambda rt: rt.submit(good, "", labels={"order": None}),
    "a label is half of a character": lambda rt: rt.submit(good, "", labels={"order": HALF}),
    "the name of a label is a number": lambda rt: rt.submit(good, "", labels={5: "x"}),
    "the name of a label is empty": lambda rt: rt.submit(good, "", labels={"": "x"}),
    "labels are a list": lambda rt: rt.submit(good, "", labels=["x"]),
    "labels are many": lambda rt: rt.submit(good, "", labels={str(n): "" for n in range(65)}),
    "the key is a number": lambda rt: rt.submit(good, "", key=42),
    "the key is zero": lambda rt: rt.submit(good, "", key=0),
    "the key is half of a character": lambda rt: rt.submit(good, "", key=HALF),
    "the key is long": lambda rt: rt.submit(good, "", key=LONG),
    "the priority is a text": lambda rt: rt.submit(good, "", priority="high"),
    "the priority is large": lambda rt: rt.submit(good, "", priority=2**40),
    "the priority is a fraction": lambda rt: rt.submit(good, "", priority=0.5),
    "the priority is nothing": lambda rt: rt.submit(good, "", priority=None),
    "the message is a number": lambda rt: rt.submit(good, 5),
    "the message is nothing": lambda rt: rt.submit(good, None),
    "the message is half of a character": lambda rt: rt.submit(good, HALF),
    "the message is long": lambda rt: rt.submit(good, "x" * (2**20 + 1)),
    "the input is no JSON": lambda rt: rt.submit(good, "", input=THING),
    "the input is not a number": lambda rt: rt.submit(good, "", input=[float("nan")]),
    "the delay is no duration": lambda rt: rt.submit(good, "", delay="soon"),
    "the delay is a list": lambda rt: rt.submit(good, "", delay=[1]),
    "the agent is a number": lambda rt: rt.submit(7),
    "the agent is nothing": lambda rt: rt.submit(None),
    "the agent has no name": lambda rt: rt.submit(""),
    "the agent is half of a character": lambda rt: rt.submit(HALF),
}


@pytest.mark.parametrize("what", GIVEN_TO_A_RUNTIME)
def test_it_is_no_job(start: Start, what: str) -> None:
    runtime = start(good)
    with pytest.raises((InvalidPayload, UsageError, NotFound)):
        GIVEN_TO_A_RUNTIME[what](runtime)
    assert runtime.jobs() == []
    assert runtime.submit(good).wait(timeout=60).output == "fine"
    assert alive(runtime)


GIVEN_AS_A_WISH: dict[str, Callable[[Runtime, str], Any]] = {
    "the name of a signal is a number": lambda rt, job: rt.signal(job, 7),
    "the name of a signal is empty": lambda rt, job: rt.signal(job, ""),
    "the name of a signal is half of a character": lambda rt, job: rt.signal(job, HALF),
    "the value of a signal is no JSON": lambda rt, job: rt.signal(job, "go", THING),
    "the key of a signal is a number": lambda rt, job: rt.signal(job, "go", 1, key=42),
    "the reason of a cancel is a number": lambda rt, job: rt.job(job).cancel(5),
    "the reason of a cancel is a list": lambda rt, job: rt.job(job).cancel(["x"]),
    "the comment of an approval is a number": lambda rt, job: rt.approve(job, comment=5),
    "the comment is half of a character": lambda rt, job: rt.approve(job, comment=HALF),
    "the edited value is no JSON": lambda rt, job: rt.approve(job, edit=THING),
    "the reason of a rejection is a number": lambda rt, job: rt.reject(job, reason=5),
}


@pytest.mark.parametrize("what", GIVEN_AS_A_WISH)
@pytest.mark.parametrize("owned", [False, True])
def test_it_is_no_wish(start: Start, doors: Doors, what: str, *, owned: bool) -> None:
    @agent("waits")
    async def waits(ctx: Context, _message: str) -> Any:
        async def ask() -> bool:
            return (await ctx.approval("ok?")).approved

        async def stay() -> None:
            await doors["of its own"].through()

        return await ctx.gather(lambda: ctx.wait_signal("go"), ask, stay)

    if not owned:
        doors["of its own"].open()
    runtime = start(waits, good)
    job = runtime.submit(waits)
    until_there(runtime, job, "approval.requested")
    if not owned:
        parked(job, "approval")
    with pytest.raises((InvalidPayload, UsageError)):
        GIVEN_AS_A_WISH[what](runtime, job.id)
    row = runtime.ask(runtime.session.store.job(job.id))
    assert (row.status, row.inbox_seq) == ("running" if owned else "parked", 0)
    runtime.signal(job.id, "go", 1)
    runtime.approve(job.id)
    doors.open_all()
    assert done(job).output == [1, True, None]
    assert runtime.submit(good).wait(timeout=60).output == "fine"


GIVEN_AS_A_SETTLEMENT: dict[str, dict[str, Any]] = {
    "there is no verdict": {},
    "there are two verdicts": {"fail": True, "did_not_happen": True},
    "there is a verdict and a result": {"fail": True, "happened": 1},
    "the reason is a number": {"fail": True, "reason": 5},
    "the reason is half of a character": {"fail": True, "reason": HALF},
    "the result is no JSON": {"happened": THING},
}


@pytest.mark.parametrize("what", GIVEN_AS_A_SETTLEMENT)
def test_it_settles_nothing(start: Start, what: str) -> None:
    @tool(effect="unsafe")
    async def charge() -> None:
        raise RuntimeError("reset")

    @agent("pays")
    async def pays(ctx: Context, _message: str) -> Any:
        return await ctx.call(charge)

    runtime = start(pays, good)
    job = parked(runtime.submit(pays), "in_doubt")
    given = {"reason": "asked"} | GIVEN_AS_A_SETTLEMENT[what]
    with pytest.raises((InvalidPayload, UsageError)):
        runtime.settle(f"{job.id}.1", **given)
    with pytest.raises(UsageError, match="verdict"):
        runtime.ask(runtime.session.control.settle(f"{job.id}.1", verdict="maybe", reason="x"))
    runtime.settle(f"{job.id}.1", happened=1, reason="asked")
    assert done(job).output == 1


DECLARED: dict[str, Callable[[], Any]] = {
    "the name of a tool is a number": lambda: tool(name=5),
    "the name of a tool is half of a character": lambda: tool(name=HALF),
    "the effect is a number": lambda: tool(effect=5),
    "the timeout of a tool is no duration": lambda: tool(timeout="soon"),
    "the retries of a tool are a number": lambda: tool(retry=3),
    "the lifetime of a key is no duration": lambda: tool(effect="key", key_ttl="long"),
    "the probe is no function": lambda: tool(effect="probe", probe=5),
    "on_in_doubt is a number": lambda: tool(on_in_doubt=5),
    "the id of an agent is a number": lambda: agent(5),
    "the id of an agent is half of a character": lambda: agent(HALF),
    "the version of an agent is a number": lambda: agent("a", version=2),
    "the timeout of an agent is no duration": lambda: agent("a", timeout="soon"),
    "the retries are no number": lambda: Retry("often"),
    "the retries are no whole number": lambda: Retry(1.5),
}


@pytest.mark.parametrize("what", DECLARED)
def test_it_is_no_declaration(what: str) -> None:
    async def code(_ctx: Any, _message: str) -> None:
        """Do nothing."""

    with pytest.raises((InvalidPayload, UsageError)):
        DECLARED[what]()(code)


@pytest.mark.spoiled
def test_a_job_whose_history_cannot_be_read_is_put_aside_and_can_be_cancelled(
    start: Start, url: str
) -> None:
    @agent("waits")
    async def waits(ctx: Context, _message: str) -> Any:
        return await ctx.wait_signal("go")

    runtime = start(waits, good)
    job = parked(runtime.submit(waits), "signal")
    closed(runtime)
    _spoil(url)
    runtime = start(waits, good)
    job = runtime.job(job.id)
    runtime.signal(job.id, "go")
    parked(job, "crash_loop")
    (asked,) = runtime.parked()
    assert "cannot be read" in asked["title"]
    assert runtime.submit(good).wait(timeout=60).output == "fine"
    assert job.cancel("it is lost").status == "cancelled"
    assert runtime.parked() == []
    assert alive(runtime)


def _spoil(url: str) -> None:
    """Write what earlier versions could: the name of a signal as a number."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as conn, conn:
        found = conn.execute(
            """UPDATE events SET body = replace(body, '"name":"go"', '"name":7')
            WHERE body LIKE '%"signal.awaited"%'"""
        )
        assert found.rowcount == 1
