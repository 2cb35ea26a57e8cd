"""What the agent's tests share: a server double, an enrolled root, running agents, real repositories."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent import config as configuration
from agent.config import Paths
from agent.link import Backoff
from agent.running import Patience, RunningAgent
from agent.secrets import Secrets, SecretsFile
from rm.shared import ids
from rm.shared.protocol import CommandRun, RepositoryConfig
from tests.agent import quick_key
from tests.agent.server_double import ServerDouble

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse/battery+staple%"


class Quick(Backoff):
    """Reconnects at once."""

    def seconds(self, kind: str) -> float:
        self.kinds = [*getattr(self, "kinds", []), kind]
        return 0.05


@dataclass
class Rig:
    """One agent's root, the server it belongs to, and the ways to run it."""

    base: Path
    server: ServerDouble
    paths: Paths
    repository_id: str = "repo-1"
    location: str = ""
    password: str = PASSWORD
    username: str = ""
    secret: str = ""
    grace_seconds: float = 10.0
    backoff: Backoff = field(default_factory=Quick)
    agent: RunningAgent | None = None
    program: str = "restic"
    _thread: threading.Thread | None = None
    _children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def enrol(self, *, settings: dict[str, str] | None = None) -> None:
        """Write what an enrolment leaves behind, and one repository."""
        self.paths.make()
        configuration.write_settings(self.paths, {"server": self.server.url} | (settings or {}))
        repository = RepositoryConfig(
            id=self.repository_id,
            name="backup",
            location=self.location,
            password=self.password,
            username=self.username,
            secret=self.secret,
        )
        SecretsFile(self.paths).save(
            Secrets(
                server=self.server.url,
                host_id="host-1",
                credential=self.server.credential,
                config_version=1,
                repositories={repository.id: repository},
            )
        )

    def start(self, **patience: float) -> RunningAgent:
        """Run the agent in a thread of this process."""
        self.agent = RunningAgent(
            self.paths,
            configuration.load(self.paths),
            patience=Patience(grace_seconds=self.grace_seconds, **patience),
            backoff=self.backoff,
        )
        self._thread = threading.Thread(target=self.agent.run, daemon=True)
        self._thread.start()
        return self.agent

    def settled(self) -> None:
        """Wait until the agent has taken in all answers."""
        agent = self.agent
        assert agent
        until(lambda: agent.outbox.load()[0] == 0)

    def stop(self) -> None:
        if self.agent and self._thread:
            self.agent.stop()
            self._thread.join(30)
            assert not self._thread.is_alive()
            self.agent = None

    def spawn(self) -> subprocess.Popen[bytes]:
        """Run the agent as a process of its own, which can be killed."""
        with open(self.base / "agent.log", "ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "agent", "--root", str(self.base), "run"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._children.append(child)
        return child

    def order(self, kind: str = "backup", **fields: Any) -> CommandRun:
        """An order for the rig's repository."""
        known: dict[str, Any] = {"repository_id": self.repository_id, "hostname": "web1"}
        if kind == "backup":
            known |= {"source_group": "documents", "includes": [str(self.base / "source")]}
        return CommandRun(job_id=ids.new_ulid(), kind=kind, **(known | fields))

    def restic(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run the real restic on the rig's repository."""
        return subprocess.run(
            [self.program, *arguments], env=self.environment(), capture_output=True, check=False, timeout=50
        )

    def environment(self) -> dict[str, str]:
        """What a restic beside the agent needs to open the repository."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.base),
            "RESTIC_REPOSITORY": self.location,
            "RESTIC_PASSWORD": self.password,
            "RESTIC_CACHE_DIR": str(self.base / "test-cache"),
        }

    def use(self, program: str) -> None:
        """Have the agent, and this rig, run that restic."""
        self.program = program
        if program != "restic" and self.paths.bin:
            self.paths.bin.mkdir(parents=True, exist_ok=True)
            (self.paths.bin / "restic").symlink_to(program)

    def locks(self) -> list[str]:
        return [name for name in os.listdir(Path(self.location) / "locks") if "-tmp-" not in name]

    def fake_restic(self, body: str) -> Path:
        """Put an executable in the place of restic: a shell script that knows `version`."""
        path = self.paths.bin / "restic" if self.paths.bin else self.base / "restic"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\nif [ "$1" = version ]; then echo "restic 0.14.0 compiled"; exit 0; fi\n{body}\n')
        path.chmod(0o755)
        return path

    def close(self) -> None:
        self.stop()
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait(30)
        for pid_file in self.paths.jobs.glob("*/pid"):
            words = pid_file.read_text().split()
            try:
                os.killpg(int(words[2]), signal.SIGKILL)
            except (ProcessLookupError, IndexError):
                continue


@pytest.fixture(autouse=True)
def quick_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.following.POLL_SECONDS", 0.03)


@pytest.fixture
def server() -> Iterator[ServerDouble]:
    double = ServerDouble()
    yield double
    double.close()


@pytest.fixture
def bare_rig(tmp_path: Path, server: ServerDouble) -> Iterator[Rig]:
    """A rig that is not enrolled."""
    base = tmp_path / "root"
    rig = Rig(base=base, server=server, paths=Paths.of(str(base)), location=str(tmp_path / "repository"))
    base.mkdir()
    yield rig
    rig.close()


@pytest.fixture
def rig(bare_rig: Rig) -> Rig:
    """An enrolled rig with something to back up; its repository does not exist yet."""
    source = bare_rig.base / "source"
    source.mkdir()
    (source / "letter.txt").write_text("dear reader")
    bare_rig.enrol()
    return bare_rig


@pytest.fixture(scope="session")
def empty_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One initialised repository, made once and copied for each test."""
    place = tmp_path_factory.mktemp("restic") / "empty"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(place.parent), "RESTIC_PASSWORD": PASSWORD}
    subprocess.run(
        ["restic", "-r", str(place), "init"],
        env=environment | {"RESTIC_CACHE_DIR": str(place.parent / "cache")},
        check=True,
        capture_output=True,
    )
    quick_key.cheapen(place, PASSWORD)
    return place


@pytest.fixture
def repository(rig: Rig, empty_repository: Path) -> Path:
    """The rig's repository, initialised."""
    shutil.copytree(empty_repository, rig.location)
    return Path(rig.location)


def until(condition: Callable[[], Any], seconds: float = 40.0) -> Any:
    """What the condition gives once it is true."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        pause.wait(0.02)
    return found
