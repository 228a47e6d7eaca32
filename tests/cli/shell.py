"""A project in a folder of its own and the real command line in it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

AGENTS = """
import os, time
from aetheris import agent, tool

@tool(effect="pure")
def shout(text: str) -> str:
    return text.upper()

@agent("echo")
async def echo(ctx, message):
    return await ctx.call(shout, text=message)

@agent("asks")
async def asks(ctx, message):
    return (await ctx.approval(message or "go on?")).approved

@agent("fails")
async def fails(ctx, message):
    raise ValueError(message)

@agent("hostile")
async def hostile(ctx, message):
    ctx.log("log \\x1b[31mred\\x07 \\u202egnp.exe")
    return "answer \\x1b]0;title\\x07 [bold]x[/bold]\\r\\nnext"

@agent("sleeps")
async def sleeps(ctx, message):
    await ctx.sleep("1h")

@tool(effect="pure")
def wait_for(path: str) -> str:
    open(path + ".reached", "w").close()
    while not os.path.exists(path + ".go"):
        time.sleep(0.01)
    return "gone"

@agent("holds")
async def holds(ctx, message):
    return await ctx.call(wait_for, path=message)

@agent("loud")
async def loud(ctx, message):
    print("from the agent")
    os.system("echo from a program")
    return message

@agent("leaves")
async def leaves(ctx, message):
    if os.path.exists("leave"):
        os._exit(0)
    return message

@agent("spins")
async def spins(ctx, message):
    while os.path.exists("spin"):
        pass
    return message

@agent("expires")
async def expires(ctx, message):
    return (await ctx.approval("quick!", expires="1200ms")).approved

@tool(effect="pure")
async def block(path: str) -> str:
    open(path + ".reached", "w").close()
    while not os.path.exists(path + ".go"):
        time.sleep(0.01)
    return "gone"

@agent("blocks")
async def blocks(ctx, message):
    return await ctx.call(block, path=message)

@tool(effect="pure")
async def fork() -> int:
    return 1 if os.fork() else 0

@agent("forks")
async def forks(ctx, message):
    with open("ran", "a") as file:
        file.write("agent ")
    return await ctx.call(fork)
"""
NAMES = (
    "echo",
    "asks",
    "fails",
    "hostile",
    "sleeps",
    "holds",
    "loud",
    "leaves",
    "spins",
    "expires",
    "blocks",
    "forks",
)


class Shell:
    """Runs `aetheris` in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        lines = [f'  - {{id: {name}, type: python, entrypoint: "mine:{name}"}}' for name in NAMES]
        (folder / "agents.yaml").write_text("agents:\n" + "\n".join(lines) + "\n")
        (folder / "mine.py").write_text(AGENTS)
        self.environment = {
            name: text for name, text in os.environ.items() if not name.startswith("AETHERIS_")
        } | {"PYTHONDONTWRITEBYTECODE": "1"}
        self.processes: list[subprocess.Popen[str]] = []

    @property
    def store(self) -> Path:
        """Where the store is, once there is one."""
        return self.folder / ".aetheris" / "aetheris.db"

    def start(self, *words: str, **options: Any) -> "subprocess.Popen[str]":
        """Start a command and go on."""
        settings: dict[str, Any] = {
            "cwd": self.folder, "env": self.environment, "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True,
        }  # fmt: skip
        made = subprocess.Popen(
            [sys.executable, "-m", "aetheris_cli.cli", *words], **(settings | options)
        )
        self.processes.append(made)
        return made

    def run(self, *words: str, say: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end; `say` is its stdin."""
        options = {} if say is None else {"stdin": subprocess.PIPE}
        process = self.start(*words, **options)
        stdout, stderr = process.communicate(say, timeout=60)
        assert "Traceback" not in stderr, stderr
        return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)

    def ok(self, *words: str, say: str | None = None) -> str:
        """Run a command that must succeed, and give what it prints."""
        done = self.run(*words, say=say)
        assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout.strip()

    def close(self) -> None:
        """Let no process outlive its test."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
