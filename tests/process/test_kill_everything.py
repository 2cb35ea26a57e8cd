"""kill -9 of agents, server and restics at random points over the whole stack: nothing lost, doubled or left locked."""

import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from rm.shared import instants
from rm.store.models import Job, SkippedRun
from tests.process.two_hosts import ASKED, EVERY, THINNED, Machine, Stack, pause, until
from tests.restserver import tools

ROUNDS = int(os.environ.get("RM_KILL_ROUNDS", "12"))
VICTIMS = ("agent", "server", "restic", "agent and restic", "server and agent", "everything")
KINDS = ("forget", "prune", "check")
LATEST_SECONDS = 2.5
RESTIC_SECONDS = 1.5
ROUND_SECONDS = 300.0
SLACK = timedelta(seconds=2)
# What a job may say whose restic could have made a snapshot although it did not end well.
CUT_SHORT = ("interrupted", "restic_killed")

# restic's time without the fraction, which may have nine digits.
_SHORT = re.compile(r"^(.{19})\.\d+(.*)$")

pytestmark = pytest.mark.restic


class Rounds:
    """The stack, parts of which are killed while backups, runs on schedule and maintenance are at work."""

    def __init__(self, stack: Stack, *, seed: int) -> None:
        self.stack = stack
        self.random = random.Random(seed)
        self.killed: Counter[str] = Counter()
        self.trouble: list[str] = []
        self.ordered: set[str] = set()
        self.victims: list[str] = []
        for machine in stack.machines.values():
            # Slow enough to be hit while it writes.
            machine.wrap_restic('if [ "$1" = backup ]; then set -- "$@" --limit-upload 768; fi')

    def one(self, number: int) -> None:
        """Work on both hosts, one kill, and the true end of all of it."""
        stack = self.stack
        first, second = self.random.sample(list(stack.machines.values()), 2)
        for machine in (first, second):
            (machine.source / "data").write_bytes(self.random.randbytes(1_000_000))
        second.let_come_due()
        self.ordered.add(stack.back_up(first, self.random.choice((THINNED, ASKED))))
        if number % 2:
            self.ordered.update(stack.tidy(KINDS[number // 2 % 3]))
        self.victims = self.victims or self.random.sample(VICTIMS, len(VICTIMS))
        victim = self.victims.pop()
        if _is_restic(victim) and self.is_at_work():
            pause(self.random.uniform(0, RESTIC_SECONDS))
        else:
            pause(self.random.uniform(0, LATEST_SECONDS))
        self.kill(victim, self.random.choice((first, second)))
        until(lambda: not self.unfinished(), ROUND_SECONDS)

    def kill(self, victim: str, machine: Machine) -> None:
        """Kill one or some at once, the restics first: an agent that lives on would see their end."""
        hit = []
        if _is_restic(victim):
            hit += ["restic"] * sum([one.kill_restic() for one in self.stack.machines.values()])
        if "agent" in victim or victim == "everything":
            machine.kill()
            hit.append("agent")
        if "server" in victim or victim == "everything":
            self.stack.kill_server()
            hit.append("server")
        self.killed.update(hit or ["nobody"])
        if "agent" in hit:
            machine.start()
        if "server" in hit:
            self.stack.start_server()

    def is_at_work(self) -> bool:
        """Whether a restic is at work, within a few seconds."""
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if any(one.has_restic() for one in self.stack.machines.values()):
                return True
            pause(0.05)
        return False

    def unfinished(self) -> list[str]:
        """What was begun, or is due, and has not ended on the server."""
        known = {(job.host_id, job.due_at) for job in Job.select(Job.host, Job.due_at).where(Job.due_at.is_null(False))}
        missing = [
            f"{machine.host.name} due {due}"
            for machine in self.stack.machines.values()
            for due in machine.due
            if (machine.host.id, _to_second(due)) not in {(host, _to_second(at)) for host, at in known}
        ]
        return missing + [f"{job.kind} {job.id}" for job in self.stack.open_jobs()]

    # ---- the end ----

    def look(self) -> None:
        """Compare what the server says with the repository and with what the agents keep."""
        self.look_at_jobs()
        self.look_at_snapshots()
        for name in self.stack.machines:
            if left := self.stack.machines[name].outbox_reports():
                self.trouble.append(f"{name}: {left} reports left in the outbox")

    def look_at_jobs(self) -> None:
        jobs = {job.id: job for job in self.stack.jobs()}
        self.trouble += [f"ordered job {one} is gone" for one in self.ordered - set(jobs)]
        self.trouble += [f"{job.id} {job.kind} is {job.state}" for job in jobs.values() if job.state != "finished"]
        self.trouble += [f"{job.id} {job.kind} was lost" for job in jobs.values() if job.outcome == "lost"]
        for machine in self.stack.machines.values():
            fired = Counter(
                _to_second(job.due_at) for job in jobs.values() if job.host_id == machine.host.id and job.due_at
            )
            wanted = Counter(map(_to_second, machine.due))
            if fired != wanted:
                self.trouble.append(
                    f"{machine.host.name}: due {wanted - fired} did not run, {fired - wanted} too often"
                )
        self.trouble += [f"skipped: {row.source_group} {row.reason} {row.due_from}" for row in SkippedRun.select()]

    def look_at_snapshots(self) -> None:
        """Each good backup has its snapshot, unless it was forgotten; each snapshot has its backup."""
        listed = {found["id"]: found for found in self.stack.restic("snapshots")}
        backups = [job for job in self.stack.jobs() if job.kind == "backup"]
        claimed: Counter[str] = Counter()
        for job in backups:
            if job.outcome not in ("succeeded", "warnings"):
                continue
            snapshot_id = str(job.summary.get("snapshot_id"))
            claimed[snapshot_id] += 1
            if snapshot_id not in listed and job.source_group != THINNED:
                self.trouble.append(f"{job.id} {job.source_group} {job.outcome} without its snapshot")
        self.trouble += [f"snapshot {one} was claimed {times} times" for one, times in claimed.items() if times > 1]
        self.strays = 0
        owned: Counter[str] = Counter()
        for snapshot_id, found in listed.items():
            if snapshot_id in claimed:
                continue
            self.strays += 1
            at = instants.from_text(_SHORT.sub(r"\1\2", found["time"]))
            makers = [job for job in backups if _is_maker(job, found, at, self.stack)]
            if len(makers) != 1:
                self.trouble.append(f"snapshot {snapshot_id[:8]} of {at} is no job's: {[job.id for job in makers]}")
            owned.update(job.id for job in makers)
        self.trouble += [f"{job_id} made {times} snapshots" for job_id, times in owned.items() if times > 1]
        self.snapshots = len(listed)

    def heal(self) -> None:
        """One more job on each host, so that its agent looks at the locks that its dead restics left."""
        self.ordered.update(self.stack.back_up(machine) for machine in self.stack.machines.values())
        until(lambda: not self.unfinished(), ROUND_SECONDS)
        until(lambda: self.stack.locks() == [])

    def settle(self) -> None:
        """End the agents once the server has taken what they had to tell."""
        until(lambda: not any(machine.outbox_reports() for machine in self.stack.machines.values()))
        for machine in self.stack.machines.values():
            machine.kill()


def _is_maker(job: Job, found: dict, at: datetime, stack: Stack) -> bool:  # type: ignore[type-arg]
    """Whether the snapshot can be this job's, which says that its end was not seen."""
    is_its = stack.machines[found["hostname"]].host.id == job.host_id and job.source_group in found["tags"]
    is_cut = job.outcome == "failed" and job.reason in CUT_SHORT
    return is_its and is_cut and job.started_at is not None and job.started_at - SLACK <= at <= job.finished_at + SLACK


def _is_restic(victim: str) -> bool:
    return "restic" in victim or victim == "everything"


def _to_second(at: datetime) -> int:
    return int(at.timestamp())


@pytest.fixture
def make_stack(app, bus, vault, settings, tmp_path) -> Iterator[Callable[[], Stack]]:
    made: list[Stack] = []

    def make() -> Stack:
        made.append(Stack(bus, vault, settings.data_dir, tmp_path))
        return made[-1]

    yield make
    for stack in made:
        stack.close()


def go(stack: Stack, rounds: int, *, seed: int, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    play = Rounds(stack, seed=seed)
    for number in range(rounds):
        play.one(number)
    play.heal()
    play.settle()
    play.look()
    ends = Counter(f"{job.kind} {job.outcome} {job.reason}".strip() for job in stack.jobs())
    with capsys.disabled():
        print(
            f"\nwhole stack at {what}, {rounds} rounds in {time.monotonic() - began:.0f} s: killed {dict(play.killed)},"
            f" {len(play.ordered)} jobs ordered and {sum(len(one.due) for one in stack.machines.values())} fired,"
            f" ends {dict(ends)}, {play.snapshots} snapshots, {play.strays} of them of backups that were cut short,"
            f" troubles {len(play.trouble)}"
        )
    assert play.trouble == []


def behind(rounds: int) -> timedelta:
    """How far the schedules' clock is set back first, so that it never gets ahead of the server's."""
    return (rounds + 2) * (EVERY + timedelta(seconds=5))


@pytest.mark.timeout(max(900, ROUNDS * 60))
def test_no_kill_loses_or_doubles_a_job_or_leaves_a_lock_in_a_local_repository(make_stack, tmp_path, capsys) -> None:
    stack, place = make_stack(), tmp_path / "repository"
    rounds = ROUNDS - ROUNDS // 3
    stack.set_up(str(place), place, behind=behind(rounds))

    go(stack, rounds, seed=5, what="a local path", capsys=capsys)


@pytest.mark.timeout(max(900, ROUNDS * 60))
def test_no_kill_loses_or_doubles_a_job_or_leaves_a_lock_at_a_rest_server(make_stack, tmp_path, capsys) -> None:
    rounds, data = ROUNDS // 3, tmp_path / "served"
    with tools.rest_server(data, "--no-auth") as url:
        stack = make_stack()
        stack.set_up(f"rest:{url}shared/", data / "shared", behind=behind(rounds))

        go(stack, rounds, seed=55, what="a rest-server", capsys=capsys)
