"""kill -9 before and after each thing that a look makes durable: the same runs, the same reports, each once."""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from agent import durable
from agent.outbox import Outbox
from agent.schedules.firing import Schedules
from agent.schedules.record import RecordFile
from agent.schedules.stored import StoredSchedules
from agent.schedules.waking import BeatFile
from rm.shared.protocol import FROM_AGENT, CommandRun, RunsSkipped, ScheduleSet, ScheduleSpec, SourceGroupSpec, decode
from tests.agent.schedules.world import World, daily

START = datetime(2026, 11, 24, 21, 0, tzinfo=timezone.utc)
HOURS = timedelta(hours=1)


class Killed(BaseException):
    """The agent's process is gone."""


class Knife:
    """Kills at one step: before it has its effect, or after."""

    def __init__(self, at: int | None = None, *, is_after: bool = False) -> None:
        self.steps = 0
        self.names: list[str] = []
        self._at = at
        self._is_after = is_after

    def step(self, name: str, act: Callable[[], Any]) -> Any:
        number = self.steps
        self.steps += 1
        self.names.append(name)
        if number == self._at and not self._is_after:
            raise Killed
        result = act()
        if number == self._at:
            raise Killed
        return result


class MortalWorld(World):
    """A host with the agent's real files, whose agent can be killed at any step and then starts again."""

    def __init__(self, place: Path, knife: Knife, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.knife = knife
        self.kills = 0
        self.real: Outbox | None = None
        write = durable.write
        monkeypatch.setattr(
            "agent.durable.write",
            lambda path, data, *, mode=0o600: knife.step(path.name, lambda: write(path, data, mode=mode)),
        )
        super().__init__(start=START, zone="Europe/Berlin")
        accept = self.jobs.accept

        def mortal(order: CommandRun) -> None:
            knife.step("accept", lambda: accept(order))

        self.jobs.accept = mortal  # type: ignore[method-assign]
        self.jobs.lengths = lambda: timedelta(minutes=25)

    def start_agent(self) -> None:
        if self.real:
            self.real.close()
        self.real = Outbox(self.place / "outbox.db")
        add_all = self.real.add_all
        self.real.add_all = lambda payloads, **more: self.knife.step(  # type: ignore[method-assign]
            "outbox", lambda: add_all(payloads, **more)
        )
        self.schedules = Schedules(
            stored=StoredSchedules(self.place),
            record=RecordFile(self.place),
            beat=BeatFile(self.place),
            jobs=self.jobs,
            outbox=self.real,
            hostname="web1",
            host=self.name,
            clocks=self.clocks,  # type: ignore[arg-type]
        )

    def mortal(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except Killed:
            self.kills += 1
            self.start_agent()
            act()

    def look(self) -> None:
        self.mortal(super().look)

    def apply(self, wanted: ScheduleSet) -> None:
        self.mortal(lambda: self.schedules.set(wanted))
        self.look()

    @property
    def skipped(self) -> list[RunsSkipped]:
        assert self.real
        return [decode(r.frame, FROM_AGENT).payload for r in self.real.pending(after=0, limit=1000)]


def live(world: MortalWorld) -> tuple[list[tuple[Any, ...]], list[RunsSkipped]]:
    """Every kind of decision once: on time, overlap, sleep, a try again, a changed set; what came out of it."""
    failures = ["unreachable", "", "unreachable"]
    world.jobs.endings = lambda: failures.pop(0) if failures else ""
    groups = [SourceGroupSpec(name="home", repository_id="r", retries=1, retry_minutes=5, pre_shell="sync")]
    schedules = [daily("0,20 23 * * *"), ScheduleSpec(id="six", every_minutes=360, source_groups=["home"])]
    world.apply(ScheduleSet(version=1, schedules=schedules, groups=groups))
    world.be_on(2 * HOURS)
    world.be_asleep(70 * HOURS)
    world.be_on(2 * HOURS)
    world.apply(ScheduleSet(version=2, schedules=[daily("30 1 * * *", jitter=600)], groups=groups))
    world.be_on(10 * HOURS)
    world.be_off(30 * HOURS)
    world.be_on(HOURS)
    runs = [
        (job.order.fired.schedule_id, job.order.fired.due_at, job.order.fired.attempt, job.order.fired.why_late)
        for job in world.runs()
        if job.order.fired
    ]
    assert max(world.jobs.starts.values()) == 1
    return runs, world.skipped


@pytest.mark.timeout(600)
def test_a_kill_at_any_step_loses_nothing_and_doubles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def life(knife: Knife) -> tuple[MortalWorld, Any]:
        shutil.rmtree(tmp_path / "state", ignore_errors=True)
        (tmp_path / "state").mkdir()
        with monkeypatch.context() as patch:
            world = MortalWorld(tmp_path / "state", knife, patch)
            found = live(world)
            assert world.real
            world.real.close()
        return world, found

    undisturbed = Knife()
    _, expected = life(undisturbed)
    assert {"accept", "outbox", "schedule-runs.json", "schedules.json", "hooks.json"} <= set(undisturbed.names)
    assert len(expected[0]) >= 5 and {s.reason for s in expected[1]} >= {"still_running", "asleep"}

    kills = 0
    for number in range(undisturbed.steps):
        for is_after in (False, True):
            world, found = life(Knife(number, is_after=is_after))
            kills += world.kills
            assert found == expected, f"killed {'after' if is_after else 'before'} step {number}"
    print(f"crash points: {undisturbed.steps} steps, {kills} kills, each with the same outcome")
    assert kills == 2 * undisturbed.steps


def test_a_disk_that_refuses_the_record_delays_a_run_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = MortalWorld(tmp_path, Knife(), monkeypatch)
    world.apply(ScheduleSet(version=1, schedules=[daily()], groups=[SourceGroupSpec(name="home")]))
    write = durable.write
    is_full = [True]

    def refusing(path: Path, data: bytes, *, mode: int = 0o600) -> None:
        if is_full[0]:
            raise OSError(28, "No space left on device")
        write(path, data, mode=mode)

    monkeypatch.setattr("agent.durable.write", refusing)
    world.be_on(6 * HOURS)
    assert world.runs() == []
    assert any("cannot write down its scheduled runs" in text for text in world.schedules.problems())

    is_full[0] = False
    world.be_on(HOURS)

    assert world.dues() == ["25 03:15"] and world.schedules.problems() == []
    fired = world.runs()[0].order.fired
    assert fired and fired.why_late == "ran late because the agent could write nothing down since 2026-11-25 03:15"


def test_a_lost_record_is_told_and_begun_anew_without_running_anything_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = MortalWorld(tmp_path, Knife(), monkeypatch)
    world.apply(ScheduleSet(version=1, schedules=[daily()], groups=[SourceGroupSpec(name="home")]))
    world.be_on(30 * HOURS)
    (tmp_path / "schedule-runs.json").write_bytes(b"{")

    world.be_without_agent(HOURS)
    world.be_on(24 * HOURS)

    assert world.dues() == ["25 03:15", "26 03:15", "27 03:15"][: len(world.runs())] and len(world.runs()) >= 2
    assert any("record of scheduled runs was damaged" in text for text in world.schedules.problems())


def test_a_record_that_was_deleted_makes_no_storm_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = MortalWorld(tmp_path, Knife(), monkeypatch)
    world.apply(ScheduleSet(version=1, schedules=[daily()], groups=[SourceGroupSpec(name="home")]))
    world.be_on(9 * 24 * HOURS)
    before = world.dues()
    (tmp_path / "schedule-runs.json").unlink()

    world.be_without_agent(HOURS)
    world.be_on(2 * HOURS)

    assert len(before) == 9 and world.dues() == before
    assert world.told() == []
    assert any("record of scheduled runs was gone" in text for text in world.schedules.problems())
    world.be_on(24 * HOURS)
    assert len(world.dues()) == 10


def test_a_set_that_is_damaged_stops_the_schedules_until_it_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = MortalWorld(tmp_path, Knife(), monkeypatch)
    wanted = ScheduleSet(version=7, schedules=[daily()], groups=[SourceGroupSpec(name="home")])
    world.apply(wanted)
    (tmp_path / "schedules.json").write_bytes(b"{")

    world.be_on(12 * HOURS)
    assert world.runs() == [] and world.schedules.stored.version == 0
    assert any("damaged" in text for text in world.schedules.problems())
    world.apply(wanted)
    world.be_on(HOURS)

    assert world.dues() == ["25 03:15"] and world.schedules.problems() == []
