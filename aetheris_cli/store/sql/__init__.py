"""The named SQL of the store, read from the `.sql` file beside this one."""

import re
from functools import cache
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_ROWS: Final = re.compile(r":rows\((\d+)\)")


@cache
def queries() -> dict[str, str]:
    """Give every statement by its name."""
    parts = _NAME.split(files(__name__).joinpath("queries.sql").read_text("utf-8"))
    return {name: _bare(text) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _bare(text: str) -> str:
    """Leave the comments out: SQLite would parse them again with every preparation."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return " ".join(" ".join(lines).split())


@cache
def many(name: str, rows: int) -> str:
    """Give the statement `name` with room for `rows` rows of values."""
    text = queries()[name]
    found = _ROWS.search(text)
    if found is None:
        raise KeyError(f"{name} takes no rows")
    one = "(" + ", ".join("?" * int(found[1])) + ")"
    return text[: found.start()] + ", ".join([one] * rows) + text[found.end() :]
