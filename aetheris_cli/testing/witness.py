"""The witness: a process of its own that writes down every effect it is asked for.

It stands for the world outside: a payment provider, a mail server. `POST /effect` appends the
JSON body as one line to its log, on the disk before it answers. `GET /happened/ID` says whether
an effect with that call id was seen: what a probe asks. It runs as
`python -m aetheris_cli.testing.witness LOG`, and prints its address.
"""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import unquote
from urllib.request import Request, urlopen

MAX_BODY: Final = 1 << 20


class Witness:
    """Starts the witness for the length of a `with` block. `url` is where effects go."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.log.touch()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "aetheris_cli.testing.witness", str(self.log)],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        )
        if self._process.stdout is None:
            raise RuntimeError("the witness has no output")
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the witness did not start")
        return self

    def __exit__(self, *_raised: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def effects(self) -> list[dict[str, Any]]:
        """Give all effects it has seen, in order."""
        return [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]


def send(url: str, effect: dict[str, Any]) -> dict[str, Any]:
    """Ask the witness for an effect; for tools of tests and demos. Raises OSError."""
    body = json.dumps(effect).encode()
    request = Request(f"{url}/effect", body, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urlopen(request, timeout=30) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
        return found


def happened(url: str, call_id: str) -> dict[str, Any] | None:
    """Ask the witness whether it has seen an effect of this call; its answer then, or None."""
    with urlopen(f"{url}/happened/{call_id}", timeout=30) as answer:  # noqa: S310
        found: dict[str, Any] | None = json.load(answer)
        return found


class _Log:
    """The witness's memory and its file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._seen: dict[str, dict[str, Any]] = {}

    def put(self, effect: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._file.write(json.dumps(effect) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            answer = {"ok": True, "call_id": effect.get("call_id"), "n": len(self._seen) + 1}
            return self._seen.setdefault(str(effect.get("call_id")), answer)

    def get(self, call_id: str) -> dict[str, Any] | None:
        with self._lock:
            return self._seen.get(call_id)


def _handler(log: _Log) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = min(int(self.headers.get("Content-Length", "0")), MAX_BODY)
            self._answer(log.put(json.loads(self.rfile.read(size))))

        def do_GET(self) -> None:
            self._answer(log.get(unquote(self.path.rpartition("/")[2])))

        def _answer(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Say nothing: the log file is the record."""

    return Handler


def main(path: str) -> None:
    """Serve until stdin ends, so that no witness outlives whoever started it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(_Log(Path(path))))
    host, port = server.server_address[:2]
    sys.stdout.write(f"http://{host!s}:{port}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
