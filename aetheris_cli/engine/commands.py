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
from aetheris_cli.engine.branches import Branch, Pending
from aetheris_cli.engine.calls import Call
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
    ) -> Pending:
        """Call a tool."""
        run = self.run
        made = run.host.registry.tool(tool)
        data = codec.canonical(args, f"the arguments of tool {made.name}")
        # Arguments that do not fit are the agent's error, not an attempt.
        arguments = made.read(data)
        step = branch.next()
        pending = run.pendings[step] = Pending(run, step, branch.frontier)
        call = Call(
            run, step, made, data, arguments, key=key or "",
            timeout_ms=made.timeout_ms if timeout is None else duration_ms(timeout),
            retry=made.retry if retry is None else retry,
            after=branch.frontier, cause=run.cause(branch),
        )  # fmt: skip
        self._issue(step, "call", made.name, call.digest, call.start)
        return pending

    def _issue(
        self, step: str, kind: str, name: str, digest: str, start: Callable[[], None]
    ) -> None:
        """Hold a command against the history, and start it when it has no outcome there."""
        run = self.run
        found = run.take(step, kind, name, digest)
        if found is not None and found.done:
            return  # its outcome is delivered in its turn
        run.hold(start)

    def wait_for(
        self,
        branch: Branch,
        kind: str,
        name: str,
        digest: str,
        begin: Callable[[waits.Opening], None],
    ) -> Pending:
        """Begin one of the waits of `engine.waits`."""
        run = self.run
        step = branch.next()
        pending = run.pendings[step] = Pending(run, step, branch.frontier)
        opening = waits.Opening(run, step, branch.frontier, run.cause(branch), pending)
        self._issue(step, kind, name, digest, lambda: begin(opening))
        return pending

    def approval(
        self,
        branch: Branch,
        title: str,
        *,
        details: Any,  # noqa: ANN401 - any JSON
        role: str | None,
        expires: str | float | None,
    ) -> Pending:
        """Ask a person."""
        data = codec.canonical(details, "the details of an approval")
        shown = codec.canonical(str(title), "the title of an approval")
        digest = codec.digest(shown + b"\0" + data)
        ms = 0 if expires is None else duration_ms(expires, "expires")
        return self.wait_for(
            branch, "approval", str(title), digest,
            lambda opening: waits.approval(opening, str(title), Raw(data), digest, role or "", ms),
        )  # fmt: skip

    def signal(self, branch: Branch, name: str, timeout: str | float | None) -> Pending:
        """Wait for a signal."""
        ms = 0 if timeout is None else max(1, duration_ms(timeout, "timeout"))
        return self.wait_for(
            branch, "signal", name, "", lambda opening: waits.signal(opening, name, ms)
        )

    def sleep(self, branch: Branch, duration: str | float) -> Pending:
        """Wait for a time."""
        ms = duration_ms(duration, "the time to sleep")
        return self.wait_for(
            branch, "timer", f"{ms} ms", "", lambda opening: waits.timer(opening, ms)
        )

    def child(self, branch: Branch, agent: object, message: str, given: Any) -> Pending:  # noqa: ANN401
        """Start a child job and wait for its output."""
        name = agent if isinstance(agent, str) else getattr(agent, "__aetheris_agent__", agent)
        name = getattr(name, "id", name)
        if not isinstance(name, str):
            raise UsageError(f"{agent!r} is not an agent", why="give its id or its function")
        data = codec.canonical(given, "the input of a child")
        digest = codec.digest(codec.canonical(message) + b"\0" + data)
        return self.wait_for(
            branch, "child", name, digest,
            lambda opening: waits.child(opening, name, message, Raw(data), digest),
        )  # fmt: skip

    def value(self, branch: Branch, kind: str, make: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Give a value that is recorded the first time and read from the history after."""
        run = self.run
        step = branch.next()
        found = run.take(step, "value", kind, "")
        if found is not None:
            return outcome(run.job, found)[0]
        made = make()
        event = ev.ValueRecorded(
            at=run.now(), step=step, kind=kind, value=Raw(codec.canonical(made))
        )
        run.hold(lambda: run.queue(recorded(event)))
        return made

    def patched(self, branch: Branch, name: str) -> bool:
        """Whether the branch runs the new side of a change of its code."""
        run = self.run
        step = f"{branch.path}patch:{name}"
        if step in run.history.steps:
            return True
        if not run.live:
            return False
        event = ev.ValueRecorded(
            at=run.now(), step=step, kind="patched", name=name, value=Raw(b"true")
        )
        run.queue(recorded(event))
        return True

    def log(self, branch: Branch, text: str, fields: dict[str, Any]) -> None:
        """Write a line into the trace, once."""
        run = self.run
        branch.logs += 1
        step = f"{branch.path}log{branch.logs}"
        if step in run.history.logs:
            return
        data = Raw(codec.canonical(fields, "the fields of a log line")) if fields else ev.NONE
        clean = str(text)[:_LOG_CHARS].encode("utf-8", "replace").decode()
        event = ev.LogWritten(at=run.now(), step=step, text=clean, fields=data)
        run.hold(lambda: run.queue(recorded(event)))

    def seeded(self, branch: Branch, what: str) -> Random:
        """Give a source of chance that is the same at every run of this place."""
        seed = hashlib.sha256(f"{self.run.job}:{branch.next()}:{what}".encode()).digest()
        return Random(int.from_bytes(seed))  # noqa: S311 - it must be repeatable
