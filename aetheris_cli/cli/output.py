"""What the command line prints: data on stdout, narration on stderr."""

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TextIO

from aetheris_cli.domain.errors import AetherisError

Row = Mapping[str, Any]

_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_PADDED: Final = 40
"""Cells wider than this do not widen their column."""
_UNBOUNDED: Final = 10_000


class ReaderGone(Exception):
    """Whoever read the data has seen enough. It is no error."""


class Format(StrEnum):
    """How data is written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    TSV = "tsv"
    IDS = "ids"


def clean(text: str) -> str:
    """Take control, bidi and escape characters out of a text that others have written."""
    return _UNSAFE.sub("\ufffd", text)


def cell(value: Any) -> str:  # noqa: ANN401
    """Write a value into one line."""
    if value is None:
        return "-"
    if isinstance(value, str):
        text = value
    elif isinstance(value, list) and all(isinstance(one, str) for one in value):
        text = ", ".join(value)
    else:
        text = json.dumps(value, ensure_ascii=False)
    return clean(text).replace("\n", " ").replace("\t", " ")


class Output:
    """The two streams of one command."""

    def __init__(self) -> None:
        self.format = Format.TABLE
        self.color = "auto"
        self._file: TextIO | None = None
        self._gone = False

    @property
    def file(self) -> TextIO:
        """Where data goes: the stdout that the program was started with."""
        return self._file or sys.stdout

    def keep_data_apart(self) -> None:
        """Let what an author's code prints go to stderr, so that stdout holds our data alone."""
        if self._file is None:
            sys.stdout.flush()
            self._file = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
            os.dup2(2, 1)

    def finish(self) -> None:
        """Write what is buffered. Raises OSError where that cannot be."""
        if not self._gone:
            self._guarded(self.file.flush)

    def _guarded(self, write: Callable[[], object]) -> None:
        """Write, unless nobody reads any more: then what is left goes nowhere."""
        try:
            write()
        except BrokenPipeError:
            self._gone = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
        except OSError as error:
            self._gone = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
            raise AetherisError(
                f"the output cannot be written: {error.strerror}",
                why="what stdout leads to takes no more",
                fix="send it elsewhere; what the command did is done",
            ) from error

    @property
    def is_json(self) -> bool:
        """Whether a program reads."""
        return self.format in {Format.JSON, Format.JSONL}

    @property
    def fancy(self) -> bool:
        """Whether stdout is a terminal that may be decorated."""
        if self.color == "always":
            return True
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return self.color == "auto" and not plain and self.file.isatty()

    @property
    def lively(self) -> bool:
        """Whether stderr is a terminal on which something may move."""
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return self.color != "never" and not plain and sys.stderr.isatty()

    @property
    def columns(self) -> int:
        """The width of the terminal that stdout is; 0 when it is none."""
        return shutil.get_terminal_size().columns if self.file.isatty() else 0

    def line(self, text: str) -> None:
        """Write one line of data."""
        self._guarded(lambda: self.file.write(text + "\n"))

    def text(self, text: str) -> None:
        """Write an author's text: as it is for a program, without what could steer a terminal."""
        self.line(clean(text) if self.file.isatty() else text)

    def json(self, value: Any) -> None:  # noqa: ANN401
        """Write one value as JSON."""
        if self.format is Format.JSONL or not self.fancy:
            self.line(json.dumps(value))
        else:
            self.line(json.dumps(value, indent=2))

    def stream(self, text: str) -> None:
        """Write one line of a stream and flush it. Raises ReaderGone when nobody reads."""
        self.line(text)
        self._guarded(self.file.flush)
        if self._gone:
            raise ReaderGone

    def rows(  # noqa: C901 - one case a format
        self, rows: Sequence[Row], columns: Sequence[str], *, empty: str = ""
    ) -> None:
        """Write a list: all fields for programs, `columns` for people."""
        match self.format:
            case Format.JSON:
                self.json(list(rows))
            case Format.JSONL:
                for row in rows:
                    self.json(row)
            case Format.IDS:
                for row in rows:
                    self.line(str(row.get("id", "")))
            case Format.TSV:
                self.line("\t".join(columns))
                for row in rows:
                    self.line("\t".join(cell(row.get(name)) for name in columns))
            case Format.TABLE:
                if not rows and empty:
                    self.note(empty)
                elif rows:
                    self._table(rows, columns)

    def _table(self, rows: Sequence[Row], columns: Sequence[str]) -> None:
        cells = [[cell(row.get(name)) for name in columns] for row in rows]
        if self.fancy:
            from rich.table import Table  # noqa: PLC0415 - only for a terminal
            from rich.text import Text  # noqa: PLC0415

            table = Table(box=None, header_style="bold", pad_edge=False)
            for name in columns:
                table.add_column(name, overflow="ellipsis", no_wrap=name in {"id", "status"})
            for line in cells:
                table.add_row(*(Text(one, style=STYLES.get(one, "")) for one in line))
            self.print(table)
            return
        widths = [
            max(len(name), *(min(len(line[at]), _PADDED) for line in cells))
            for at, name in enumerate(columns)
        ]
        for line in [list(columns), *cells]:
            padded = (one.ljust(width) for one, width in zip(line, widths, strict=True))
            self.line("  ".join(padded).rstrip())

    def record(self, value: Row, columns: Sequence[str]) -> None:
        """Write one object: whole for programs, `columns` as lines for people."""
        match self.format:
            case Format.JSON | Format.JSONL:
                self.json(value)
            case Format.IDS:
                self.line(str(value.get("id", "")))
            case Format.TSV:
                self.rows([value], columns)
            case Format.TABLE:
                width = max(map(len, columns))
                for name in columns:
                    if value.get(name) not in (None, {}, []):
                        self.line(f"{name.ljust(width)}  {cell(value[name])}")

    def print(self, thing: Any) -> None:  # noqa: ANN401 - whatever rich can print
        """Print something that is made for a terminal."""
        from rich.console import Console  # noqa: PLC0415 - only for a terminal

        console = Console(
            file=self.file,
            force_terminal=self.color == "always" or None,
            highlight=False,
            width=None if self.file.isatty() else _UNBOUNDED,
        )
        self._guarded(lambda: console.print(thing))

    def note(self, text: str) -> None:
        """Say something to a person, beside the data. Programs read their stderr as JSON."""
        if not self.is_json:
            self._say(clean(text))

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # there is no other place to say so
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def error(self, problem: AetherisError) -> None:
        """Say what failed, why, and what to do."""
        if self.is_json:
            self._say(json.dumps({"error": problem.as_json()}))
            return
        lines = [f"error: {_one_line(problem.message)}"]
        lines += [
            f"  {word}: {_one_line(text)}"
            for word, text in (("why", problem.why), ("fix", problem.fix))
            if text
        ]
        self._say("\n".join(lines))


def _one_line(text: str) -> str:
    """Keep a text of others from looking like a line of ours."""
    return clean(text).replace("\n", " ⏎ ")


def each(text: Iterable[str]) -> list[str]:
    """Give non-empty stripped lines."""
    return [line.strip() for line in text if line.strip()]


STYLES: Final = {
    "succeeded": "green",
    "failed": "red",
    "cancelled": "magenta",
    "parked": "yellow",
    "running": "cyan",
    "in_doubt": "bold yellow",
    "unknown": "yellow",
}
