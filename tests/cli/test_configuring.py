"""A project begins with `init`, and `config` says what is declared and where."""

import json
from typing import Any


def test_a_project_runs_as_init_has_written_it(shell: Any) -> None:
    shell.ok("init", "fresh")
    fresh = shell.folder / "fresh"
    assert (fresh / "agents.yaml").read_text().startswith("# yaml-language-server: $schema=")
    schema = json.loads((fresh / ".aetheris" / "agents.schema.json").read_text())
    assert schema == json.loads(shell.ok("config", "schema"))
    shell.folder = fresh
    assert shell.ok("run", "hello", "Ada") == "Hello, Ada!"


def test_init_overwrites_nothing(shell: Any) -> None:
    before = (shell.folder / "agents.yaml").read_text()
    done = shell.run("init")
    assert done.returncode == 5
    assert "agents.yaml is there already" in done.stderr
    assert (shell.folder / "agents.yaml").read_text() == before
    assert shell.run("init", "mine.py").returncode == 2


def test_config_shows_what_is_declared_and_where(shell: Any) -> None:
    found = json.loads(shell.ok("config", "path", "--json"))
    assert found["config"] == str(shell.folder / "agents.yaml")
    assert found["store"].endswith("/.aetheris/aetheris.db")
    rows = shell.ok("config", "show", "-o", "tsv").splitlines()
    assert rows[1].split("\t")[:4] == ["echo", "agent", "python", "mine:echo"]
    assert rows[1].endswith("agents.yaml:2:5")
    declared = json.loads(shell.ok("config", "show", "--json"))
    assert declared["agents"][0]["id"] == "echo"


def test_the_schema_knows_every_key(shell: Any) -> None:
    schema = json.loads(shell.ok("config", "schema"))
    agent = schema["$defs"]["PythonAgent"]
    assert agent["additionalProperties"] is False
    assert {"type", "id", "entrypoint", "version", "tools", "timeout"} == set(agent["properties"])
