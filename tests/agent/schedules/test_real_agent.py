"""A real agent with the server double: a set arrives, backups happen by themselves, and are reported once."""

import random
import shutil
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from agent import clock
from agent import config as configuration
from agent.__main__ import main
from agent.job_directory import Intent
from agent.journal import Journal
from agent.running import Patience, RunningAgent
from agent.schedules import orders
from agent.schedules.record import Entry, Record, RecordFile, Run
from agent.schedules.stored import StoredSchedules
from agent.schedules.waking import BeatFile, Clocks, Moment
from rm.shared import ids, instants
from rm.shared.protocol import (
    ConfigSet,
    FiredRun,
    JobFinished,
    Message,
    RepositoryConfig,
    ScheduleSet,
    ScheduleSpec,
    SourceGroupSpec,
)
from tests.agent.conftest import Rig, until

UTC = timezone.utc
SUMMARY = '{"message_type": "summary", "files_new": 1, "data_added": 5, "snapshot_id": "' + "a" * 64 + '"}'
with_restic = pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")


@pytest.fixture(autouse=True)
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catch-up runs start at once here; nobody's network has to come back."""
    monkeypatch.setattr("agent.schedules.planning.SETTLE", timedelta(0))


def group(rig: Rig, **fields: object) -> SourceGroupSpec:
    spec = SourceGroupSpec(name="documents", repository_id=rig.repository_id, includes=[str(rig.base / "source")])
    return replace(spec, **fields)  # type: ignore[arg-type]


def a_set(rig: Rig, *, version: int = 1, cron: str = "", every_minutes: int = 0, **fields: object) -> ScheduleSet:
    schedule = ScheduleSpec(id="nightly", cron=cron, every_minutes=every_minutes, source_groups=["documents"])
    return ScheduleSet(version=version, schedules=[schedule], groups=[group(rig, **fields)])


def overdue(rig: Rig, wanted: ScheduleSet, *, by: timedelta = timedelta(seconds=1)) -> datetime:
    """Leave behind what an agent before this one had applied, with one run that has just become due."""
    due = datetime.now(UTC).replace(microsecond=0) - by
    applied = due - timedelta(minutes=wanted.schedules[0].every_minutes)
    StoredSchedules(rig.paths.state).save(wanted, at=applied)
    entry = Entry(timing=f"every {wanted.schedules[0].every_minutes}", handled=applied)
    RecordFile(rig.paths.state).save(Record(entries={("nightly", "documents"): entry}))
    return due


class FakeClocks:
    """The machine's clocks, moved on by a test."""

    def __init__(self, wall: datetime) -> None:
        self._wall = wall
        self._base = time.monotonic()
        self.ahead = timedelta(0)

    def moment(self) -> Moment:
        passed = time.monotonic() - self._base
        seconds = passed + self.ahead.total_seconds()
        return Moment(
            wall=self._wall + timedelta(seconds=seconds),
            boot_id="b",
            boottime=seconds,
            monotonic=seconds,
        )

    def zone(self) -> timezone:
        return UTC


def start(rig: Rig, clocks: FakeClocks) -> RunningAgent:
    """Run the rig's agent with clocks of the test."""
    rig.agent = RunningAgent(
        rig.paths,
        configuration.load(rig.paths),
        patience=Patience(grace_seconds=rig.grace_seconds),
        backoff=rig.backoff,
        clocks=clocks,  # type: ignore[arg-type]
    )
    rig._thread = threading.Thread(target=rig.agent.run, daemon=True)
    rig._thread.start()
    return rig.agent


def test_a_set_is_stored_before_it_is_acknowledged_and_named_in_the_next_hello(rig: Rig) -> None:
    rig.start()
    hello = rig.server.connected() and rig.server.all("hello")[0].payload
    assert "schedules" in hello.features and hello.schedule_version == 0

    rig.server.connections[0].send(a_set(rig, version=12, cron="15 3 * * *", pre_shell="sync"))
    ack = rig.server.wait_for("schedule.ack").payload

    assert (ack.schedule_version, ack.config_version, ack.problem) == (12, 1, "")
    assert StoredSchedules(rig.paths.state).version == 12
    rig.stop()
    rig.start()
    rig.server.connected(2)
    assert rig.server.all("hello")[1].payload.schedule_version == 12


