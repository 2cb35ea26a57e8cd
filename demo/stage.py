"""What the demo plays on: a directory, a server, an agent under its guard, a repository, things to back up."""

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

import requests

from demo.processes import Process, children, command_line, end_all_in, free_port
from demo.waiting import check, until

ROOT = Path(__file__).parent.parent
GUARD = ROOT / "agent" / "guard" / "rm-agent-guard"
BIG_BYTES = 4 * 1024**3
ODD_NAME = 'a name, with "quotes",\na newline and ümläuts.txt'


class Stage:
    """One server and one host on loopback, all of it below one temporary directory."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="restic-manager-demo-"))
        self.base_url = f"http://127.0.0.1:{free_port()}"
        self.setup_token = secrets.token_urlsafe(24)
        self.repository = self.directory / "repository"
        self.repository_password = secrets.token_urlsafe(18)
        self.agent_root = self.directory / "host"
        self.documents = self.directory / "documents"
        self.large = self.directory / "large"
        self.rm_agent = self.agent_root / "bin" / "rm-agent"
        self._processes: dict[str, Process] = {}
        restic = shutil.which("restic")
        check(restic, "restic is not installed (Debian, Ubuntu: apt-get install restic)")
        self._restic = str(restic)

    @property
    def server(self) -> Process:
        return self._processes["server"]

    # ---- server

    def start_server(self) -> None:
        """Start the server; it serves when `Person.is_well`."""
        self._processes["server"] = Process(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "app:app"],
            env=self._environment(
                RM_LISTEN=self.base_url.removeprefix("http://"),
                RM_BASE_URL=self.base_url,
                RM_DATA_DIR=str(self.directory / "server"),
                RM_SETUP_TOKEN=self.setup_token,
            ),
            cwd=ROOT,
            log=self.directory / "server.log",
        )

    def kill_server(self) -> None:
        check(self.server.is_running(), "the server had ended before it was to be killed")
        self.server.kill_group()

    # ---- host

    def enrol(self, token: str) -> None:
        """Do what the line on the page *Add host* does: fetch the agent, let it swap the token for a credential."""
        self.rm_agent.parent.mkdir(parents=True)
        answer = requests.get(
            f"{self.base_url}/agent/binary",
            params={"os": "linux", "arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "any")},
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )
        check(answer.ok, f"/agent/binary answered {answer.status_code}: {answer.text[:300]}")
        self.rm_agent.write_bytes(answer.content)
        done = subprocess.run(
            [*self._agent(), "enroll", "--server", self.base_url],
            env=self._environment(RM_TOKEN=token),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        check(done.returncode == 0, f"the agent could not enrol: {done.stdout}{done.stderr}")

    def start_agent(self) -> None:
        self._processes["guard"] = Process(
            [GUARD, "run", "--", *self._agent(), "run"],
            env=self._environment(),
            cwd=self.directory,
            log=self.directory / "agent.log",
        )

    def kill_agent(self) -> None:
        """kill -9 of the agent alone; its guard and the restic that it started live on."""
        os.kill(self.agent_pid(), 9)

    def agent_pid(self) -> int:
        """The agent's own process; raises DemoFailed when its guard runs none."""
        guard = self._processes["guard"].pid

        def find() -> int | None:
            return next((pid for pid in children(guard) if str(self.rm_agent) in command_line(pid)[1:4]), None)

        return until(find, seconds=15, what="the guard starts the agent")

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
        places = [self.directory / "server", self.agent_root, *self.directory.glob("*.log")]
        files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
        found = [file for file in files if file.is_file() and secret.encode() in file.read_bytes()]
        return sorted(file.relative_to(self.directory).as_posix() for file in found)

    # ---- the end

    def clear(self, *, keep: bool) -> list[int]:
        """Stop everything and remove the directory; returns the processes that would not end."""
        for name, seconds in (("guard", 15), ("server", 10)):
            if name in self._processes:
                self._processes[name].stop(seconds=seconds)
        left = end_all_in(self.directory)
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)
        return left

    def last_words(self) -> str:
        """The ends of the logs, for somebody who wonders why it failed."""
        parts = []
        for name in ("server.log", "agent.log"):
            file = self.directory / name
            if file.exists():
                lines = file.read_text(errors="replace").splitlines()[-30:]
                parts.append(f"---- the end of {name}\n" + "\n".join(lines))
        return "\n".join(parts)

    def _agent(self) -> list[str | Path]:
        # The Python that the environment was made from: the agent has to do without what is installed here.
        python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
        return [python, "-I", self.rm_agent, "--root", self.agent_root]

    def _environment(self, **more: str) -> Mapping[str, str]:
        passed = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TERM") if name in os.environ}
        return {**passed, "TMPDIR": str(self.directory), "PYTHONUNBUFFERED": "1", **more}
