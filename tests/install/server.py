"""A real server for hosts to install from: gunicorn on loopback, with an administrator who makes the lines."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from demo.person import Person
from demo.processes import children, free_port

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"
Found = TypeVar("Found")


def until(condition: Callable[[], Found], what: str, *, seconds: float = 45.0) -> Found:
    """What the condition gives once it is true; fails the test after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)


def build_agent() -> Path:
    """The artifact that a server of this tree hands out, as the tree is now."""
    artifact = ROOT / "dist" / "rm-agent"
    subprocess.run(
        [sys.executable, "-m", "agent.packaging.build", "--output", str(artifact)],
        cwd=ROOT, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return artifact


@dataclass
class Server:
    """One server process on its own data directory; `base_url` is what hosts are told, `local_url` where it listens."""

    directory: Path
    base_url: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def local_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, person: Person | None = None) -> "Server":
        """Serve, with alice signed in; `person` comes another way than from this machine."""
        self.base_url = self.base_url or self.local_url
        self.directory.mkdir(parents=True, exist_ok=True)
        environ = os.environ | {
            "RM_LISTEN": f"127.0.0.1:{self.port}",
            "RM_DATA_DIR": str(self.directory / "data"),
            "RM_BASE_URL": self.base_url,
            "RM_COOKIE_SECURE": "false",
            "RM_SETUP_TOKEN": "setup",
            **self.settings,
        }
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "app:app"],
                cwd=ROOT, env=environ, stdout=log, stderr=log,
            )  # fmt: skip
        self.person = person or Person(self.local_url)
        until(self.person.is_well, "the server to answer", seconds=45)
        if not (self.directory / "is-set-up").exists():
            self.person.set_up(token="setup", username="alice", password=PASSWORD)
            (self.directory / "is-set-up").touch()
        self.person.sign_in(username="alice", password=PASSWORD)
        return self

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(40)

    def kill(self) -> None:
        """kill -9 of master and worker."""
        assert self.process is not None
        for pid in (*children(self.process.pid), self.process.pid):
            os.kill(pid, signal.SIGKILL)
        self.process.wait(30)

    def line(self, **asked: Any) -> tuple[str, str]:
        """A fresh install line, without its sudo, and its token."""
        made = self.person.ask("POST", "/enrolment-tokens", {"max_uses": 1, **asked})
        return made["install_command"].replace("| sudo sh", "| sh"), made["token"]

    def hosts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.person.ask("GET", "/hosts")["items"]
        return found


def shells() -> list[str]:
    """The shells of this machine that install.sh must run under."""
    return [name for name in ("dash", "bash", "busybox") if shutil.which(name)]