def test_the_heartbeat_tells_the_next_runs_and_each_groups_state(rig: Rig) -> None:
    rig.server.heartbeat_seconds = 1
    rig.start()
    rig.server.connected().send(a_set(rig, cron="15 3 * * *"))

    beats = rig.server.wait(lambda s: [m.payload for m in s.all("heartbeat") if m.payload.next_runs])

    [next_run], [found] = beats[0].next_runs, beats[0].groups
    assert (next_run.schedule_id, next_run.source_group) == ("nightly", "documents")
    assert instants.from_text(next_run.due_at) > datetime.now(UTC) - timedelta(minutes=1)
    assert (found.source_group, found.code, found.next_at) == ("documents", "idle", next_run.due_at)


def test_a_set_that_cannot_run_is_answered_with_the_problem_and_the_version_that_holds(rig: Rig) -> None:
    rig.start()
    rig.server.connected().send(a_set(rig, version=3, cron="15 3 * * *"))
    rig.server.wait_for("schedule.ack", schedule_version=3)

    rig.server.connections[0].send(a_set(rig, version=4, cron="99 3 * * *"))

    answers = rig.server.wait(lambda s: [m.payload for m in s.all("schedule.ack") if m.payload.problem])
    assert answers[0].schedule_version == 3 and "99 3 * * *" in answers[0].problem


def test_a_new_configuration_does_not_deny_the_schedules_that_hold(rig: Rig) -> None:
    rig.start()
    rig.server.connected().send(a_set(rig, version=3, cron="15 3 * * *"))
    rig.server.wait_for("schedule.ack", schedule_version=3)
    repository = RepositoryConfig(id=rig.repository_id, location=rig.location, password=rig.password)

    rig.server.connections[0].send(ConfigSet(version=2, repositories=[repository]))

    assert rig.server.wait_for("schedule.ack", config_version=2).payload.schedule_version == 3


def test_a_damaged_set_is_a_problem_in_hello_and_asks_for_the_set_again(rig: Rig) -> None:
    overdue(rig, a_set(rig, version=9, every_minutes=60))
    (rig.paths.state / "schedules.json").write_bytes(b"{")

    rig.start()
    rig.server.connected()

    hello = rig.server.all("hello")[0].payload
    assert hello.schedule_version == 0
    assert any("schedules.json" in problem and "damaged" in problem for problem in hello.problems)
    assert rig.server.all("job.started") == []


def test_a_server_cannot_say_of_its_own_order_that_a_schedule_fired_it(rig: Rig) -> None:
    rig.fake_restic(f"echo '{SUMMARY}'")
    rig.start()
    order = rig.order(fired=FiredRun(schedule_id="s", due_at=clock.now()))
    rig.server.connected().send(order)

    assert rig.server.wait_for("job.finished", job_id=order.job_id).payload.due_at is None


@pytest.mark.restic
@with_restic
def test_a_due_run_makes_a_real_snapshot_and_is_reported_with_how_it_came_about(rig: Rig, repository: Path) -> None:
    due = overdue(rig, a_set(rig, every_minutes=60))

    rig.start()
    finished = rig.server.wait_for("job.finished").payload
    started = rig.server.wait_for("job.started").payload

    for told in (started, finished):
        assert (told.kind, told.source_group, told.schedule_id, told.attempt) == ("backup", "documents", "nightly", 1)
        assert (told.due_at, told.repository_id) == (instants.to_text(due), rig.repository_id)
        assert told.why_late == "" and told.job_id == finished.job_id
    assert finished.outcome == "succeeded" and finished.summary["files_new"] == 1
    rig.settled()
    reports = [m.type for m in rig.server.received if m.type in ("job.started", "job.finished", "snapshots.report")]
    assert reports == ["job.started", "snapshots.report", "job.finished"]
    assert rig.restic("snapshots", "--json").stdout.count(b'"short_id"') == 1


