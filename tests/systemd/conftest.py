"""Machines, a server they reach, and what a person does with a host that is installed."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.install.server import Server, build_agent, until
from tests.systemd import machine as machines
from tests.systemd.machine import Machine

PASSWORD = "not for any argument list"


@pytest.fixture(scope="session")
def tree() -> Path:
    absent = machines.missing()
    if absent:
        pytest.skip(absent)
    return machines.tree()


@pytest.fixture(scope="session")
def server(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    build_agent()
    found = Server(tmp_path_factory.mktemp("server")).start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def boot(tree: Path) -> Iterator[Callable[[], Machine]]:
    """Boots one more machine; all end with the module."""
    # Not pytest's own directory: an overlay cannot keep its upper layer on another overlay, which /tmp may be.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="restic-manager-test-") as place:
        booted: list[Machine] = []

        def one() -> Machine:
            booted.append(Machine(Path(place) / str(len(booted)), tree).make())
            return booted[-1].boot()

        yield one
        for machine in booted:
            machine.close()


@dataclass
class Host:
    """A machine on which the agent is installed, and what a person at the server does with it."""

    machine: Machine
    server: Server
    host_id: str
    groups: dict[str, str] = field(default_factory=dict)

    def is_connected(self) -> bool:
        return "connected since" in self.machine.run("rm-agent status").stdout

    def wait_until_connected(self) -> None:
        until(self.is_connected, "the agent to be connected", seconds=60)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.server.person.ask(method, f"/hosts/{self.host_id}{path}", body)

    def use_repository(self, location: str) -> None:
        body = {"name": f"of {self.machine.name}", "location": location, "password": PASSWORD}
        self.ask("PUT", "/repository", body)
        assert self.finish(self.order(kind="init"))["outcome"] == "succeeded"

    def group(self, name: str, *includes: str) -> str:
        body = {"name": name, "includes": list(includes), "excludes": []}
        self.groups[name] = str(self.ask("POST", "/source-groups", body)["id"])
        return self.groups[name]

    def order(self, **order: str) -> str:
        """Order a job; its id."""
        return str(self.ask("POST", "/jobs", dict(order))["job_id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return self.server.person.ask("GET", f"/jobs/{job_id}")

    def finish(self, job_id: str, *, seconds: float = 60) -> dict[str, Any]:
        return until(
            lambda: found if (found := self.job(job_id))["state"] == "finished" else None, "the job's end",
            seconds=seconds,
        )  # fmt: skip

    def restic(self, arguments: str) -> str:
        """What plain restic says of the repository, on the machine itself."""
        return self.machine.out(f"RESTIC_PASSWORD='{PASSWORD}' restic -r /srv/backup --no-cache {arguments}")


def install(machine: Machine, server: Server, *options: str) -> Host:
    """Run the line of the page on a machine, as root."""
    line, _ = server.line()
    done = machine.run(line + (f" -s -- {' '.join(options)}" if options else ""))
    assert done.returncode == 0, done.stdout + done.stderr
    [host] = [found for found in server.hosts() if found["hostname"] == machine.name]
    return Host(machine, server, str(host["id"]))


def fetched(server: Server, *options: str) -> str:
    """The command that runs the script again, without a token."""
    return f"curl -fsS {server.base_url}/install.sh | sh" + (f" -s -- {' '.join(options)}" if options else "")
