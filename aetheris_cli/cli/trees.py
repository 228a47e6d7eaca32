"""A job as a tree for a terminal, once or live: its steps under the branches that made them."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from aetheris_cli.cli.output import STYLES, Row, cell
from aetheris_cli.cli.pictures import MARKS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text
    from rich.tree import Tree

_ROOM: Final = 6
"""Lines of a terminal that a live tree leaves to other things."""
_SHOWN: Final = 60


def tree(job: Row, steps: Sequence[Row], *, most: int = 0, payloads: bool = False) -> "Tree":
    """Build the tree. `most`: how many steps to show, those that are open before the others."""
    from rich.tree import Tree  # noqa: PLC0415 - only for a terminal

    made = Tree(_head(job), guide_style="dim")
    shown = _chosen(steps, most) if most and len(steps) > most else list(steps)
    if len(shown) < len(steps):
        made.add(f"[dim]… {len(steps) - len(shown)} steps more, all done[/dim]")
    branches: dict[str, Tree] = {"": made}
    for step in sorted(shown, key=_place):
        line = _line(step)
        node = _branch(branches, step["branch"] or "").add(line)
        if payloads:
            for name in ("input", "output", "error"):
                if step[name] is not None:
                    node.add(_text(f"{name}: {cell(step[name])}", "dim"))
    return made


def _place(step: Row) -> list[int]:
    """Order steps as they stand in the program."""
    return [int(part) if part.isdigit() else 0 for part in step["id"].split(".")]


def _chosen(steps: Sequence[Row], most: int) -> list[Row]:
    """Keep what is open and, as far as there is room, what was done last."""
    last_first = sorted(
        enumerate(steps), key=lambda one: (one[1]["finished_at"] is not None, -one[0])
    )
    return [step for _, step in last_first[:most]]


def _branch(branches: "dict[str, Tree]", path: str) -> "Tree":
    """Give the node of a branch like 2.0, made under the branch that it forked from."""
    if path not in branches:
        gather, _, _ = path.rpartition(".")
        outer = gather.rpartition(".")[0]
        branches[path] = _branch(branches, outer).add(_text(f"branch {path}", "dim"))
    return branches[path]


def _head(job: Row) -> "Text":
    status = job["parked"]["reason"] if job["parked"] else job["status"]
    text = _text(f"{job['id']}  {cell(job['agent'])}  ", "bold")
    return text.append(cell(status), STYLES.get(job["status"], ""))


def _line(step: Row) -> "Text":
    style = STYLES.get(step["status"], "")
    text = _text(f"{MARKS[step['status']]} ", style)
    text.append(f"{step['id']} ", "dim")
    text.append(cell(step["name"])[:_SHOWN])
    if step["effect"] not in (None, "pure"):
        text.append(f"  {step['effect']}", "dim")
    tries = len(step["attempts"])
    if tries > 1:
        text.append(f"  attempt {tries}", "yellow")
    if step["duration_ms"] is not None:
        text.append(f"  {step['duration_ms']} ms", "dim")
    elif step["status"] == "waiting":
        text.append(f"  waits for {step['kind']}", style)
    if step["error"]:
        text.append(f"  {cell(step['error']['message'])[:_SHOWN]}", "red")
    return text


def _text(words: str, style: str) -> "Text":
    from rich.text import Text  # noqa: PLC0415 - only for a terminal

    return Text(words, style, overflow="ellipsis", no_wrap=True)


class Growing:
    """A tree on a terminal that follows a job."""

    def __init__(self, console: "Console", live: "Live") -> None:
        self._console = console
        self._live = live

    def update(self, job: Row, steps: Sequence[Row]) -> None:
        """Show how the job stands now."""
        most = max(4, self._console.size.height - _ROOM)
        self._live.update(tree(job, steps, most=most))


@contextmanager
def growing() -> Iterator[Growing]:
    """Keep a tree at the end of stderr, and leave its last state there."""
    from rich.console import Console  # noqa: PLC0415 - only for a terminal
    from rich.live import Live  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    # What a tool prints appears above the tree; what is no terminal's stays where it goes.
    live = Live(
        console=console,
        refresh_per_second=10,
        redirect_stdout=sys.stdout.isatty(),
        vertical_overflow="crop",
    )
    with live:
        yield Growing(console, live)
