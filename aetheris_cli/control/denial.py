"""Denies this process everything by which code could reach the world: for replays.

An audit hook refuses sockets, other programs and writing to files. It cannot be taken out
again, so it is for a process that does nothing else. Native code that asks nobody is not seen.
"""

import os
import sys
from typing import Final

from aetheris_cli.domain.errors import AetherisError

_DENIED: Final = frozenset(
    {
        "socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo",
        "socket.gethostbyname", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn",
        "os.spawn", "os.fork", "os.forkpty", "pty.spawn", "os.remove", "os.rename", "os.mkdir",
        "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.kill",
        "shutil.rmtree", "shutil.move", "shutil.copyfile", "ftplib.connect", "smtplib.connect",
        "urllib.Request", "sqlite3.connect",
    }
)  # fmt: skip
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class EffectDenied(AetherisError):
    """The agent's code tried to reach the world outside of a recorded call."""

    code = "effect_denied"


def deny(found: list[str]) -> None:
    """Refuse effects from now on; what was tried is added to `found`."""
    sys.dont_write_bytecode = True

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = (*args, 0, 0)[:3]
            if isinstance(path, int) or not isinstance(flags, int) or not flags & _WRITING:
                return
            what = f"open {path!s} for writing"
        elif event in _DENIED:
            what = event
        else:
            return
        found.append(what)
        raise EffectDenied(
            f"a replay sends nothing: {what} was refused",
            why="effects outside of a tool are not recorded, and would be repeated at every resume",
            fix="move it into a tool and use ctx.call",
        )

    sys.addaudithook(hook)
