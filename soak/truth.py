"""What the load's side knows of its own: a journal that survives kill -9, and its comparison with the database."""

import json
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass
class KnownJob:
    """A job as its simulated host knows it; written down before its first report is sent."""

    job_id: str
    host_id: str
    outcome: str
    lines: int
    due_at: str = ""
    started: bool = False
    lines_kept: int = 0
    finished: bool = False

    def text(self, number: int) -> str:
        """Line `number` of its log: no two lines of all jobs are equal."""
        return f"line {number} of {self.job_id}"


class Journal:
    """One load process's file: each entry is in the kernel's hands before the next step is taken."""

    def __init__(self, file: Path) -> None:
        self.jobs: dict[str, KnownJob] = {}
        self.releases: dict[str, Json] = {}
        self.updates: dict[str, Json] = {}
        for line in file.read_bytes().splitlines() if file.exists() else []:
            try:
                self._apply(json.loads(line))
            except ValueError:
                # cut off by the kill: what it would have said was not acted upon yet
                continue
        self._fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # after a line that was cut off
        os.write(self._fd, b"\n")

    def note(self, **entry: Any) -> None:
        os.write(self._fd, json.dumps(entry).encode() + b"\n")
        self._apply(entry)

    def close(self) -> None:
        os.close(self._fd)

    def _apply(self, entry: Json) -> None:
        what = entry["what"]
        if what == "job":
            self.jobs[entry["job_id"]] = KnownJob(**{key: value for key, value in entry.items() if key != "what"})
        elif what == "release":
            self.releases[entry["host_id"]] = entry["release"]
        elif what == "update":
            self.updates[entry["host_id"]] = entry["order"]
        elif what == "updated":
            self.updates.pop(entry["host_id"], None)
        elif what == "lines":
            self.jobs[entry["job_id"]].lines_kept = entry["to"]
        else:
            setattr(self.jobs[entry["job_id"]], what, True)


@dataclass
class Account:
    """What the comparison found; `lost` and `doubled` are the sentences that should not exist."""

    reported: int = 0
    lines: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unfinished: int = 0

    def as_json(self) -> Json:
        return {
            "results_acknowledged": self.reported,
            "log_lines_acknowledged": self.lines,
            "lost": len(self.lost),
            "doubled": len(self.doubled),
            "unfinished": self.unfinished,
            "examples": (self.lost + self.doubled)[:10],
        }


def compare(database_file: Path, known: Iterable[KnownJob]) -> Account:
    """Everything acknowledged is in the database, once, with its true outcome and its lines in order."""
    jobs = {job.job_id: job for job in known}
    account = Account(unfinished=sum(not job.finished for job in jobs.values()))
    with closing(sqlite3.connect(f"file:{database_file}?mode=ro", uri=True, timeout=30)) as database:
        kept = {row[0]: row[1:] for row in database.execute("SELECT id, host_id, state, outcome, kind FROM jobs")}
        for job in jobs.values():
            _compare_result(account, job, kept.get(job.job_id))
            _compare_lines(account, job, database)
        _look_for_doubles(account, jobs, database)
    return account


def _compare_result(account: Account, job: KnownJob, row: tuple[str, str, str, str] | None) -> None:
    if job.finished:
        account.reported += 1
    if row is None:
        if job.started or job.finished:
            account.lost.append(f"job {job.job_id} was acknowledged and is not there")
    elif job.finished and row[:3] != (job.host_id, "finished", job.outcome):
        account.lost.append(f"job {job.job_id} ended {job.outcome}; the database says {row[1]} {row[2]}")


def _compare_lines(account: Account, job: KnownJob, database: sqlite3.Connection) -> None:
    account.lines += job.lines_kept
    found = database.execute("SELECT n, text FROM job_log_lines WHERE job_id = ? ORDER BY n", (job.job_id,)).fetchall()
    expected = [(number, job.text(number)) for number in range(1, job.lines_kept + 1)]
    if found[: len(expected)] != expected:
        account.lost.append(f"of {job.lines_kept} acknowledged lines of job {job.job_id} not all are there in order")
    more = found[len(expected) :]
    # Kept but not acknowledged is no loss, if it is what the host would have sent next.
    if more != [(number, job.text(number)) for number in range(job.lines_kept + 1, job.lines_kept + 1 + len(more))]:
        account.doubled.append(f"job {job.job_id} has lines that its host never sent")


def _look_for_doubles(account: Account, jobs: dict[str, KnownJob], database: sqlite3.Connection) -> None:
    twice = database.execute(
        "SELECT host_id, schedule_id, due_at, count(*) FROM jobs WHERE due_at IS NOT NULL"
        " GROUP BY host_id, schedule_id, source_group, due_at, attempt HAVING count(*) > 1"
    )
    account.doubled += [f"{row[3]} jobs for the run of host {row[0]} that was due at {row[2]}" for row in twice]
    hosts = {job.host_id for job in jobs.values()}
    # The sums under the strips are added to at each end: an end that counts twice shows here.
    counted: dict[str, int] = dict(
        database.execute("SELECT host_id, sum(succeeded + warnings + failed) FROM backup_days GROUP BY host_id")
    )
    ended: dict[str, int] = dict(
        database.execute(
            "SELECT host_id, count(*) FROM jobs WHERE kind = 'backup'"
            " AND outcome IN ('succeeded', 'warnings', 'failed') GROUP BY host_id"
        )
    )
    for host_id in hosts:
        if counted.get(host_id, 0) != ended.get(host_id, 0):
            account.doubled.append(
                f"host {host_id} has {ended.get(host_id, 0)} ended backups, but {counted.get(host_id, 0)} are counted"
            )
