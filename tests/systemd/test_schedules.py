"""Schedules under the shipped unit: hooks and restores in each sandbox, after sleep, a power cut, in other zones."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests import clock_ahead
from tests.clock_ahead import ClockAhead
from tests.install.server import Server, build_agent, until
from tests.systemd.conftest import Host, fetched, install
from tests.systemd.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.timeout(200, func_only=True)]

# Python itself reads the clocks of the tests into the agent, so that each installed one has them from its first moment.
SITE = """import sys
if sys.orig_argv[-1] == 'run':
    sys.path.insert(0, '/usr/local/lib/restic-manager/rm-agent')
"""
HOOK = """#!/bin/sh
echo "as $(id -un), then $(runuser -u nobody -- id -un), $(setpriv --reuid=ann --regid=ann --clear-groups id -un)"
su ann -c 'cat /proc/sys/kernel/hostname' > /dev/null && echo "dumped for $RM_SOURCE_GROUP"
"""
VARIANTS = {"strict": "", "hooks": "--allow-hooks", "in place": "--allow-restore-in-place"}
PATIENT = 90.0
HOUR = timedelta(hours=1)


@dataclass
class Scheduled:
    """A host with one schedule, for each hour of a clock that a test can set forward."""

    host: Host
    clock: ClockAhead
    schedule: str

    @property
    def machine(self) -> Machine:
        return self.host.machine

    def runs(self) -> list[dict[str, Any]]:
        """The jobs that the schedule has fired, as the server knows them, the latest first."""
        found: list[dict[str, Any]] = self.host.ask("GET", "/jobs")["items"]
        return [job for job in found if job["schedule_id"] == self.schedule]

    def ran(self, due: datetime) -> dict[str, Any]:
        """The run that was due then, once it has ended."""

        def ended() -> dict[str, Any] | None:
            found = [job for job in self.runs() if instant(job["due_at"]) == due]
            assert len(found) <= 1, found
            return found[0] if found and found[0]["state"] == "finished" else None

        found = until(ended, f"the run of {due}", seconds=PATIENT)
        assert found["outcome"] == "succeeded", found
        return found

    def planned_for(self) -> str:
        """The next run as the host itself names it."""
        return self.machine.run("rm-agent status | grep ', next '").stdout


@pytest.fixture(scope="module")
def scheduled(boot: Callable[[], Machine], server: Server) -> Scheduled:
    build_agent()
    machine = boot()
    machine.out("mkdir -p /srv/backup /srv/data; useradd -m ann; echo letter > /srv/data/letter")
    machine.out("ln -sf /usr/share/zoneinfo/Europe/Berlin /etc/localtime")
    machine.write("/etc/python3.11/sitecustomize.py", SITE + clock_ahead.code("'/srv/clock'"))
    host = install(machine, server, "--writable", "/srv/backup")
    machine.write("/etc/restic-manager/hooks.d/dump", HOOK, mode=0o755)
    machine.out("systemctl restart rm-agent")
    host.use_repository("/srv/backup")
    until(lambda: host.ask("GET", "")["hooks"]["names"] == ["dump"], "the hook's name at the server", seconds=PATIENT)
    body = {"name": "data", "includes": ["/srv/data"], "pre_hook": "dump", "retries": 0}
    group = host.ask("POST", "/source-groups", body)["id"]
    clock = ClockAhead(machine.root / "srv" / "clock")
    made = host.ask("POST", "/schedules", {"name": "hourly", "cron": clock.cron(timezone.utc), "groups": [group]})
    found = Scheduled(host, clock, made["id"])
    until(lambda: is_applied(host), "the schedules on the host", seconds=PATIENT)
    return found


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_run_on_schedule_its_hook_and_a_restore_work_in_each_variant_of_the_unit(
    scheduled: Scheduled, options: str
) -> None:
    host, machine = scheduled.host, scheduled.machine
    if options:
        machine.out(fetched(host.server, options))
    until(scheduled.planned_for, "the next run", seconds=PATIENT)
    due = scheduled.clock.next_due()

    scheduled.clock.sleep_until(due + timedelta(seconds=1))
    job = scheduled.ran(due)

    assert (job["why_late"], job["requested_by"]) == (None, "schedule")
    said = host.server.person.page(f"/api/v1/jobs/{job['id']}/log.txt")
    assert "as root, then nobody, ann" in said and "dumped for data" in said, said
    assert machine.out("stat -c '%U:%G %a' /etc/restic-manager/hooks.d") == "root:root 755"
    snapshot = job["summary"]["snapshot_id"]
    back = restore(host, snapshot, target="")
    assert machine.out(f"cat {back['summary']['target']}/srv/data/letter") == "letter"
    assert back["summary"]["target"] == f"/var/restic-manager/restore/{back['id']}"
    if options == "--allow-restore-in-place":
        machine.out("echo spoilt > /srv/data/letter")
        assert restore(host, snapshot, in_place=True, typed_name=machine.name)["outcome"] == "succeeded"
        assert machine.out("cat /srv/data/letter") == "letter"
        assert host.ask("GET", "")["hooks"]["policy"] == "server", "what was allowed before stays allowed"


def test_what_came_due_while_the_host_slept_is_made_up_for_once_and_says_why(scheduled: Scheduled) -> None:
    before = len(scheduled.runs())
    first = scheduled.clock.next_due()
    at = scheduled.clock.now()

    with scheduled.machine.frozen():
        scheduled.clock.sleep_until(first + 3 * HOUR + timedelta(minutes=20))
    job = scheduled.ran(first + 3 * HOUR)

    told, _, since = job["why_late"].partition(" since ")
    assert told == "ran late because the host was asleep"
    assert abs(datetime.fromisoformat(since).replace(tzinfo=ZoneInfo("Europe/Berlin")) - at) < timedelta(minutes=10)
    assert len(scheduled.runs()) == before + 1
    [missed] = skipped(scheduled, 1)
    assert (missed["count"], missed["reason"], missed["job_id"]) == (3, "asleep", job["id"])
    assert instant(missed["due_from"]) == first


def test_what_came_due_without_power_is_made_up_for_once_and_says_why(scheduled: Scheduled) -> None:
    before = len(scheduled.runs())
    first = scheduled.clock.next_due()

    scheduled.machine.power_cut()
    scheduled.clock.be_off_until(first + HOUR + timedelta(minutes=20))
    scheduled.machine.boot()
    job = scheduled.ran(first + HOUR)

    assert "ran late because the host was off: last seen on at " in job["why_late"]
    assert ", started again at " in job["why_late"]
    assert len(scheduled.runs()) == before + 1
    missed, _ = skipped(scheduled, 2)
    assert (missed["count"], missed["reason"], missed["job_id"]) == (1, "off", job["id"])


def test_the_next_run_follows_the_zone_of_the_machine(scheduled: Scheduled) -> None:
    name = "America/New_York"
    path = f"/schedules/{scheduled.schedule}"
    scheduled.host.ask("PUT", path, {"cron": "30 2 * * *"})
    until(lambda: is_applied(scheduled.host), "the schedules on the host", seconds=PATIENT)

    scheduled.machine.out(f"ln -sf /usr/share/zoneinfo/{name} /etc/localtime")

    wanted = next_at(2, 30, scheduled.clock.now(), ZoneInfo(name))
    until(lambda: f"{wanted:%Y-%m-%d %H:%M}" in scheduled.planned_for(), f"a run at {wanted}", seconds=PATIENT)
    scheduled.machine.out("systemctl restart rm-agent")
    until(lambda: scheduled.host.ask("GET", "")["timezone"] == name, "the zone at the server", seconds=PATIENT)
    shown = scheduled.host.ask("GET", path)
    assert (shown["timezone"], {local_time(run, name) for run in shown["next_runs"]}) == (name, {"02:30"})


def restore(host: Host, snapshot: str, **wish: Any) -> dict[str, Any]:
    body = {"snapshot_id": snapshot, "paths": ["/srv/data"], **wish}
    done = host.finish(str(host.ask("POST", "/restores", body)["job_id"]), seconds=PATIENT)
    assert done["outcome"] == "succeeded", done
    return done


def is_applied(host: Host) -> bool:
    found = host.ask("GET", "")["schedules"]
    assert found["is_supported"]
    return bool(found["wanted"] == found["applied"] > 0)


def skipped(scheduled: Scheduled, count: int) -> list[dict[str, Any]]:
    """What was told of runs that did not take place, the latest first, once there is so much."""

    def told() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = scheduled.host.ask("GET", "/skipped-runs")["items"]
        return found if len(found) >= count else []

    found = until(told, "the report of the runs that did not take place", seconds=PATIENT)
    assert len(found) == count, found
    return found


def next_at(hour: int, minute: int, now: datetime, zone: ZoneInfo) -> datetime:
    """The next moment at which a clock of that zone shows this time; it is one that each day has."""
    here = now.astimezone(zone).replace(tzinfo=None)
    found = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return found if found > here else found + timedelta(days=1)


def local_time(text: str, zone: str) -> str:
    return f"{instant(text).astimezone(ZoneInfo(zone)):%H:%M}"


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)