@pytest.mark.restic
@with_restic
def test_a_backup_happens_while_the_server_is_away_and_is_told_when_it_is_back(rig: Rig, repository: Path) -> None:
    rig.server.refuses = True
    overdue(rig, a_set(rig, every_minutes=60))

    agent = rig.start()
    until(lambda: any(path.exists() for path in rig.paths.jobs.glob("*/reported")))
    assert rig.server.all("hello") == [] and agent.outbox.load()[0] > 0
    rig.server.refuses = False

    finished = rig.server.wait_for("job.finished").payload
    assert (finished.outcome, finished.schedule_id) == ("succeeded", "nightly")
    rig.settled()
    assert Counter(m.type for m in rig.server.received)["job.finished"] == 1


def test_after_a_stop_of_the_agent_a_late_run_says_why(rig: Rig) -> None:
    rig.fake_restic(f"echo '{SUMMARY}'")
    overdue(rig, a_set(rig, every_minutes=60), by=timedelta(hours=3))
    moment = Clocks().moment()
    hours = 5 * 3600.0
    before = replace(
        moment,
        wall=moment.wall - timedelta(seconds=hours),
        boottime=moment.boottime - hours,
        monotonic=moment.monotonic - hours,
    )
    BeatFile(rig.paths.state).save(before, ())

    rig.start()

    late = rig.server.wait_for("job.finished").payload.why_late
    assert late and late.startswith("ran late because the agent did not run since ")


def test_a_backup_that_died_with_the_host_is_told_and_the_run_missed_meanwhile_is_made_up_for(rig: Rig) -> None:
    rig.fake_restic(f"echo '{SUMMARY}'")
    first = overdue(rig, a_set(rig, every_minutes=60), by=timedelta(hours=3))
    job_id = orders.job_id(schedule_id="nightly", group="documents", due_at=first, attempt=1)
    run = Run(
        schedule_id="nightly",
        group="documents",
        due_at=first,
        job_id=job_id,
        stage="fired",
        start_at=first,
        since=first,
    )
    entry = Entry(timing="every 60", handled=first)
    RecordFile(rig.paths.state).save(Record(entries={("nightly", "documents"): entry}, runs={"documents": run}))
    fired = FiredRun(schedule_id="nightly", due_at=instants.to_text(first))
    directory = Journal(rig.paths.jobs).of(job_id)
    directory.accept(
        orders.backup(job_id=job_id, group=group(rig), hostname="web1", fired=fired), at=instants.to_text(first)
    )
    directory.intend(Intent(started_at=instants.to_text(first), command="restic backup", boot_id="an earlier boot"))
    moment = Clocks().moment()
    before = replace(moment, wall=first + timedelta(minutes=5), boot_id="an earlier boot")
    BeatFile(rig.paths.state).save(before, ())

    rig.start()
    rig.server.wait(lambda s: len(s.all("job.finished")) == 2)

    died, made_up = [m.payload for m in rig.server.all("job.finished")]
    assert (died.job_id, died.outcome, died.reason) == (job_id, "failed", "interrupted")
    assert (died.due_at, died.kind) == (instants.to_text(first), "backup")
    assert (made_up.outcome, made_up.due_at) == ("succeeded", instants.to_text(first + timedelta(hours=1)))
    assert made_up.why_late and made_up.why_late.startswith("ran late because the host was ")
    rig.settled()
    assert rig.server.all("schedule.skipped") == []


def test_a_run_that_fails_is_reported_and_tried_again_under_another_job_of_the_same_due_time(rig: Rig) -> None:
    rig.server.heartbeat_seconds = 1
    rig.fake_restic("echo Fatal: no route to host >&2; exit 1")
    due = overdue(rig, a_set(rig, every_minutes=600, retries=2, retry_minutes=1))
    clocks = FakeClocks(datetime.now(UTC))
    agent = start(rig, clocks)
    rig.server.wait_for("job.finished", attempt=1)
    rig.server.wait(lambda s: [m for m in s.all("heartbeat") for g in m.payload.groups if g.code == "retrying"])

    for attempt, wait in ((2, 70), (3, 130)):
        until(lambda: agent.schedules.told.groups and agent.schedules.told.groups[0].code == "retrying")
        clocks.ahead += timedelta(seconds=wait)
        agent.schedules.ring()
        rig.server.wait_for("job.finished", attempt=attempt)

    until(lambda: agent.schedules.told.groups[0].code == "idle")
    ends = [m.payload for m in rig.server.all("job.finished")]
    assert [end.attempt for end in ends] == [1, 2, 3]
    assert len({end.job_id for end in ends}) == 3 and {end.due_at for end in ends} == {instants.to_text(due)}


