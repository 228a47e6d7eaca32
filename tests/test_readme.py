"""Every block of the README is run, in its order, as a reader would."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(?:<!-- (.+?) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


def _blocks() -> list[tuple[str, str, str]]:
    return BLOCK.findall((ROOT / "README.md").read_text("utf-8"))


def _run(words: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {name: text for name, text in os.environ.items() if not name.startswith("AETHERIS_")}
    return subprocess.run(
        words,
        cwd=folder,
        env=clean | {"PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_block_is_known_and_none_is_forgotten() -> None:
    for marker, language, text in _blocks():
        if not marker:
            assert text == "make demo\n", f"nobody runs this {language} block: {text}"


def test_make_demo() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert "$(BIN)/aetheris demo" in makefile
    done = _run(["aetheris", "demo"], ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("The witness saw 1 charge.") == 3
    assert "in_doubt" in done.stdout


def test_the_first_job(tmp_path: Path) -> None:
    # A copy, so that the reader's own store and outbox stay as they are.
    for name in ("README.md", "agents.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "aetheris").symlink_to(Path(sys.executable).with_name("aetheris"))
    ran = 0
    for marker, _, text in _blocks():
        kind, _, what = marker.partition(": exit ")
        if kind == "first":
            ran += 1
            done = _run(["bash", "-euc", text], tmp_path)
            assert done.returncode == int(what), (text, done.stdout, done.stderr)
    assert ran == 2
    (report,) = (tmp_path / "outbox").iterdir()
    assert "# README.md" in report.read_text("utf-8")
    assert done.stdout.splitlines()[-1].endswith(report.name)


def test_the_tour(tmp_path: Path) -> None:
    ran = 0
    for marker, _, text in _blocks():
        kind, _, what = marker.partition(": ")
        if kind != "tour":
            continue
        ran += 1
        if what.startswith("exit "):
            done = _run(["bash", "-euc", text], tmp_path)
            assert done.returncode == int(what[5:]), (text, done.stdout, done.stderr)
        elif what == "python":
            done = _run([sys.executable, "-c", text], tmp_path)
            assert done.returncode == 0, done.stderr
            assert done.stdout == "parked approval\n{'refunded': 30}\n"
        else:
            (tmp_path / what).write_text(text, "utf-8")
    assert ran >= 8
