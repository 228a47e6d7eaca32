"""agents.yaml: what is wrong is named with its line and column, and what is right is read."""

import json
from pathlib import Path

import pytest

from aetheris_cli.app.declared import load
from aetheris_cli.app.registry import CodeRegistry
from aetheris_cli.config import document
from aetheris_cli.config.agents import read
from aetheris_cli.domain.errors import UsageError
from aetheris_cli.domain.ledger import Effect, OnInDoubt
from aetheris_cli.domain.retry import Retry

ROOT = Path(__file__).parents[2]
BAD = json.loads((ROOT / "tests" / "data" / "bad_agents.json").read_text("utf-8"))


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "agents.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_named_with_its_place(name: str, tmp_path: Path) -> None:
    case = BAD[name]
    path = written(tmp_path, case["text"])
    with pytest.raises(UsageError) as caught:
        load(read(path), CodeRegistry())
    error = caught.value
    assert error.message.startswith(f"{path}:{case['at']}: "), error.message
    assert case["says"] in f"{error.message} {error.why} {error.fix}"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xff\xfe", "no UTF-8"),
        ("agents: []".encode("utf-16"), "no UTF-8"),
        ("\ufeffagents: []".encode(), "byte order mark"),
        (b"a: " + b"x" * (1 << 20), "more than"),
        (b"[" * 5_000, "nested"),
        (b"a: [" * 60 + b"]" * 60, "nested"),
    ],
    ids=["bytes", "UTF-16", "BOM", "large", "brackets", "deep"],
)
def test_a_file_that_is_no_configuration_is_refused(data: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        read(written(tmp_path, data))


def test_a_folder_or_no_file_at_all_is_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml", Path("/dev/zero")):
        with pytest.raises(UsageError):
            read(path)


def test_the_operators_word_wins_over_the_authors(tmp_path: Path) -> None:
    (tmp_path / "shop_to_set.py").write_text(
        "from aetheris import agent, tool\n"
        "@tool(effect='unsafe', timeout='1s')\n"
        "async def pay(amount: int) -> int: return amount\n"
        "@agent\n"
        "async def buy(ctx, message): return await ctx.call(pay, amount=1)\n"
    )
    path = written(
        tmp_path,
        "tools:\n"
        '  - {id: pay, type: python, entrypoint: "shop_to_set:pay", effect: key, key_ttl: 1h,\n'
        "     timeout: 2m, on_in_doubt: fail, retry: {max: 4, base: 100ms, cap: 5s}}\n"
        "agents:\n"
        '  - {id: buy, type: python, entrypoint: "shop_to_set:buy", version: 3, tools: [pay],\n'
        "     timeout: 90}\n",
    )
    registry = CodeRegistry()
    load(read(path), registry)
    pay, buy = registry.tool("pay"), registry.agent("buy")
    assert (pay.effect, pay.key_ttl_ms, pay.timeout_ms) == (Effect.KEY, 3_600_000, 120_000)
    assert (pay.on_in_doubt, pay.retry) == (OnInDoubt.FAIL, Retry(4, base=0.1, cap=5.0))
    assert (buy.version, buy.timeout_ms, buy.tools) == ("3", 90_000, frozenset({"pay"}))


def test_the_repositorys_own_file_is_loaded() -> None:
    registry = CodeRegistry()
    load(read(ROOT / "agents.yaml"), registry)
    assert "digest" in registry.agents()


def test_an_empty_file_declares_nothing(tmp_path: Path) -> None:
    assert list(read(written(tmp_path, "")).agents()) == []
    assert list(read(written(tmp_path, "# nothing yet\n")).tools()) == []


def test_values_are_read_as_json_would(tmp_path: Path) -> None:
    text = 'a: [1, -2.5, 1e3, true, null, ~, "no", yes please, 12:30x, 1.2.3]'
    found = document.read(written(tmp_path, text)).data
    assert found == {
        "a": [1, -2.5, 1000.0, True, None, None, "no", "yes please", "12:30x", "1.2.3"]
    }
