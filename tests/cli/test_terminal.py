"""On a terminal: trees, pictures and colours; the same words as elsewhere, and nothing hostile."""

import os
import pty
import re
import struct
from fcntl import ioctl
from termios import TIOCSWINSZ

import pytest
from shell import Shell  # type: ignore[import-not-found]

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_a_terminal(shell: Shell, *words: str, size: tuple[int, int] = (40, 120)) -> tuple[int, str]:
    """Run a command with a terminal as its stdout and stderr; give its code and what it wrote."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    process = shell.start(*words, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 65_536):
            written += part
    except OSError:
        pass  # that is how Linux says that nobody has the terminal open any more
    finally:
        os.close(ours)
    return process.wait(60), written.decode()


@pytest.fixture
def terminal(shell: Shell) -> Shell:
    shell.environment |= {"TERM": "xterm-256color"}
    shell.environment.pop("NO_COLOR", None)
    return shell


def test_run_shows_a_tree_that_grows_and_then_the_answer(terminal: Shell) -> None:
    code, written = on_a_terminal(terminal, "run", "echo", "hello")
    assert code == 0
    plain = ESCAPES.sub("", written)
    assert "└── ✔ 1 shout" in plain
    assert plain.rstrip().endswith("HELLO")
    assert "job.submitted" not in plain


def test_a_job_that_waits_is_seen_to_wait(terminal: Shell) -> None:
    code, written = on_a_terminal(terminal, "run", "asks", "pay?")
    assert code == 8
    assert "‖ 1 pay?  waits for approval" in ESCAPES.sub("", written)


@pytest.mark.parametrize(
    ("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")], ids=["NO_COLOR", "dumb"]
)
def test_a_plain_terminal_gets_plain_lines(terminal: Shell, name: str, value: str) -> None:
    terminal.environment[name] = value
    code, written = on_a_terminal(terminal, "run", "echo", "hello")
    assert code == 0
    assert "\x1b" not in written
    assert "job.submitted" in written


def test_show_and_graph_fit_the_terminal(terminal: Shell) -> None:
    terminal.ok("run", "echo", "hello")
    code, shown = on_a_terminal(terminal, "show", "@last")
    assert code == 0
    assert "└── ✔ 1 shout" in ESCAPES.sub("", shown)
    code, drawn = on_a_terminal(terminal, "graph", "@last", size=(10, 8))
    assert code == 0
    assert drawn.split() == ["✔", "1"]


def test_what_an_agent_says_stays_inert_on_a_terminal(terminal: Shell) -> None:
    code, written = on_a_terminal(terminal, "run", "hostile", "x\x1b[31m")
    assert code == 0
    assert "\x1b]0;" not in written
    assert "\u202e" not in written
    assert "[bold]x[/bold]" in written
