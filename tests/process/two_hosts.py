"""The whole stack on loopback: a real server, two real agents with real restic, and one repository."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from agent import config as configuration
from agent.config import Paths
from agent.platform import linux
from agent.schedules.record import RecordFile
from agent.secrets import Secrets, SecretsFile
from demo.person import Person
from demo.waiting import DemoFailed
from rm.services import repositories, repository_hosts, schedules, source_groups
from rm.services.repository_forms import RepositoryForm
from rm.services.schedules import ScheduleForm
from rm.services.source_group_forms import SourceGroupForm
from rm.store.models import Job
from tests import cast
from tests.agent import quick_key
from tests.agent.conftest import PASSWORD, ROOT
from tests.cast import ALICE
from tests.process.conftest import Server

PATIENT = 180.0
EVERY = timedelta(minutes=5)
ASKED, NIGHTLY, THINNED = "asked", "nightly", "thinned"


def make_repository(location: str, directory: Path, place: Path) -> None:
    """A new repository with a key that is quick to open; `directory` is where its files are."""
    environment = restic_environment(location, place)
    subprocess.run(["restic", "init"], env=environment, check=True, capture_output=True, timeout=120)
    quick_key.cheapen(directory, PASSWORD)


def restic_environment(location: str, place: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(place),
        "RESTIC_REPOSITORY": location,
        "RESTIC_PASSWORD": PASSWORD,
        "RESTIC_CACHE_DIR": str(place / "test-cache"),
    }


@dataclass
class Machine:
    """One host: its root, its agent's process, and the clock that its schedules read."""

    host: cast.EnrolledHost
    base: Path
    groups: dict[str, str] = field(default_factory=dict)
    schedule_id: str = ""
    process: subprocess.Popen[bytes] | None = None
    due: list[datetime] = field(default_factory=list)

    @property
    def paths(self) -> Paths:
        return Paths.of(str(self.base))

    @property
    def source(self) -> Path:
        return self.base / "source"

    @property
    def clock_file(self) -> Path:
        return self.base / "ahead"

    def install(self, url: str, *, behind: timedelta) -> None:
        """What an enrolment leaves on the host."""
        self.source.mkdir(parents=True)
        (self.source / "letter.txt").write_text(f"dear reader of {self.host.name}")
        self.paths.make()
        configuration.write_settings(self.paths, {"server": url, "hostname": self.host.name})
        SecretsFile(self.paths).save(Secrets(server=url, host_id=self.host.id, credential=self.host.credential))
        self._set_ahead(-behind.total_seconds())

    def wrap_restic(self, lines: str, program: str = "restic") -> None:
        """Put a shell script in the place of restic that runs these lines first."""
        path = self.base / "bin" / "restic"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\n{lines}\nexec {program} "$@"\n')
        path.chmod(0o755)

    def start(self) -> None:
        with open(self.base / "agent.log", "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.process.timely", str(self.base), str(self.clock_file)],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip

    def kill(self) -> None:
        """kill -9 of the agent alone; its restic lives on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)

    def has_restic(self) -> bool:
        return self._restic() is not None

    def kill_restic(self) -> bool:
        """kill -9 of the restic of the job that runs; False when none does."""
        pid = self._restic()
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return True
        return False

    def _restic(self) -> int | None:
        """The process of the restic that its agent started and that lives."""
        for pid_file in self.paths.jobs.glob("*/pid"):
            with suppress(OSError, ValueError, IndexError):
                words = pid_file.read_text().split()
                if linux.start_time(int(words[0])) == words[1]:
                    return int(words[0])
        return None

    def close(self) -> None:
        self.kill()
        for pid_file in self.paths.jobs.glob("*/pid"):
            with suppress(OSError, ValueError, IndexError):
                os.killpg(int(pid_file.read_text().split()[2]), signal.SIGKILL)

    def let_come_due(self) -> datetime:
        """Let the schedules' clock go on to the next due run, which fires at once; returns when it was due."""

        def entry() -> Any:
            with suppress(FileNotFoundError):
                return RecordFile(self.paths.state).load().entries.get((self.schedule_id, NIGHTLY))  # type: ignore[union-attr]

        due: datetime = until(entry, PATIENT).handled + EVERY
        self._set_ahead((due + timedelta(seconds=1) - datetime.now(timezone.utc)).total_seconds())
        self.due.append(due)
        return due

    def outbox_reports(self) -> int:
        """How many reports wait for the server."""
        with closing(sqlite3.connect(f"file:{self.paths.outbox_file}?mode=ro", uri=True, timeout=30)) as outbox:
            return int(outbox.execute("SELECT count(*) FROM report").fetchone()[0])

    def _set_ahead(self, seconds: float) -> None:
        part = self.clock_file.with_suffix(".part")
        part.write_text(f"{seconds:.3f}")
        os.replace(part, self.clock_file)


