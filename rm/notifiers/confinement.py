"""What a process that sends with other people's code may do: call out, to addresses that are allowed, and no more."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rm.domain import addresses

_PROGRAMS = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn",
    "os.startfile", "webbrowser.open",
)  # fmt: skip
_CHANGES = (
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "shutil.", "tempfile.",
)  # fmt: skip
_CERTIFICATES = (
    "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/lib/ssl", "/usr/share/ca-certificates", "/usr/share/zoneinfo"
)  # fmt: skip
_SYSTEM_FILES = (
    "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/localtime", "/etc/mime.types", "/etc/services",
    "/dev/null", "/dev/urandom",
)  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class NotAllowed(BaseException):
    """The code tried what it may not; not an Exception, so that nobody's `except Exception` goes on after it."""


def confine(*, tell: Callable[[str], None], readable: tuple[str, ...] = ()) -> None:
    """Refuse, from now until the process ends: programs, files but the interpreter's own, and refused addresses.

    `tell` hears a sentence on what was refused. It is no sandbox against code that wants out; it stops what a
    URL can make well-meant code do.
    """
    code = Path(__file__).parents[1]
    installed = {path for path in sys.path if path and Path(path) != code.parent}
    roots = tuple(
        os.path.realpath(path) + os.sep
        for path in (sys.prefix, sys.base_prefix, code, *installed, *_CERTIFICATES, *readable)
        if os.path.isdir(path)
    )
    single = {os.path.realpath(path) for path in (*_SYSTEM_FILES, *readable)}

    def refuse(text: str) -> None:
        tell(text)
        raise NotAllowed(text)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            found = _address_problem(*args[:2])
            if found:
                refuse(found)
        elif event == "open":
            if isinstance(args[0], int):
                return
            path = os.path.realpath(os.fsdecode(args[0])) if isinstance(args[0], str | bytes) else ""
            if (args[2] or 0) & _WRITES and path != "/dev/null":
                refuse("It tried to write a file.")
            if path not in single and not path.startswith(roots):
                refuse("It tried to read a file of this server.")
        elif event in _PROGRAMS:
            refuse("It tried to run a program.")
        elif event.startswith(_CHANGES):
            refuse("It tried to change a file.")

    sys.addaudithook(hook)


def _address_problem(sock: socket.socket, address: Any) -> str | None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return "It tried to reach something on this machine that is no network."
    if address is None:
        return None
    # A name here would be resolved after this check; what resolves first gives an address.
    problem = addresses.problem(str(address[0]))
    return f"It leads to {address[0]}, which {problem}." if problem else None
