"""A real agent beside the server, enrolled and connected, without root."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import seed
from bench.stage import BenchFailed, Server, environment, until
from demo.processes import Process

ARTIFACT = Path(__file__).parent.parent / "dist" / "rm-agent"
# The Python that the environment was made from: the agent does without what is installed for the project.
PYTHON = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")


class Agent:
    """The artifact of `make agent`, running below a directory of its own."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.root = directory / "agent"
        self._directory = directory
        self._server = server
        self._process: Process | None = None
        self.host_id = ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Enrol, run, and wait until the server calls it online."""
        if not ARTIFACT.is_file():
            raise BenchFailed("dist/rm-agent is missing; run make agent")
        command = [PYTHON, "-I", ARTIFACT, "--root", self.root]
        done = subprocess.run(
            [*command, "enroll", "--server", self._server.url],
            env=environment(RM_TOKEN=seed.ENROLMENT_TOKEN), cwd=self._directory,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        if done.returncode:
            raise BenchFailed(f"the agent could not enrol: {done.stdout}{done.stderr}")
        self._process = Process(
            [*command, "run"], env=environment(), cwd=self._directory, log=self._directory / "agent.log"
        )
        until(self._is_online, seconds=30, what=f"the agent comes online ({self._directory / 'agent.log'})")

    def _is_online(self) -> bool:
        online = [host for host in self._server.ask("GET", "/hosts")["items"] if host["status"] == "online"]
        self.host_id = online[0]["id"] if online else ""
        return bool(online)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop(seconds=15)


@contextmanager
def connected(directory: Path, server: Server) -> Iterator[Agent]:
    agent = Agent(directory, server)
    try:
        agent.start()
        yield agent
    finally:
        agent.stop()
