"""What the commands of `ctx` do, each in the name of a branch and at a fixed place of it."""

import hashlib
from collections.abc import Callable
from random import Random
from typing import Any, Final

from msgspec import Raw

from aetheris_cli.domain import codec
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import recorded
from aetheris_cli.domain.errors import UsageError
from aetheris_cli.domain.retry import Retry, duration_ms
from aetheris_cli.engine import waits
from aetheris_cli.engine.branches import NOWHERE, Branch, Never, Pending
from aetheris_cli.engine.calls import Call
from aetheris_cli.engine.journal import Stopped
from aetheris_cli.engine.outcome import outcome
from aetheris_cli.engine.run import Run

_LOG_CHARS: Final = 4_000


class Commands:
    """The commands, each in the name of a given branch. Both contexts stand on them."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def call(
        self,
        branch: Branch,
        tool: object,
        args: dict[str, Any],
        *,
        key: str | None,
        timeout: str | float | None,
        retry: Retry | None,
    ) -> Pending | Never:
        """Call a tool."""
        run = self.run
        if branch is NOWHERE:
            return Never()
        made = run.host.registry.tool(tool)
        allowed = run.agent.tools
        if allowed is not None and made.name not in allowed:
            raise UsageError(
                f"agent {run.agent.id} may not call tool {made.name}",
                why=f"agents.yaml allows it {', '.join(sorted(allowed)) or 'no tool'}",
                fix="add the tool to the agent's tools there",
            )
        if key is not None:
            key = codec.text(key, f"the key of a call of {made.name}")
        if retry is not None and not isinstance(retry, Retry):
            raise UsageError(
                f"retry of a call of {made.name} is {retry!r}", fix="write retry=Retry(3)"
            )
        data = codec.canonical(args, f"the arguments of tool {made.name}")
        # Arguments that do not fit are the agent's error, not an attempt.
        arguments = made.read(data)
        step = branch.next()
        pending = run.delivery.expect(Pending(run, step, branch.frontier))
        call = Call(
            run, step, made, data, arguments, key=key or "",
            timeout_ms=made.timeout_ms if timeout is None else duration_ms(timeout),
            retry=made.retry if retry is None else retry,
            after=branch.frontier, cause=run.cause(branch),
        )  # fmt: skip
        run.delivery.take(
            step, "call", made.name, call.digest, args=data, key=call.user_key, schema=made.schema
        )
        self._begin(step, call.start)
        return pending

    def _begin(self, step: str, start: Callable[[], None]) -> None:
        """Start a command, unless the history has its outcome: that is given in its turn."""
        found = self.run.history.steps.get(step)
        if found is None or not found.done:
            self.run.delivery.hold(step, start)

    def wait_for(
        self,
        branch: Branch,
        kind: str,
        name: str,
        digest: str,
        begin: Callable[[waits.Opening], None],
    ) -> Pending | Never:
        """Begin one of the waits of `engine.waits`."""
        run = self.run
        if branch is NOWHERE:
            return Never()
        step = branch.next()
        pending = run.delivery.expect(Pending(run, step, branch.frontier))
        opening = waits.Opening(run, step, branch.frontier, run.cause(branch), pending)
        run.delivery.take(step, kind, name, digest)
        self._begin(step, lambda: begin(opening))
        return pending

    def approval(
        self,
        branch: Branch,
        title: str,
        *,
        details: Any,  # noqa: ANN401 - any JSON
        role: str | None,
        expires: str | float | None,
    ) -> Pending | Never:
        """Ask a person."""
        title = codec.text(title, "the title of an approval")
        role = None if role is None else codec.text(role, "the role of an approval")
        data = codec.canonical(details, "the details of an approval")
        shown = codec.canonical(title)
        digest = codec.digest(shown + b"\0" + data)
        ms = 0 if expires is None else duration_ms(expires, "expires")
        return self.wait_for(
            branch, "approval", title, digest,
            lambda opening: waits.approval(opening, title, Raw(data), digest, role or "", ms),
        )  # fmt: skip

    def signal(self, branch: Branch, name: str, timeout: str | float | None) -> Pending | Never:
        """Wait for a signal."""
        name = codec.text(name, "the name of a signal")
        ms = 0 if timeout is None else max(1, duration_ms(timeout, "timeout"))
        return self.wait_for(
            branch, "signal", name, "", lambda opening: waits.signal(opening, name, ms)
        )

    def sleep(self, branch: Branch, duration: str | float) -> Pending | Never:
        """Wait for a time."""
        ms = duration_ms(duration, "the time to sleep")
        return self.wait_for(
            branch, "timer", f"{ms} ms", "", lambda opening: waits.timer(opening, ms)
        )

    def child(
        self,
        branch: Branch,
        agent: object,
        message: str,
        given: Any,  # noqa: ANN401
    ) -> Pending | Never:
        """Start a child job and wait for its output."""
        name = agent if isinstance(agent, str) else getattr(agent, "__aetheris_agent__", agent)
        name = getattr(name, "id", name)
        if not isinstance(name, str):
            raise UsageError(f"{agent!r} is not an agent", why="give its id or its function")
        message = codec.text(message, "the message of a child", most=codec.MAX_MESSAGE, empty=True)
        if f"{branch.path}{branch.count + 1}" not in self.run.history.steps:
            self.run.host.registry.agent(name)  # a slip is the agent's error, here and now
        data = codec.canonical(given, "the input of a child")
        digest = codec.digest(codec.canonical(message) + b"\0" + data)
        return self.wait_for(
            branch, "child", name, digest,
            lambda opening: waits.child(opening, name, message, Raw(data), digest),
        )  # fmt: skip

    def value(self, branch: Branch, kind: str, make: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Give a value that is recorded the first time and read from the history after."""
        run = self.run
        if branch is NOWHERE:
            raise Stopped
        step = branch.next()
        found = run.delivery.take(step, "value", kind, "")
        if found is not None:
            return outcome(run.job, found)[0]
        made = make()
        event = ev.ValueRecorded(
            at=run.now(), step=step, kind=kind, value=Raw(codec.canonical(made))
        )
        run.delivery.hold(step, lambda: run.queue(recorded(event)))
        return made

    def patched(self, branch: Branch, name: str) -> bool:
        """Whether the branch runs the new side of a change of its code."""
        run = self.run
        if branch is NOWHERE:
            raise Stopped
        step = f"{branch.path}patch:{codec.text(name, 'the name of a patch')}"
        if step in run.history.steps:
            return True
        if not run.delivery.live:
            return False
        event = ev.ValueRecorded(
            at=run.now(), step=step, kind="patched", name=name, value=Raw(b"true")
        )
        run.queue(recorded(event))
        return True

    def log(self, branch: Branch, text: str, fields: dict[str, Any]) -> None:
        """Write a line into the trace, once."""
        run = self.run
        if branch is NOWHERE:
            raise Stopped
        branch.logs += 1
        step = f"{branch.path}log{branch.logs}"
        if step in run.history.logs:
            return
        data = Raw(codec.canonical(fields, "the fields of a log line")) if fields else ev.NONE
        clean = str(text)[:_LOG_CHARS].encode("utf-8", "replace").decode()
        event = ev.LogWritten(at=run.now(), step=step, text=clean, fields=data)
        run.delivery.hold(step, lambda: run.queue(recorded(event)))

    def seeded(self, branch: Branch, what: str) -> Random:
        """Give a source of chance that is the same at every run of this place."""
        if branch is NOWHERE:
            raise Stopped
        seed = hashlib.sha256(f"{self.run.job}:{branch.next()}:{what}".encode()).digest()
        return Random(int.from_bytes(seed))  # noqa: S311 - it must be repeatable
