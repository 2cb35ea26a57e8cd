"""A host of the demo: an agent of its own, under its guard, in a directory of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import requests

from demo.processes import Process, children, command_line
from demo.waiting import check, until

GUARD = Path(__file__).parent.parent / "agent" / "guard" / "rm-agent-guard"

Environment = Callable[..., Mapping[str, str]]


class Machine:
    """One of the hosts that share this machine; `name` is what people call it."""

    def __init__(self, name: str, *, directory: Path, base_url: str, environment: Environment) -> None:
        self.name = name
        self.root = directory / name
        self.log = directory / f"{name}.log"
        self._announce_log = directory / f"{name}-announce.log"
        self._directory = directory
        self._base_url = base_url
        self._environment = environment
        self._rm_agent = self.root / "bin" / "rm-agent"
        self._guard: Process | None = None
        self._announcing: Process | None = None

    def fetch_agent(self, token: str = "") -> None:
        """Get the agent from the server, with an enrolment token or as anybody may while announcing is on."""
        self._rm_agent.parent.mkdir(parents=True)
        answer = requests.get(
            f"{self._base_url}/agent/binary",
            params={"os": "linux", "arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "any")},
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=30,
        )
        check(answer.ok, f"/agent/binary answered {answer.status_code}: {answer.text[:300]}")
        self._rm_agent.write_bytes(answer.content)

    def enrol(self, token: str) -> None:
        """Swap a token for a credential, as the line on the page *Add host* does."""
        self.fetch_agent(token)
        done = subprocess.run(
            [*self._command(), "enroll", "--server", self._base_url],
            env=self._environment(RM_TOKEN=token),
            cwd=self._directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        check(done.returncode == 0, f"the agent could not enrol: {done.stdout}{done.stderr}")

    def announce(self) -> str:
        """Ask to be let in without a token; returns the fingerprint that the host itself shows."""
        self.fetch_agent()
        self._announcing = Process(
            [*self._command(), "announce", "--server", self._base_url],
            env=self._environment(),
            cwd=self._directory,
            log=self._announce_log,
        )

        def shown() -> str | None:
            _, _, after = self._announce_log.read_text(errors="replace").partition("SHA256")
            groups = re.findall(r"\b[0-9a-f]{4}\b", after)[:16]
            return f"SHA256:{''.join(groups)}" if len(groups) == 16 else None

        return until(shown, seconds=30, what=f"{self.name} shows its fingerprint")

    def wait_until_let_in(self) -> None:
        announcing = self._announcing
        check(announcing is not None, f"{self.name} has not announced itself")
        if announcing is not None:
            until(lambda: not announcing.is_running(), seconds=90, what=f"{self.name} is let in")

    def start(self) -> None:
        self._guard = Process(
            [GUARD, "--root", self.root, "run", "--", *self._command(), "run"],
            env=self._environment(),
            cwd=self._directory,
            log=self.log,
        )

    def kill(self) -> None:
        """kill -9 of the agent alone; its guard and the restic that it started live on."""
        os.kill(self.pid(), 9)

    def pid(self) -> int:
        """The agent's own process; raises DemoFailed when its guard runs none."""
        guard = self._guard
        check(guard is not None, f"{self.name} was not started")

        def find() -> int | None:
            found = children(guard.pid) if guard else []
            return next((pid for pid in found if str(self._rm_agent) in command_line(pid)[1:4]), None)

        return until(find, seconds=15, what=f"the guard starts the agent of {self.name}")

    def stop(self, *, seconds: float) -> None:
        for process in (self._announcing, self._guard):
            if process is not None:
                process.stop(seconds=seconds)

    def _command(self) -> list[str | Path]:
        # The Python that the environment was made from: the agent has to do without what is installed here.
        python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
        return [python, "-I", self._rm_agent, "--root", self.root]
