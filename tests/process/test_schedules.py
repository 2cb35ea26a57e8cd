"""A real server and a real agent: schedules go one way, what they fired comes back the other, also over an outage."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from agent import config as configuration
from agent.config import Paths
from agent.link import Backoff
from agent.running import RunningAgent
from agent.secrets import Secrets, SecretsFile
from rm.services import schedules
from rm.services.schedules import ScheduleForm
from rm.shared import instants
from rm.store.models import GroupVerdict, Host, Job, SkippedRun
from tests import cast
from tests.agent.conftest import Quick, until
from tests.agent.schedules.test_real_agent import SUMMARY, FakeClocks
from tests.cast import BOB
from tests.process.conftest import Server

PATIENT = 120.0


@pytest.fixture
def server(settings) -> Iterator[Server]:
    found = Server(settings.data_dir)
    found.wait_for_line("serving on")
    yield found
    found.kill()


def install(place: Path, server: Server, host: cast.EnrolledHost) -> Paths:
    """What an enrolment leaves on a host, and something that can pass for restic."""
    paths = Paths.of(str(place))
    paths.make()
    configuration.write_settings(paths, {"server": server.url})
    SecretsFile(paths).save(Secrets(server=server.url, host_id=host.id, credential=host.credential))
    assert paths.bin
    paths.bin.mkdir()
    restic = paths.bin / "restic"
    restic.write_text(f"#!/bin/sh\n[ $1 = version ] && echo 'restic 0.14.0 compiled' && exit\necho '{SUMMARY}'\n")
    restic.chmod(0o755)
    return paths


def pass_on(clocks: FakeClocks, agent: RunningAgent, *, late: timedelta = timedelta(seconds=1)) -> None:
    """Let the clock go to the next due run, or behind it."""
    until(lambda: agent.schedules.told.groups and agent.schedules.told.groups[0].code == "idle", PATIENT)
    due = instants.from_text(agent.schedules.told.next_runs[0].due_at)
    clocks.ahead += due - clocks.moment().wall + late
    agent.schedules.ring()


@pytest.mark.timeout(400)
def test_schedules_reach_a_host_and_its_runs_come_back_once_also_those_of_an_outage(
    app, bus, vault, web1, server, settings, tmp_path
) -> None:
    now = datetime.now(timezone.utc)
    group = cast.give_repository(bus, vault, web1, now=now)
    form = ScheduleForm(name="often", every_minutes=60, groups=[group])
    schedules.save(bus, vault, host_id=web1.id, schedule_id=None, form=form, actor=BOB, now=now)
    paths = install(tmp_path / "host", server, web1)
    clocks = FakeClocks(now)
    backoff: Backoff = Quick()
    agent = RunningAgent(paths, configuration.load(paths), clocks=clocks, backoff=backoff)  # type: ignore[arg-type]
    thread = threading.Thread(target=agent.run, daemon=True)
    thread.start()
    try:
        until(lambda: Host.get_by_id(web1.id).schedule_applied == Host.get_by_id(web1.id).schedule_version > 0, PATIENT)
        until(lambda: agent.schedules.told.next_runs, PATIENT)
        pass_on(clocks, agent)
        until(lambda: [job for job in Job.select() if job.state == "finished"], PATIENT)

        server.kill()
        pass_on(clocks, agent)
        until(lambda: len(list(paths.jobs.glob("*/reported"))) == 2, PATIENT)
        pass_on(clocks, agent, late=timedelta(minutes=200))
        until(lambda: len(list(paths.jobs.glob("*/reported"))) == 3, PATIENT)
        second = Server(settings.data_dir, RM_LISTEN=f"127.0.0.1:{server.port}")
        try:
            second.wait_for_line("serving on")
            until(lambda: len([job for job in Job.select() if job.state == "finished"]) == 3, PATIENT)
            until(lambda: agent.outbox.load()[0] == 0, PATIENT)
        finally:
            second.kill()
    finally:
        agent.stop()
        thread.join(60)

    jobs = list(Job.select().order_by(Job.due_at))
    assert {(job.kind, job.source_group, job.requested_by) for job in jobs} == {("backup", "files", "schedule")}
    assert {(job.outcome, job.reason) for job in jobs} == {("warnings", "source_missing")}, "there is no /srv/files"
    assert len({job.due_at for job in jobs}) == 3
    assert [bool(job.why_late) for job in jobs] == [False, False, True]
    assert SkippedRun.select().count() == 0
    assert GroupVerdict.select().where(GroupVerdict.host == web1.id).count() == 1