def test_a_run_that_is_fired_while_an_update_holds_the_jobs_waits_and_is_not_lost(rig: Rig) -> None:
    rig.server.heartbeat_seconds = 1
    rig.fake_restic(f"echo '{SUMMARY}'")
    overdue(rig, a_set(rig, every_minutes=60))
    clocks = FakeClocks(datetime.now(UTC) - timedelta(hours=1))
    agent = start(rig, clocks)
    rig.server.connected()
    agent.jobs.hold()
    clocks.ahead += timedelta(hours=1)
    agent.schedules.ring()

    waiting = rig.server.wait(
        lambda s: [g for m in s.all("heartbeat") for g in m.payload.groups if g.code == "waiting"]
    )
    assert waiting[0].why == "Waits until the agent has been updated."
    assert rig.server.all("job.started") == []
    rig.stop()
    rig.start()

    assert rig.server.wait_for("job.finished").payload.outcome == "succeeded"
    rig.settled()
    assert len(rig.server.all("job.finished")) == 1


def test_damage_to_the_order_of_a_fired_run_is_reported_with_how_it_came_about(rig: Rig) -> None:
    overdue(rig, a_set(rig, every_minutes=60))
    clocks = FakeClocks(datetime.now(UTC) - timedelta(hours=1))
    agent = start(rig, clocks)
    rig.server.connected()
    agent.jobs.hold()
    clocks.ahead += timedelta(hours=1)
    agent.schedules.ring()
    [order] = until(lambda: list(rig.paths.jobs.glob("*/order.json")))
    until(lambda: any(run.stage == "fired" for run in (RecordFile(rig.paths.state).load() or Record()).runs.values()))
    rig.stop()
    order.write_bytes(b"{")

    rig.start()
    finished = rig.server.wait_for("job.finished").payload

    assert (finished.outcome, finished.reason, finished.schedule_id) == ("failed", "interrupted", "nightly")


@pytest.mark.timeout(300)
def test_a_week_without_the_server_is_reported_once_and_in_order_when_it_is_back(rig: Rig) -> None:
    rig.server.refuses = True
    rig.fake_restic(f"[ $1 = backup ] && echo run >> $TMPDIR/runs; echo '{SUMMARY}'")
    begin = datetime(2026, 11, 16, 20, 0, tzinfo=UTC)
    clocks = FakeClocks(begin)
    StoredSchedules(rig.paths.state).save(a_set(rig, cron="15 3 * * *"), at=begin)
    agent = start(rig, clocks)

    for day in range(7):
        if day == 3:
            # once the host sleeps over two runs: one catch-up, and one report
            clocks.ahead += timedelta(days=1)
        clocks.ahead += timedelta(days=1)
        agent.schedules.ring()
        until(lambda n=day + 1: len(list(rig.paths.jobs.glob("*/reported"))) == n)
        until(lambda: agent.schedules.told.groups and agent.schedules.told.groups[0].code == "idle")
    assert rig.server.all("hello") == []
    rig.server.refuses = False
    rig.server.wait(lambda s: len(s.all("job.finished")) == 7 and s.all("schedule.skipped"))
    rig.settled()

    dues = [m.payload.due_at for m in rig.server.all("job.finished")]
    days = [17, 18, 19, 21, 22, 23, 24]
    assert dues == [f"2026-11-{day}T03:15:00.000000Z" for day in days]
    assert [m.payload.due_at for m in rig.server.all("job.started")] == dues
    [skipped] = [m.payload for m in rig.server.all("schedule.skipped")]
    assert (skipped.due_from, skipped.count) == ("2026-11-20T03:15:00.000000Z", 1)
    assert skipped.job_id == rig.server.all("job.finished")[3].payload.job_id
    kinds = [m.type for m in rig.server.received if m.type in ("job.started", "job.finished")]
    assert kinds == ["job.started", "job.finished"] * 7
    assert (rig.paths.temporary / "runs").read_text().count("run") == 7


