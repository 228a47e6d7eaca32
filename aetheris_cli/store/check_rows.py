"""The rows of one job held against what its history makes of them."""

import re
from collections.abc import Iterable
from typing import Any, Final

from aetheris_cli.domain import codec
from aetheris_cli.domain.projection import Asked, Projection
from aetheris_cli.domain.records import Question
from aetheris_cli.domain.states import ParkedReason
from aetheris_cli.store.check_file import is_text
from aetheris_cli.store.findings import Finding, Findings, differs, same, shown

Conn = Any
_FIELDS: Final = [name for name in Question.__struct_fields__ if name not in {"step", "details"}]
_KEY_TITLE: Final = re.compile(r"call (\w+)\.[^ ]+ holds the key (.*)", re.DOTALL)


def job(row: dict[str, Any], projected: dict[str, Any]) -> Findings:
    """Compare the columns of the job's row."""
    for name, expected in projected.items():
        if not same(row[name], expected):
            yield differs(row["id"], f"jobs.{name}", row[name], expected)


def labels(name: str, rows: Iterable[tuple[Any, ...]], wanted: Projection) -> Findings:
    """Compare the job's labels."""
    found = dict(rows)
    for label in sorted(wanted.labels.keys() | found.keys(), key=str):
        stored, expected = found.get(label), wanted.labels.get(label)
        if not same(stored, expected):
            yield differs(name, f"the label {shown(label)}", stored, expected)


# --- questions -------------------------------------------------------------------------------


def questions(
    conn: Conn, name: str, rows: Iterable[tuple[Any, ...]], wanted: Projection
) -> Findings:
    """Compare what the job waits for."""
    found = {question.step: question for question in (Question(*row) for row in rows)}
    for step, asked in wanted.questions.items():
        question = found.pop(step, None)
        if question is None:
            expected = f"{asked.question.kind} {asked.question.title}"
            yield Finding(name, f"{_place(step)} is missing", "nothing", shown(expected))
        else:
            yield from _compare(name, question, asked)
    for step in sorted(wanted.keyed):
        if step not in found:
            yield Finding(name, f"{_place(step)} is missing", "nothing", ParkedReason.GLOBAL_KEY)
    for question in found.values():
        if question.kind == ParkedReason.GLOBAL_KEY and _may_want_key(question.step, wanted):
            yield from _wait_for_key(conn, name, question)
        else:
            stored = shown(f"{question.kind} {question.title}")
            yield Finding(name, f"{_place(question.step)} is not open", stored, "nothing")


def _place(step: object) -> str:
    return f"the question about step {shown(step)}" if step else "the question about the job"


def _compare(name: str, question: Question, asked: Asked) -> Findings:
    expected = asked.question
    for field in _FIELDS:
        stored, wanted = getattr(question, field), getattr(expected, field)
        if field == "title" and asked.begins:
            good, wanted = str(stored).startswith(asked.begins), f"{asked.begins}…"
        else:
            good = same(stored, wanted)
        if not good:
            yield differs(name, f"{_place(question.step)}: {field}", stored, wanted)
    details = question.details
    if asked.large:
        good = isinstance(details, str) and codec.digest(_bytes(details)) == asked.large
    else:
        good = same(details, expected.details)
    if not good:
        wanted = asked.large or expected.details
        yield differs(name, f"{_place(question.step)}: details", details, wanted)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _may_want_key(step: str, wanted: Projection) -> bool:
    """Whether a call at this place may wait for a key: it has neither begun nor ended."""
    history = wanted.history
    at = history.steps.get(step)
    return history.ended is None and history.epoch > 0 and (at is None or not at.key)


def _wait_for_key(conn: Conn, name: str, question: Question) -> Findings:
    """Check a wait for a global key against the keys that are held."""
    place, title = _place(question.step), _KEY_TITLE.fullmatch(str(question.title))
    if title is None or not exists(conn, title[1]):
        yield differs(name, f"{place}: title", question.title, "the call that holds the key")
        return
    if not any(title[2] == repr(key) for key in _held(conn, str(question.name))):
        yield differs(name, f"{place}: name", question.name, f"the tool and the key {title[2]}")
    empty = Question(step="", kind="", since=0)
    for field in ("digest", "schema", "role", "until", "details"):
        stored, wanted = getattr(question, field), getattr(empty, field)
        if not same(stored, wanted):
            yield differs(name, f"{place}: {field}", stored, wanted)


def _held(conn: Conn, name: str) -> list[str]:
    """Give the keys, of some tool, that a wait may name so: either may have a colon in it."""
    if not is_text(_bytes(name)):
        return []
    cuts = [(name[:at], name[at + 1 :]) for at, char in enumerate(name) if char == ":"]
    held = "SELECT 1 FROM global_keys WHERE tool = ? AND key = ?"
    return [key for tool, key in cuts if conn.execute(held, (tool, key)).fetchone()]


def exists(conn: Conn, job_id: str) -> bool:
    """Whether there is a job of that id."""
    return conn.execute("SELECT 1 FROM jobs WHERE id = ?", (job_id,)).fetchone() is not None
