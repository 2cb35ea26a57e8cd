"""Releases that are bad in one way each, and a server that can order any of them for one host."""

import os
import sqlite3
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.releases import Releases
from tests.install.server import Server, until
from tests.systemd.conftest import Host

# A sixth of the usual minute, as the other timers.
SOAK_SECONDS = 10

IN_RUN = "import sys\nif sys.argv[-1] == 'run':\n"
EXITS = IN_RUN + "    sys.exit({code})\n"
HANGS = IN_RUN + "    import signal, time\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(900)\n"
# Its loop goes round and is heard by the watchdog, but it never dials.
SILENT = (
    IN_RUN
    + "    import time\n    from agent.watchdog import Watchdog\n    watchdog = Watchdog()\n"
    + "    while True:\n        watchdog.ping()\n        time.sleep(1)\n"
)
CRASHES_AFTER_HELLO = (
    IN_RUN
    + "    import os\n    from agent.running import RunningAgent\n    welcomed = RunningAgent.welcomed\n"
    + "    def crash(self, welcome):\n        welcomed(self, welcome)\n        os._exit(3)\n"
    + "    RunningAgent.welcomed = crash\n"
)
UNHEALTHY = (
    IN_RUN
    + "    from agent import tool\n    find = tool.ToolFinder.find\n"
    + "    import dataclasses\n"
    + "    tool.ToolFinder.find = lambda self: dataclasses.replace(find(self), problem='restic is not usable')\n"
)


@dataclass
class Shelf:
    """What one server can order: releases made and imported as they are asked for, one sequence after the other."""

    server: Server
    directory: Path
    lock: threading.Lock = field(default_factory=threading.Lock)
    seq: int = 0

    def __post_init__(self) -> None:
        self._releases = Releases(self.directory, environment=lambda **more: {**_environment(), **more})

    @property
    def data_dir(self) -> Path:
        return self.server.directory / "data"

    def add(self, *, code: str = "", arch: str = "any") -> dict[str, Any]:
        """A signed, imported and current release; who orders it takes the lock around both."""
        self.seq += 1
        version = f"0.{self.seq}.0"
        made = self._releases.make(version, self.seq, code=code, arch=arch)
        self._releases.import_into(self.data_dir, made)
        found = next(one for one in self.server.person.ask("GET", "/releases")["items"] if one["version"] == version)
        self.server.person.ask("POST", f"/releases/{found['id']}/promote")
        return found

    def order(self, host: Host, *, code: str = "", arch: str = "any", tamper: str = "") -> str:
        """Make a release, and order it for this host while it is current; `tamper` is SQL done before the order.

        `:release` and `:host` in it are the ids of both.
        """
        with self.lock:
            release = self.add(code=code, arch=arch)
            if tamper:
                self.change(tamper, release=release["id"], host=host.host_id)
            return self.ask(host)

    def ask(self, host: Host) -> str:
        """Order what is current."""
        return str(host.ask("POST", "/update", {"soak_seconds": SOAK_SECONDS})["attempt_id"])

    def change(self, statement: str, **values: str) -> None:
        """Change the server's database behind its back, as somebody who has taken it could."""
        with sqlite3.connect(self.data_dir / "restic-manager.db", timeout=10) as db:
            db.execute(statement, values)


def attempt(host: Host, job_id: str) -> dict[str, Any]:
    """The attempt as the server sees it now."""
    found: dict[str, Any] = host.job(job_id)["update"]
    return found


def ended(host: Host, job_id: str, *, seconds: float = 150) -> dict[str, Any]:
    """The attempt once it has a verdict that is not provisional."""

    def settled() -> dict[str, Any] | None:
        job = host.job(job_id)
        update: dict[str, Any] = job["update"]
        return update if job["state"] == "finished" and not update["provisional"] else None

    return until(settled, f"the end of the attempt {job_id}", seconds=seconds)


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
