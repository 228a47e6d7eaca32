"""Every block of the README is run, in its order, as a reader would."""

import os
import re
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
