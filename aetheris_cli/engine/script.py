"""The script: what the history says the agent's code did, held against what it does now.

Resume and replay run the agent's code again from its start. Each command it issues must be the
one recorded at that place; outcomes are given to it in the order in which they were recorded.
Until every recorded command has been issued and every recorded outcome delivered, nothing new
is started: an agent whose code has changed is found out before it does anything.
"""

from collections import deque
from typing import Final

import msgspec

from aetheris_cli.domain.history import History, Step

_SHOWN: Final = 200


class Divergence(msgspec.Struct, frozen=True):
    """The first difference between the code and the history."""

    step: str
    expected: str
    found: str
    hint: str = ""

    def __str__(self) -> str:
        return f"step {self.step}: the history has {self.expected}, the code {self.found}"


class Script:
    """What is left of the recorded part of a job."""

    def __init__(self, history: History) -> None:
        self._steps = {step.id: step for step in history.steps.values() if not _is_patch(step)}
        self._unissued = set(self._steps)
        self.order = deque(
            step
            for step in history.completed
            if step in self._steps and self._steps[step].kind != "value"
        )

    @property
    def over(self) -> bool:
        """Whether the code has caught up with the history."""
        return not self._unissued and not self.order

    def take(self, step: str) -> Step | None:
        """Give the step recorded at this place, now issued; None when it is new."""
        if step not in self._unissued:
            return None
        self._unissued.remove(step)
        return self._steps[step]

    def arrived(self, step: str) -> None:
        """Take note of an outcome that has come while the code catches up: it is the last."""
        if step in self._steps and step not in self.order:
            self.order.append(step)

    def step(self, step: str) -> Step:
        """Give a recorded step."""
        return self._steps[step]

    def missing(self, done: str) -> Divergence:
        """Say what the code did not do, at the moment when it can do nothing more."""
        first = min(self._unissued or set(self.order), key=_place)
        return Divergence(
            first,
            expected=described(self._steps[first]),
            found=done,
            hint="a command was removed, or a condition decides otherwise than it did",
        )


def described(step: Step) -> str:
    """Name a recorded command."""
    return f"{step.kind} {step.name}".strip()


def compare(
    step: Step,
    kind: str,
    name: str,
    digest: str,
    *,
    args: bytes = b"",
    key: str = "",
    schema: str = "",
) -> Divergence | None:
    """Hold a command against the record.

    `args`, `key`, `schema`: of a call alone. The schema counts while the call has no outcome:
    its bytes were made for the parameters that the tool had then.
    """
    found = f"{kind} {name}".strip()
    if (step.kind, step.name) != (kind, name):
        what, hint = "", "the code has changed before this place: guard it with ctx.patched(name)"
    elif step.digest != digest:
        what = f" with {_cut(bytes(step.args))}" if args else " with other contents"
        found += f" with {_cut(args)}" if args else ""
        hint = (
            "the code has changed, or the arguments depend on something that is not recorded: "
            "use ctx.now, ctx.random, or a pure tool for what comes from outside"
        )
    elif step.key != key:
        what = f" with the key {step.key!r}" if step.key else " without a key"
        hint = "the key of a call never changes: a new one would be a second effect"
    elif schema and step.schema and not step.done and step.schema != schema:
        what = " with other parameters of the tool"
        hint = "the tool has changed while the call was open: put it back, or cancel the job"
    else:
        return None
    return Divergence(step.id, described(step) + what, found, hint)


def _cut(args: bytes) -> str:
    text = args[:_SHOWN].decode("utf-8", "replace")
    return text if len(args) <= _SHOWN else f"{text}…"


def _is_patch(step: Step) -> bool:
    return step.kind == "value" and step.name.startswith("patched ")


def _place(step: str) -> tuple[int, ...]:
    return tuple(int(part) for part in step.split(".") if part.isdigit())
