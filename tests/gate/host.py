"""One host of the gate: a real agent under its guard, what the server says of it, and what lies on its disk."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from demo.machine import Machine
from tests.clock_ahead import ClockAhead
from tests.install.server import Server, until

Json = dict[str, Any]
ATTEMPT_SECONDS = 90.0
JOB_SECONDS = 90.0


def environment(**more: str) -> dict[str, str]:
    """What the processes of the gate may know of this one."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | more


class Host:
    """Enrolled with a token and online; `repository` is its own, a directory, and `files` is what it backs up."""

    def __init__(self, server: Server, directory: Path, name: str) -> None:
        self._server = server
        self.name = name
        self.files = directory / f"{name}-files"
        self.repository = directory / f"{name}-repository"
        self._password = f"the password of {name}"
        self._group = ""
        self._schedule = ""
        self.backups = 0
        self.machine = Machine(name, directory=directory, base_url=server.base_url, environment=environment)
        known = {host["id"] for host in server.hosts()}
        self.clock = ClockAhead(self.machine.root / "clock")
        self.machine.enrol(server.line()[1])
        self.machine.start()
        [self.id] = until(
            lambda: [one["id"] for one in server.hosts() if one["id"] not in known and one["status"] == "online"],
            f"{name} online",
        )

    # ---- through the server

    def ask(self, method: str, path: str = "", body: Json | None = None) -> Json:
        return self._server.person.ask(method, f"/hosts/{self.id}{path}", body)

    def order_init(self) -> str:
        """Give it a repository and something to back up; the job that makes the repository."""
        self.files.mkdir()
        (self.files / "letter.txt").write_text("Dear reader\n" * 1000)
        # Sparse: restic reads all of it and stores next to nothing, so that a backup lasts a moment.
        with open(self.files / "disk.img", "wb") as file:
            file.truncate(256 * 1024**2)
        self.name_repository(f"of {self.name}")
        body = {"name": "files", "includes": [str(self.files)], "excludes": []}
        self._group = self.ask("POST", "/source-groups", body)["id"]
        return str(self.ask("POST", "/jobs", {"kind": "init"})["job_id"])

    def name_repository(self, name: str) -> None:
        """Tell the host of its repository under this name."""
        body = {
            "name": name, "location": str(self.repository), "password": self._password, "username": "", "secret": ""
        }  # fmt: skip
        self.ask("PUT", "/repository", body)

    def order_backup(self) -> str:
        return str(self.ask("POST", "/jobs", {"kind": "backup", "source_group_id": self._group})["job_id"])

    def back_up(self) -> None:
        """A backup by order, which must succeed."""
        self.has_backed_up(self.order_backup())

    def plan_hourly(self) -> None:
        """Give it a schedule: each hour by the clock that its agent reads."""
        zone = datetime.now().astimezone().tzinfo
        assert zone is not None
        body = {"name": "hourly", "cron": self.clock.cron(zone), "groups": [self._group]}
        self._schedule = str(self.ask("POST", "/schedules", body)["id"])

    def has_applied_schedules(self) -> None:
        """The agent holds the set that the server wants it to hold."""

        def applied() -> bool:
            found = self.ask("GET")["schedules"]
            return bool(found["is_supported"] and found["wanted"] == found["applied"] > 0)

        until(applied, f"the schedules on {self.name}")

    def come_due(self) -> datetime:
        """Set its clock to the next due time, and give that."""
        due = self.clock.next_due()
        self.clock.sleep_until(due + timedelta(seconds=1))
        return due

    def fire(self) -> str:
        """Have a run come due; its job, as soon as the host itself has it."""
        known = set(os.listdir(self.state / "jobs"))
        self.come_due()
        end = time.monotonic() + JOB_SECONDS
        while not (found := set(os.listdir(self.state / "jobs")) - known):
            assert time.monotonic() < end, f"{self.name} has fired nothing"
            time.sleep(0.01)
        [job_id] = found
        return job_id

    def fired(self, due: datetime) -> str:
        """The run that was due then, once the server knows of it; there is one."""

        def jobs() -> list[Json]:
            found = [job for job in self.ask("GET", "/jobs")["items"] if job["schedule_id"] == self._schedule]
            return [job for job in found if instant(job["due_at"]) == due]

        [job] = until(jobs, f"the run of {self.name} that was due at {due}", seconds=JOB_SECONDS)
        return str(job["id"])

    def run_on_schedule(self) -> None:
        """One run comes due, and takes place once."""
        self.has_applied_schedules()
        self.has_backed_up(self.fired(self.come_due()))

    def has_backed_up(self, job_id: str) -> None:
        """The backup arrives as succeeded, once: in the job, in the count of the day and in the repository."""
        job = self.ended(job_id)
        self.backups += 1
        assert job["outcome"] == "succeeded", job
        assert self._counted() == (self.backups, 0, 0)
        assert len(self.snapshots()) == self.backups
        until(lambda: self.waiting_reports() == 0, f"the outbox of {self.name} empty")

    def ended(self, job_id: str) -> Json:
        def finished() -> Json | None:
            job = self._server.person.ask("GET", f"/jobs/{job_id}")
            return job if job["state"] == "finished" else None

        return until(finished, f"job {job_id} of {self.name} to end", seconds=JOB_SECONDS)

    def order_update(self, *, soak_seconds: int) -> str:
        """The current release, for this host alone; gives the attempt once the host was ordered."""
        started = self._server.person.ask(
            "POST", "/fleet-updates", {"host_ids": [self.id], "soak_seconds": soak_seconds}
        )

        def ordered() -> str | None:
            [row] = self._server.person.ask("GET", f"/fleet-updates/{started['id']}")["hosts"]
            return row["attempt_id"]

        return until(ordered, f"an order for {self.name}")

    def attempt(self, attempt_id: str) -> Json:
        found: Json = self._server.person.ask("GET", f"/jobs/{attempt_id}")["update"]
        return found

    def attempt_ended(self, attempt_id: str) -> Json:
        """The attempt once it has a verdict that does not rest on silence."""

        def settled() -> Json | None:
            found = self.attempt(attempt_id)
            return found if found["state"] in ENDS and not found["provisional"] else None

        return until(settled, f"the attempt of {self.name} to end", seconds=ATTEMPT_SECONDS)

    def update(self, *, meanwhile: Callable[[], None]) -> Json:
        """Bring it to the current release; the attempt as it ended."""
        attempt_id = self.order_update(soak_seconds=1)
        meanwhile()
        found = self.attempt_ended(attempt_id)
        until(
            lambda: (
                self._server.person.ask("GET", f"/fleet-updates/{found['fleet_update_id']}")["state"] == "completed"
            ),
            "the fleet update to end",
        )
        return found

    def end_halted(self, fleet_update_id: str) -> None:
        """A fleet update that halted is cancelled, so that another may begin."""
        path = f"/fleet-updates/{fleet_update_id}"
        until(lambda: self._server.person.ask("GET", path)["state"] == "halted", "the fleet update to halt")
        self._server.person.ask("POST", f"{path}/cancel", {"mode": "soft", "reason": "the gate goes on"})
        until(lambda: self._server.person.ask("GET", path)["state"] == "cancelled", "the fleet update to end")

    def proven_sha256(self) -> str:
        """What the server keeps as the hash of what this host runs."""
        [(found,)] = self._in_database("SELECT running_sha256 FROM hosts WHERE id = ?", self.id)
        return str(found)

    def do_not_hold_jobs_back(self, attempt_id: str) -> None:
        """Have the server send jobs although an update goes on, as a schedule on the host would not wait for it."""
        self._in_database("UPDATE jobs SET dispatched_at = NULL WHERE id = ?", attempt_id)

    def _counted(self) -> tuple[int, ...]:
        query = "SELECT sum(succeeded), sum(warnings), sum(failed) FROM backup_days WHERE host_id = ?"
        [found] = self._in_database(query, self.id)
        return found

    def _in_database(self, statement: str, value: str) -> list[tuple[Any, ...]]:
        file = self._server.directory / "data" / "restic-manager.db"
        with closing(sqlite3.connect(file, timeout=30)) as db, db:
            return db.execute(statement, (value,)).fetchall()

    # ---- on the host itself

    @property
    def state(self) -> Path:
        return self.machine.root / "state"

    def sha256(self) -> str:
        """The hash of the file that the guard starts."""
        return hashlib.sha256((self.machine.root / "bin" / "rm-agent").read_bytes()).hexdigest()

    def says(self, *verb: str) -> Json:
        """What the live file itself answers to a verb, as JSON."""
        root = self.machine.root
        done = subprocess.run(
            [sys.executable, "-I", root / "bin" / "rm-agent", "--root", root, *verb, "--json"],
            env=environment(), cwd="/", capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        found: Json = json.loads(done.stdout)
        return found

    def kept(self, name: str) -> Json:
        """What one of its JSON files says: secrets.json, update/update.json, update/floor.json, update/trust.json."""
        found: Json = json.loads((self.state / name).read_text())
        return found

    def waiting_reports(self) -> int:
        """How many reports wait in its outbox."""
        with closing(sqlite3.connect(self.state / "outbox.db", timeout=30)) as db:
            return int(db.execute("SELECT count(*) FROM report").fetchone()[0])

    def holds_report(self, kind: str, about: str) -> bool:
        """Whether a report of this kind about a job or attempt waits in its outbox."""
        with closing(sqlite3.connect(self.state / "outbox.db", timeout=30)) as db:
            rows = db.execute("SELECT 1 FROM report WHERE type = ? AND job_id = ?", (kind, about)).fetchall()
        return len(rows) == 1

    def set_aside(self) -> list[str]:
        """The files of its state that some release could not read."""
        found = [*self.state.rglob("*.damaged"), *self.state.rglob("*.corrupt*")]
        return [path.name for path in found]

    def explained(self) -> int:
        """How many reports of runs that did not take place wait in its outbox."""
        with closing(sqlite3.connect(self.state / "outbox.db", timeout=30)) as db:
            return int(db.execute("SELECT count(*) FROM report WHERE type = 'schedule.skipped'").fetchone()[0])

    def halt_restic(self, job_id: str) -> int:
        """Hold up the restic of a job as soon as it was started, so that the job lasts; gives its process."""
        note = self.state / "jobs" / job_id / "pid"
        end = time.monotonic() + JOB_SECONDS
        while not (note.exists() and note.read_text().split()):
            assert time.monotonic() < end, f"restic of job {job_id} was not started"
            time.sleep(0.01)
        pid = int(note.read_text().split()[0])
        os.kill(pid, signal.SIGSTOP)
        return pid

    def snapshots(self) -> list[Json]:
        """What plain restic finds in the repository."""
        done = subprocess.run(
            ["restic", "snapshots", "--json", "--no-lock"],
            env=environment(
                RESTIC_REPOSITORY=str(self.repository), RESTIC_PASSWORD=self._password,
                RESTIC_CACHE_DIR=str(self.machine.root / "cache"),
            ),
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        found: list[Json] = json.loads(done.stdout)
        return found


def prepare(hosts: list[Host]) -> None:
    """Each has a repository of its own and a backup in it; all at the same time, for restic takes a while."""
    made = [(host, host.order_init()) for host in hosts]
    assert [host.ended(job_id)["outcome"] for host, job_id in made] == ["succeeded"] * len(hosts)
    for host, job_id in [(host, host.order_backup()) for host in hosts]:
        host.has_backed_up(job_id)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)


ENDS = ("succeeded", "failed", "rolled_back", "refused", "cancelled", "lost")