class Stack:
    """The server and its two hosts, db1 and web1, which share a repository."""

    def __init__(self, bus: Any, vault: Any, data_dir: Path, place: Path, *, app: str = "app:app", **env: str) -> None:
        self._bus, self._vault, self._data_dir, self._app, self._env = bus, vault, data_dir, app, env
        self.place = place
        self.server: Server | None = None
        self.machines: dict[str, Machine] = {}
        self.repository_id = ""
        self.location = ""
        self.deaths = 0

    def set_up(self, location: str, directory: Path, *, username: str = "", behind: timedelta) -> None:
        """Enrol the hosts, with groups and schedules, start everything, and let each host back up once."""
        now = datetime.now(timezone.utc)
        self.location = location
        make_repository(location, directory, self.place)
        self.server = Server(self._data_dir, app=self._app, **self._env)
        self._env = self._env | {"RM_LISTEN": f"127.0.0.1:{self.server.port}"}
        self.url = self.server.url
        form = RepositoryForm(name="shared", location=location, password=PASSWORD, username=username)
        for name in ("db1", "web1"):
            host = cast.add_host(self._bus, name, now=now)
            machine = self.machines[name] = Machine(host, self.place / name)
            machine.install(self.url, behind=behind)
            if not self.repository_id:
                found = repositories.save_for_host(
                    self._bus, self._vault, host_id=host.id, form=form, actor=ALICE, now=now
                )
                self.repository_id = found.id
            else:
                repository_hosts.use_existing(
                    self._bus, host_id=host.id, repository_id=self.repository_id, actor=ALICE, now=now
                )
            for group in (ASKED, NIGHTLY, THINNED):
                wish = SourceGroupForm(name=group, includes=[str(machine.source)], retries=0)
                if group == THINNED:
                    wish.retention["keep_last"] = 2
                machine.groups[group] = source_groups.save(
                    self._bus, self._vault, host_id=host.id, group_id=None, form=wish, actor=ALICE, now=now
                ).id
            plan = ScheduleForm(
                name="often", every_minutes=int(EVERY.total_seconds() / 60), groups=[machine.groups[NIGHTLY]]
            )
            machine.schedule_id = schedules.save(
                self._bus, self._vault, host_id=host.id, schedule_id=None, form=plan, actor=ALICE, now=now
            ).id
        self.person = Person(self.url)
        self.server.wait_for_line("serving on", PATIENT)
        self.person.sign_in(username="alice", password=cast.PASSWORD)
        for machine in self.machines.values():
            machine.start()
        until(lambda: all(host["status"] == "online" for host in self.ask("GET", "/hosts")["items"]), PATIENT)
        for machine in self.machines.values():
            self.back_up(machine)
        until(lambda: not self.open_jobs(), PATIENT)
        assert [job.outcome for job in self.jobs()] == ["succeeded"] * 2

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the API answers; asked again while the server is not there."""

        def answer() -> dict[str, Any] | None:
            with suppress(OSError):
                return self.person.ask(method, path, body)
            return None

        found: dict[str, Any] = until(answer, PATIENT)
        return found

    def back_up(self, machine: Machine, group: str = ASKED) -> str:
        body = {"kind": "backup", "source_group_id": machine.groups[group]}
        return str(self.ask("POST", f"/hosts/{machine.host.id}/jobs", body)["job_id"])

    def tidy(self, kind: str) -> list[str]:
        """Order maintenance now; empty when the server refuses, as it does beside what it conflicts with."""
        with suppress(DemoFailed):
            made = self.ask("POST", f"/repositories/{self.repository_id}/maintenance/{kind}/run")["items"]
            return [job["id"] for job in made]
        return []

    def jobs(self) -> list[Job]:
        """All jobs of both hosts, as the server has them."""
        return list(Job.select())

    def open_jobs(self) -> list[Job]:
        return list(Job.select().where(Job.state != "finished"))

    def policy(self, kind: str) -> dict[str, Any]:
        items = self.ask("GET", f"/repositories/{self.repository_id}/maintenance")["items"]
        return next(one for one in items if one["kind"] == kind)

    def restic(self, *arguments: str) -> Any:
        """What restic prints as JSON."""
        done = subprocess.run(
            ["restic", *arguments, "--json", "--no-lock"], env=restic_environment(self.location, self.place),
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        return json.loads(done.stdout)

    def locks(self) -> list[str]:
        done = subprocess.run(
            ["restic", "list", "locks", "--no-lock"], env=restic_environment(self.location, self.place),
            check=True, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return done.stdout.split()

    def kill_server(self) -> None:
        assert self.server is not None
        self.server.kill()
        self.deaths += 1

    def start_server(self) -> None:
        self.server = Server(self._data_dir, app=self._app, **self._env)
        self.server.wait_for_line("serving on", PATIENT)

    def close(self) -> None:
        for machine in self.machines.values():
            machine.close()
        if self.server is not None:
            self.server.kill()


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def until(condition: Callable[[], Any], seconds: float = PATIENT) -> Any:
    """What the condition gives once it is true; asks seldom, for the others need the processors too."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        pause(0.2)
    return found
