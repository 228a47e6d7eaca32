"""The agents that are killed: parallel pure calls, an approval, and one call of each class."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from aetheris import CallInfo, DidNotHappen, Happened, Retry, TimedOut, agent, current_call, tool
from aetheris_cli.testing.witness import happened, send

URL = os.environ["WITNESS"]


def _effect(kind: str, order: str) -> dict:
    call = current_call()
    return send(
        URL,
        {
            "call_id": call.id,
            "attempt": call.attempt,
            "epoch": call.epoch,
            "key": call.key,
            "args": call.args,
            "effect": kind,
            "order": order,
        },
    )


def _did_it(call: CallInfo) -> Happened | DidNotHappen:
    seen = happened(URL, call.id)
    return Happened(seen) if seen is not None else DidNotHappen()


@tool(effect="pure")
async def look(item: str) -> str:
    return item.upper()


@tool(effect="pure", retry=Retry(3, base=0))
def charge_pure(order: str) -> dict:
    return _effect("pure", order)


@tool(effect="key", key_ttl="1h", retry=Retry(3, base=0))
def charge_key(order: str) -> dict:
    return _effect("key", order)


@tool(effect="probe", probe=_did_it, max_time="10ms", retry=Retry(3, base=0))
def charge_probe(order: str) -> dict:
    return _effect("probe", order)


@tool(effect="probe", probe=_did_it, max_time="10ms")
def charge_by_program(order: str) -> dict:
    """Leave the work to a program that goes on when the worker is killed."""
    return _by_program(order, None)


@tool(effect="probe", probe=_did_it, max_time="10ms")
def charge_by_stranger(order: str) -> dict:
    """The same, with a program that was given an environment of its own."""
    names = ("PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    return _by_program(order, {name: os.environ[name] for name in names if name in os.environ})


def _by_program(order: str, environment: dict | None) -> dict:
    info, gate = current_call(), Path(order)
    body = json.dumps(
        {"call_id": info.id, "attempt": info.attempt, "epoch": info.epoch, "key": info.key,
         "args": info.args, "effect": "probe", "order": order}
    )  # fmt: skip
    code = (
        "import sys, time, json; from pathlib import Path\n"
        "from aetheris_cli.testing.witness import send\n"
        "Path(sys.argv[1] + '.reached').touch()\n"
        "end = time.monotonic() + 60\n"
        "while not Path(sys.argv[1] + '.go').exists() and time.monotonic() < end:\n"
        "    time.sleep(0.01)\n"
        "send(sys.argv[2], json.loads(sys.argv[3])); Path(sys.argv[1] + '.sent').touch()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(gate), URL, body], check=True, env=environment)
    return {"ok": True}


@agent("by_program")
async def by_program(ctx, message):
    return await ctx.call(charge_by_program, order=message)


@agent("by_stranger")
async def by_stranger(ctx, message):
    return await ctx.call(charge_by_stranger, order=message)


@tool(effect="unsafe")
def charge_unsafe(order: str) -> dict:
    return _effect("unsafe", order)


def _crash(name: str, charge):
    async def body(ctx, message):
        seen = await ctx.gather(
            lambda: ctx.call(look, item="a"),
            lambda: ctx.call(look, item="b"),
            lambda: ctx.call(look, item="c"),
        )
        decision = await ctx.approval(f"charge {message}?", details={"seen": seen})
        if not decision.approved:
            return "refused"
        return await ctx.call(charge, order=message)

    return agent(name)(body)


crash_pure = _crash("crash_pure", charge_pure)
crash_key = _crash("crash_key", charge_key)
crash_probe = _crash("crash_probe", charge_probe)
crash_unsafe = _crash("crash_unsafe", charge_unsafe)


@tool(effect="pure")
def hold(gate: str) -> str:
    """Stand in the call until the test, another process, makes a file; only a look shows it."""
    Path(f"{gate}.reached").touch()
    while not Path(f"{gate}.go").exists():
        time.sleep(0.01)
    return "held"


@agent("held")
async def held(ctx, message):
    await ctx.call(hold, gate=message)
    return await ctx.call(charge_unsafe, order="42")


@agent("two_doors")
async def two_doors(ctx, message):
    """Keeps its worker while it waits for an approval."""
    _, decision = await ctx.gather(
        lambda: ctx.call(hold, gate=message), lambda: ctx.approval("charge?")
    )
    return await ctx.call(charge_unsafe, order=decision.by)


@agent("keyed")
async def keyed(ctx, message):
    return await ctx.call(charge_unsafe, key="order-42", order=message)


@tool(effect="unsafe")
def send_mail(order: str) -> dict:
    return _effect("unsafe", order)


@agent("rewritten")
def rewritten(ctx, message):
    """Calls something else once its code has been changed, which a file stands for."""
    if Path("rewritten").exists():
        return ctx.call(send_mail, order="mail")
    return ctx.call(charge_unsafe, key="order-42", order=message)


@tool(effect="pure")
def kill_the_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@agent("deadly")
async def deadly(ctx, message):
    await ctx.call(look, item=message)
    await ctx.checkpoint()  # else its result is recorded, as progress, by any of the attempts
    await ctx.call(kill_the_worker)


@agent("hurried")
async def hurried(ctx, message):
    gate, limit = message.split()
    _, decision = await ctx.gather(
        lambda: ctx.call(hold, gate=gate), lambda: ctx.approval("now?", expires=limit)
    )
    return "approved" if decision.approved else "denied"


@agent("listening")
async def listening(ctx, message):
    gate, limit = message.split()

    async def listen():
        try:
            return await ctx.wait_signal("go", timeout=limit)
        except TimedOut:
            return "timed out"

    return (await ctx.gather(lambda: ctx.call(hold, gate=gate), listen))[1]


@agent("limited", timeout="4s")
async def limited(ctx, message):
    gate, _ = message.split()
    await ctx.gather(lambda: ctx.call(hold, gate=gate), lambda: ctx.wait_signal("go"))