@pytest.mark.timeout(600)
def test_an_agent_that_is_killed_at_random_moments_runs_each_due_run_once_and_tells_it_once(rig: Rig) -> None:
    """Ten overdue runs, and for each a kill -9 at a random moment of the look, the start or the backup."""
    chance = random.Random(5)
    rig.fake_restic(f"[ $1 = backup ] && echo run >> $TMPDIR/runs; sleep 0.1; echo '{SUMMARY}'")
    rounds, wanted = 10, a_set(rig, every_minutes=60)
    dues = []
    for number in range(rounds):
        dues.append(overdue(rig, wanted, by=timedelta(seconds=60 - number)))
        before = len(rig.server.connections)
        child = rig.spawn()
        rig.server.wait(lambda s, n=before: len(s.connections) > n)
        time.sleep(chance.random() * 0.6)
        child.kill()
        child.wait(30)
        again = rig.spawn()
        rig.server.wait(
            lambda s, n=number: len({m.payload.due_at for m in s.all("job.finished")}) == n + 1, seconds=120
        )
        until(lambda: is_idle(rig))
        again.terminate()
        again.wait(30)

    ends: dict[str, JobFinished] = {m.payload.job_id: m.payload for m in rig.server.all("job.finished")}
    assert sorted(str(end.due_at) for end in ends.values()) == [instants.to_text(due) for due in dues]
    interrupted = [end for end in ends.values() if end.outcome != "succeeded"]
    assert {end.reason for end in interrupted} <= {"interrupted"}
    runs = (rig.paths.temporary / "runs").read_text().count("run")
    assert rounds - len(interrupted) <= runs <= rounds
    assert distinct(rig.server.all("schedule.skipped")) == []
    print(f"kill -9: {rounds} rounds, {runs} runs, {len(interrupted)} interrupted")


def is_idle(rig: Rig) -> bool:
    record = RecordFile(rig.paths.state).load()
    return record is not None and not record.runs


def distinct(messages: list[Message]) -> list[str]:
    return sorted({m.id for m in messages})


def test_the_status_and_the_doctor_show_the_schedules(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.start()
    rig.server.connected().send(a_set(rig, version=5, cron="15 3 * * *"))
    rig.server.wait_for("schedule.ack", schedule_version=5)
    agent = rig.agent
    assert agent
    until(lambda: agent.schedules.told.lines)
    agent.write_status()

    main(["--root", str(rig.base), "status"])
    shown = capsys.readouterr().out
    main(["--root", str(rig.base), "doctor"])
    checked = capsys.readouterr().out

    assert "Schedules: version 5" in shown and "Schedule: 15 3 * * *: documents" in shown
    assert "Group documents: idle, next " in shown
    assert "schedules: version 5: 1 enabled schedule, 1 source group" in checked
    (rig.paths.state / "schedules.json").write_bytes(b"{")
    main(["--root", str(rig.base), "doctor"])
    assert "failed   schedules: " in capsys.readouterr().out


def test_the_same_due_run_has_the_same_job_on_every_reckoning() -> None:
    due = datetime(2026, 11, 26, 2, 15, tzinfo=UTC)
    first = orders.job_id(schedule_id="s", group="home", due_at=due, attempt=1)

    assert first == orders.job_id(schedule_id="s", group="home", due_at=due, attempt=1)
    assert ids.is_ulid(first)
    assert first[:10] == ids.new_ulid(int(due.timestamp() * 1000))[:10]
    others = [
        orders.job_id(schedule_id="t", group="home", due_at=due, attempt=1),
        orders.job_id(schedule_id="s", group="mail", due_at=due, attempt=1),
        orders.job_id(schedule_id="s", group="home", due_at=due + timedelta(minutes=5), attempt=1),
        orders.job_id(schedule_id="s", group="home", due_at=due, attempt=2),
        orders.job_id(schedule_id="s", group="home", due_at=due, attempt=1, era=1),
    ]
    assert len({first, *others}) == 6
