"""A month of one repository and three hosts on a clock that a test moves: outages, backups, and its upkeep."""

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

import pytest

from rm.domain.dispatch import EXCLUSIVE, EXCLUSIVE_SILENCE, frees_at
from rm.services import jobs, maintenance
from rm.shared import instants
from rm.shared.protocol import CommandCancel, CommandRun, JobFinished, JobStarted
from rm.store import hosts
from rm.store.models import Alert, Host, Job, MaintenancePolicy, Repository, SourceGroup
from tests import cast
from tests.cast import ALICE, BOB, NOW

STEP, HOUR, DAY = timedelta(minutes=30), timedelta(hours=1), timedelta(days=1)
DAYS = 30
TOOK = {"backup": STEP, "forget": STEP, "prune": 3 * STEP, "check": 2 * STEP}
NAMES = ("web1", "db1", "laptop")


@dataclass
class World:
    """Three hosts, what runs on them, and what was seen of it."""

    bus: object
    chance: random.Random
    now: object = NOW
    running: dict = field(default_factory=dict)
    away_until: dict = field(default_factory=dict)
    unheard: set = field(default_factory=set)
    done: dict = field(default_factory=lambda: defaultdict(list))
    longest_wait: timedelta = timedelta(0)

    def step(self):
        """Half an hour: hosts come and go, backups are ordered, the server sweeps, agents work."""
        self.now += STEP
        for name in NAMES:
            if name not in self.away_until and self.chance.random() < (0.02 if name == "laptop" else 0.004):
                self.away_until[name] = self.now + self.chance.choice([STEP, 3 * HOUR, 20 * HOUR])
            if self.away_until.get(name, self.now) > self.now:
                Host.update(connected_at=None).where(Host.name == name).execute()
                continue
            self.away_until.pop(name, None)
            Host.update(connected_at=NOW, last_seen_at=self.now).where(Host.name == name).execute()
            if self.chance.random() < 1 / 24:
                self.order_backup(name)
        maintenance.sweep(self.bus, now=self.now)
        for name in NAMES:
            if name not in self.away_until:
                self.work(Host.get(Host.name == name))
        self.look()

    def order_backup(self, name):
        group = SourceGroup.select().join(Host).where(Host.name == name).get()
        host = hosts.get(group.host_id)
        jobs.order(self.bus, host_id=host.id, kind="backup", source_group_id=group.id, actor=BOB, now=self.now)

    def work(self, host):
        """The agent: it starts what it is sent, ends what it is told to end, and reports."""
        job_id = self.running.get(host.id)
        if job_id is not None:
            # Each heartbeat says what runs.
            Job.update(last_sign_at=self.now).where(Job.id == job_id).execute()
            job = Job.get_by_id(job_id)
            if job.cancel_requested_at is not None:
                self.finish(job, "cancelled", "cancelled")
            elif self.now - job.started_at < TOOK[job.kind]:
                if not self.is_box_over(job):
                    return
                self.finish(job, "cancelled", "time_box")
            else:
                failed = self.chance.random() < 0.1
                self.finish(job, "failed" if failed else "succeeded", "unreachable" if failed else "")
        for order in jobs.next_orders(host_id=host.id, now=self.now, bus=self.bus):
            if isinstance(order, CommandCancel) or order.already_started:
                continue
            assert isinstance(order, CommandRun)
            report = JobStarted(job_id=order.job_id, started_at=instants.to_text(self.now), command=order.kind)
            jobs.started(self.bus, host_id=host.id, report=report, now=self.now)
            self.running[host.id] = order.job_id

    def is_box_over(self, job):
        """Whether its time box is over before the next step."""
        until = frees_at(job.dispatched_at, timedelta(seconds=job.parameters.get("time_box_seconds", 0)))
        return until is not None and self.now >= until

    def finish(self, job, outcome, reason):
        report = JobFinished(
            job_id=job.id, outcome=outcome, finished_at=instants.to_text(self.now), exit_code=0, reason=reason,
            message=reason, summary={},
        )  # fmt: skip
        jobs.finished(self.bus, host_id=job.host_id, report=report, now=self.now)
        del self.running[job.host_id]
        if outcome == "succeeded":
            what = job.parameters.get("subset") or job.parameters.get("snapshots_of") or ""
            self.done[job.kind, what].append(self.now)

    def look(self):
        """What must hold at every moment."""
        sent = list(Job.select().where(Job.state != "finished", Job.dispatched_at.is_null(False)))
        exclusive = [job for job in sent if job.kind in EXCLUSIVE]
        assert len(exclusive) <= 1
        # One that runs on a host that went away holds nobody up at the server; restic's lock still guards.
        self.unheard |= {job.id for job in exclusive if self.now - job.last_sign_at > EXCLUSIVE_SILENCE}
        assert all(job.id in self.unheard for job in exclusive) or len(sent) == 1, [job.kind for job in sent]
        for job in Job.select().where(Job.state == "queued", Job.kind == "backup", Job.dispatched_at.is_null()):
            if exclusive and job.host.connected_at is not None:
                self.longest_wait = max(self.longest_wait, self.now - max(job.created_at, exclusive[0].dispatched_at))


@pytest.fixture
def world(bus, vault, web1, db1):
    laptop = cast.add_host(bus, "laptop")
    cast.give_repository(bus, vault, web1)
    repository_id = cast.host_row(web1).repository_id
    for host in (db1, laptop):
        Host.update(repository=repository_id).where(Host.id == host.id).execute()
        SourceGroup.create(
            id=f"{host.id[:-1]}X", host=host.id, name="files", includes=["/srv"], created_at=NOW, changed_at=NOW
        )
    Host.update(restic_version="0.14.0", features=["forget", "time_box"], last_seen_at=NOW).execute()
    Host.update(mode="intermittent").where(Host.name == "laptop").execute()
    SourceGroup.update(retention={"keep_daily": 7}).execute()
    Repository.update(restic_repository_id="ab" * 32).execute()
    return World(bus, random.Random("a month"))


@pytest.mark.timeout(1200)
def test_in_a_month_everything_is_forgotten_pruned_and_checked_and_backups_hardly_wait(world):
    MaintenancePolicy.update(parts=3).where(MaintenancePolicy.kind == "check").execute()

    for _ in range(DAYS * int(DAY / STEP)):
        world.step()

    for name in NAMES:
        times = [NOW, *world.done["forget", name]]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert len(times) >= DAYS - 6, (name, len(times))
        assert max(gaps) <= 3 * DAY, (name, max(gaps))
    assert len(world.done["prune", ""]) in (3, 4)
    assert [part for (kind, part), times in world.done.items() if kind == "check" and times] == ["1/3", "2/3", "3/3"]
    assert len(world.done["backup", ""]) >= 40
    # An exclusive job gives way within a minute; a step of this clock later its agent has ended it.
    assert world.longest_wait <= 3 * STEP
    assert Job.select().where(Job.outcome == "lost").count() == 0
    assert all(alert.kind.endswith("_failed") for alert in Alert.select())
    assert ALICE.name not in {job.requested_by for job in Job.select()}
