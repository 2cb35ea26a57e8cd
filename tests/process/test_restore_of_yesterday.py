"""Yesterday's database is restored while its agents are at work: nothing is lost, nothing runs twice."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import websocket

from agent.schedules.stored import StoredSchedules
from rm.config import Settings
from rm.store import database
from rm.store.models import AuditEntry, Host, Job, OrphanResult, Snapshot
from tests import cast
from tests.agent.conftest import ROOT
from tests.process.peer import connect
from tests.process.two_hosts import ASKED, EVERY, NIGHTLY, PATIENT, Machine, Stack, until

pytestmark = pytest.mark.restic


@pytest.fixture
def stack(app, bus, vault, settings: Settings, tmp_path: Path) -> Iterator[Stack]:
    found = Stack(bus, vault, settings.data_dir, tmp_path)
    yield found
    found.close()


def rm(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The server's own command line, as an operator types it."""
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "rm", *arguments], cwd=ROOT, text=True, capture_output=True,
        env={"PATH": os.environ["PATH"], "RM_DATA_DIR": str(settings.data_dir)}, timeout=PATIENT, check=False,
    )  # fmt: skip


def reopen(settings: Settings) -> None:
    """What this process itself reads is the file that lies there now."""
    database.close_database()
    database.open_database(settings.database_file)
    database.db.connect()


def set_of(machine: Machine) -> Any:
    stored = StoredSchedules(machine.paths.state).load()
    assert stored is not None
    return stored.wanted


def has_taken_what_is_wanted(machine: Machine) -> bool:
    host = Host.get_by_id(machine.host.id)
    return bool(
        host.schedule_applied == host.schedule_version == set_of(machine).version
        and host.config_applied == host.config_version
        and host.connected_at is not None
    )


def change_schedule(stack: Stack, machine: Machine, minutes: int) -> None:
    path = f"/hosts/{machine.host.id}/schedules/{machine.schedule_id}"
    stack.ask("PUT", path, {"cron": "", "every_minutes": minutes})


def ended(job_id: str) -> bool:
    return Job.get_by_id(job_id).state == "finished"


def fired(machine: Machine, due: datetime) -> list[Job]:
    jobs = Job.select().where(Job.host == machine.host.id, Job.due_at.is_null(False))
    return [job for job in jobs if int(job.due_at.timestamp()) == int(due.timestamp())]


def has_ended(machine: Machine, due: datetime) -> bool:
    return [job.state for job in fired(machine, due)] == ["finished"]


@pytest.mark.timeout(900)
def test_a_restore_with_agents_connected_loses_nothing_and_runs_nothing_twice(stack, settings, bus, tmp_path) -> None:
    place = tmp_path / "repository"
    stack.set_up(str(place), place, behind=6 * (EVERY + timedelta(seconds=5)))
    db1, web1 = stack.machines["db1"], stack.machines["web1"]
    until(lambda: all(has_taken_what_is_wanted(one) for one in stack.machines.values()))
    db1.kill()
    open_then = stack.back_up(db1)
    versions = {host.id: (host.config_version, host.schedule_version) for host in Host.select()}

    backup = tmp_path / "yesterday.db"
    done = rm(settings, "backup", "--to", str(backup))
    assert done.returncode == 0, done.stderr

    # -- what happens after the backup, and is not in it
    db1.start()
    until(lambda: ended(open_then))
    told_before = stack.back_up(web1)
    until(lambda: ended(told_before))
    due_before = web1.let_come_due()
    until(lambda: has_ended(web1, due_before))
    change_schedule(stack, web1, 7)
    until(lambda: has_taken_what_is_wanted(web1) and set_of(web1).schedules[0].every_minutes == 7)
    late = cast.add_host(bus, "late", now=datetime.now(timezone.utc))
    hold = tmp_path / "hold"
    hold.touch()
    web1.wrap_restic(f'if [ "$1" = backup ]; then while [ -e {hold} ]; do sleep 0.2; done; fi')
    under_way = stack.back_up(web1)
    until(lambda: Job.get_by_id(under_way).state == "running")
    epochs = {host.id: host.update_epoch for host in Host.select()}

    # -- the restore, first as it must not be done
    refused = rm(settings, "restore", str(backup))
    assert refused.returncode == 1
    assert "already runs" in refused.stderr
    assert stack.server is not None
    stack.server.stop()
    hold.unlink()
    until(lambda: web1.outbox_reports() > 0 and not web1.has_restic())
    began = int(time.time())
    done = rm(settings, "restore", str(backup))
    assert done.returncode == 0, done.stderr
    reopen(settings)
    assert Job.get_or_none(Job.id == told_before) is None
    stack.start_server()
    stack.person.sign_in(username="alice", password=cast.PASSWORD)

    # -- agents come back by themselves and take what the restored database wants
    until(lambda: all(has_taken_what_is_wanted(one) for one in stack.machines.values()))
    assert set_of(web1).schedules[0].every_minutes == int(EVERY.total_seconds()) // 60, "the set of before is back"
    for host in Host.select():
        assert host.config_version >= began > versions[host.id][0]
        assert host.schedule_version >= began > versions[host.id][1]
        assert host.update_epoch >= max(began, epochs[host.id])

    # -- the job that was open in the backup had run since: it is told, and not run again
    until(lambda: ended(open_then))
    assert Job.get_by_id(open_then).outcome == "succeeded"
    # -- the end of the job that this database does not know is kept as a stranger's
    until(lambda: OrphanResult.select().where(OrphanResult.attempt_id == under_way).exists())
    entry = AuditEntry.get(AuditEntry.action == "job.unknown_result")
    assert (entry.payload["job"], entry.payload["outcome"]) == (under_way, "succeeded")

    # -- life goes on: one more run by schedule, one by order, a change of the schedule
    due_after = web1.let_come_due()
    until(lambda: has_ended(web1, due_after))
    ordered = stack.back_up(db1, NIGHTLY)
    until(lambda: ended(ordered))
    change_schedule(stack, web1, 9)
    until(lambda: has_taken_what_is_wanted(web1) and set_of(web1).schedules[0].every_minutes == 9)
    until(lambda: not stack.open_jobs() and not any(one.outbox_reports() for one in stack.machines.values()))

    # -- each run made one snapshot, those of the lost hours too, and the server lists them all
    in_repository = {found["id"]: found["tags"] for found in stack.restic("snapshots")}
    assert len(in_repository) == len(["db1", "web1", open_then, told_before, due_before, under_way, due_after, ordered])
    until(lambda: {row.id for row in Snapshot.select()} == set(in_repository))
    jobs = [job for job in stack.jobs() if job.kind == "backup"]
    assert {job.outcome for job in jobs} == {"succeeded"}
    made = [str(job.summary["snapshot_id"]) for job in jobs]
    assert len(set(made)) == len(made) == 5
    assert sum(ASKED in tags for tags in in_repository.values()) == 5

    # -- a host that was enrolled after the backup is refused, and told so
    stack.server.url = stack.url  # it listens where the first one did
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        connect(stack.server, late.credential, hello=False)
    assert caught.value.status_code == 401
    error = json.loads(caught.value.resp_body)["error"]
    assert error["code"] == "credential_refused"
    assert "Enrol the host again" in error["help"]
