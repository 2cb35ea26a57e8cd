"""What the demo plays on: a directory, a server, three hosts, repositories, things to back up."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demo import rest_server
from demo.machine import Machine
from demo.processes import Process, end_all_in, free_port
from demo.releases import Releases
from demo.rest_server import RestServer
from demo.waiting import DemoFailed, check

ROOT = Path(__file__).parent.parent
BIG_BYTES = 4 * 1024**3
ODD_NAME = 'a name, with "quotes",\na newline and ümläuts.txt'


class Stage:
    """One server and three hosts on loopback, all of it below one temporary directory."""

    def __init__(self, **settings: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="restic-manager-demo-"))
        self._settings = settings
        self.base_url = f"http://127.0.0.1:{free_port()}"
        self.setup_token = secrets.token_urlsafe(24)
        self.repository = self.directory / "repository"
        self.repository_password = secrets.token_urlsafe(18)
        self.documents = self.directory / "documents"
        self.large = self.directory / "large"
        self.machines = {
            name: Machine(name, directory=self.directory, base_url=self.base_url, environment=self._environment)
            for name in ("web1", "db1", "nas1")
        }
        self.releases = Releases(self.directory / "releases", environment=self._environment)
        self._server: Process | None = None
        self._rest_server: RestServer | None = None
        restic = shutil.which("restic")
        check(restic, "restic is not installed (Debian, Ubuntu: apt-get install restic)")
        self._restic = str(restic)

    @property
    def server(self) -> Process:
        if self._server is None:
            raise DemoFailed("the server was not started")
        return self._server

    # ---- server

    def start_server(self) -> None:
        """Start the server; it serves when `Person.is_well`."""
        self._server = Process(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "app:app"],
            env=self._environment(
                RM_LISTEN=self.base_url.removeprefix("http://"),
                RM_BASE_URL=self.base_url,
                RM_DATA_DIR=str(self.directory / "server"),
                RM_SETUP_TOKEN=self.setup_token,
                **self._settings,
            ),
            cwd=ROOT,
            log=self.directory / "server.log",
        )

    def import_release(self, release: Path, *options: str) -> None:
        """Import a release on the server's own command line."""
        self.releases.import_into(self.directory / "server", release, *options)

    def kill_server(self) -> None:
        check(self.server.is_running(), "the server had ended before it was to be killed")
        self.server.kill_group()

    # ---- repositories

    def start_rest_server(self) -> RestServer | None:
        """A rest-server that takes no deletions; None where this machine has none."""
        program = rest_server.find()
        if program and self._rest_server is None:
            self._rest_server = RestServer(program, directory=self.directory, environment=self._environment())
        return self._rest_server

    # ---- things to back up

    def make_documents(self) -> None:
        """A few small files, one with a name that shells trip over, and one of random bytes."""
        (self.documents / "letters").mkdir(parents=True)
        for number in range(1, 41):
            (self.documents / "letters" / f"letter {number}.txt").write_text(f"Letter {number}\n" * 200)
        (self.documents / ODD_NAME).write_bytes(os.urandom(256 * 1024))

    def make_large(self) -> None:
        """A large sparse file, changed each time, so that restic reads all of it again and stores next to nothing."""
        self.large.mkdir(exist_ok=True)
        with open(self.large / "disk.img", "wb") as file:
            file.truncate(BIG_BYTES)
            file.write(secrets.token_bytes(64))

    # ---- plain restic

    def restic(self, *arguments: str) -> str:
        """What plain restic prints; raises DemoFailed when it fails."""
        done = subprocess.run(
            [self._restic, *arguments],
            env=self._environment(
                RESTIC_REPOSITORY=str(self.repository),
                RESTIC_PASSWORD=self.repository_password,
                RESTIC_CACHE_DIR=str(self.directory / "cache"),
            ),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        check(done.returncode == 0, f"restic {arguments[0]} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def snapshots(self, tag: str = "") -> list[dict[str, Any]]:
        """The snapshots that plain restic lists, oldest first."""
        found: list[dict[str, Any]] = json.loads(self.restic("snapshots", "--json", *(["--tag", tag] if tag else [])))
        return found

    def locks(self) -> list[str]:
        """The ids of the locks in the repository; listing takes none itself."""
        return re.findall(r"^[0-9a-f]{64}$", self.restic("list", "locks", "--no-lock", "--quiet"), re.MULTILINE)

    def files_with(self, secret: str) -> list[str]:
        """The files of server, agent and their logs that hold a text."""
        roots = [machine.root for machine in self.machines.values()]
        places = [self.directory / "server", *roots, *self.directory.glob("*.log")]
        files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
        found = [file for file in files if file.is_file() and secret.encode() in file.read_bytes()]
        return sorted(file.relative_to(self.directory).as_posix() for file in found)

    # ---- the end

    def clear(self, *, keep: bool) -> list[int]:
        """Stop everything and remove the directory; returns the processes that would not end."""
        for machine in self.machines.values():
            machine.stop(seconds=15)
        if self._server is not None:
            self._server.stop(seconds=10)
        if self._rest_server is not None:
            self._rest_server.stop()
        left = end_all_in(self.directory)
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)
        return left

    def last_words(self) -> str:
        """The ends of the logs, for somebody who wonders why it failed."""
        parts = []
        for file in sorted(self.directory.glob("*.log")):
            lines = file.read_text(errors="replace").splitlines()[-30:]
            parts.append(f"---- the end of {file.name}\n" + "\n".join(lines))
        return "\n".join(parts)

    def _environment(self, **more: str) -> Mapping[str, str]:
        passed = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TERM") if name in os.environ}
        return {**passed, "TMPDIR": str(self.directory), "PYTHONUNBUFFERED": "1", **more}
