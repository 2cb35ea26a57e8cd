"""A lost repository, silent hosts and an absent server, told through real verdicts: few incidents, each once."""

from datetime import timedelta

import pytest

from rm.domain import alert_rules
from rm.events import EventBus
from rm.services import alert_sweep, repository_alerts, verdicts
from rm.services.job_ends import end
from rm.shared.ids import new_ulid
from rm.store.database import changes
from rm.store.models import Alert, AlertEvent, Host, Incident, Job, Repository
from rm.workers.scheduler import Scheduler
from tests import cast
from tests.cast import NOW
from tests.services.told import Told

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
UNREACHABLE = "The repository cannot be reached from this host."


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    found = Told()
    monkeypatch.setattr("rm.services.incident_events.deliveries", found)
    return found


@pytest.fixture
def attic(app) -> str:
    made = Repository.create(
        id=new_ulid(), name="attic", location="rest:http://127.0.0.1:8000/attic", password_sealed=b"-",
        restic_repository_id="ab" * 32, created_at=NOW, changed_at=NOW,
    )  # fmt: skip
    return str(made.id)


def fleet(bus: EventBus, attic: str, count: int) -> list[cast.EnrolledHost]:
    """Hosts that back up to the attic each night, and did so an hour ago."""
    found = [cast.add_host(bus, f"web{number}") for number in range(count)]
    for host in found:
        cast.nightly(bus, host, since=NOW - DAY)
        Host.update(repository=attic).where(Host.id == host.id).execute()
        cast.backed_up(bus, host.id, NOW - HOUR)
    return found


def ended(bus, host, attic, at, *, outcome="failed", reason="unreachable", message=UNREACHABLE, kind="backup"):
    """A run of the host's schedule that ends so, as an agent reports it."""
    job = Job.create(
        id=new_ulid(int(at.timestamp() * 1000)), host=host.id, kind=kind, state="running", repository=attic,
        source_group="files", created_at=at, expires_at=at, started_at=at, schedule_id="nightly", attempt=3,
    )  # fmt: skip
    with changes():
        end(bus, job, outcome=outcome, now=at, reason=reason if outcome == "failed" else "", message=message)


def open_kinds() -> dict[str, int]:
    found: dict[str, int] = {}
    for one in Alert.select().where(Alert.state != "resolved"):
        found[one.kind] = found.get(one.kind, 0) + 1
    return found


def test_forty_hosts_losing_one_repository_are_one_incident_that_is_told_once(bus, attic, told):
    hosts = fleet(bus, attic, 40)
    for number, host in enumerate(hosts):
        ended(bus, host, attic, NOW + number * MINUTE)

    found = Incident.get()
    assert told.kinds == ["raised"]
    assert Incident.select().count() == 1
    assert (found.title, found.kind, found.cause) == (
        "Repository unreachable: attic", "repository_unreachable", f"repository:{attic}",
    )  # fmt: skip
    assert open_kinds() == {"backup_failed": 40, "repository_unreachable": 1}
    assert "attic does not open from web0 and web1" in found.message


def test_once_all_of_them_are_backed_up_again_that_is_told_once(bus, attic, told):
    hosts = fleet(bus, attic, 5)
    for host in hosts:
        ended(bus, host, attic, NOW)
    for number, host in enumerate(hosts):
        ended(bus, host, attic, NOW + HOUR + number * MINUTE, outcome="succeeded")
    early = told.kinds
    alert_sweep.sweep(bus, now=NOW + 2 * HOUR)

    assert early[:1] == ["raised"]
    assert told.kinds == ["raised", "resolved"]
    assert open_kinds() == {}


def test_of_a_large_incident_the_first_alerts_have_lines_in_the_timeline_and_all_are_counted(bus, attic, monkeypatch):
    monkeypatch.setattr(alert_rules, "MEMBERS_TOLD", 4)
    hosts = fleet(bus, attic, 8)
    for host in hosts:
        ended(bus, host, attic, NOW)
    joined = AlertEvent.select().where(AlertEvent.kind == "joined").count()
    for host in hosts:
        ended(bus, host, attic, NOW + HOUR, outcome="succeeded")

    found = Incident.get()
    assert joined < 4
    assert (found.alert_count, found.open_count, found.state) == (9, 0, "resolved")
    assert AlertEvent.select().where(AlertEvent.kind == "recovered").count() == 0


def test_one_host_alone_says_nothing_of_the_repository(bus, attic):
    first, _ = fleet(bus, attic, 2)
    ended(bus, first, attic, NOW)
    ended(bus, first, attic, NOW + DAY)

    assert open_kinds() == {"backup_failed": 1}
    assert Incident.get().title == "Backup failed: files on web0"


def test_a_failure_that_is_the_hosts_own_is_an_incident_of_its_own(bus, attic, told):
    first, second, third = fleet(bus, attic, 3)
    ended(bus, first, attic, NOW)
    ended(bus, second, attic, NOW)
    ended(bus, third, attic, NOW, reason="source_missing", message="No such folder.")

    assert Incident.select().count() == 2
    assert told.kinds == ["raised", "raised"]


def test_a_job_that_opens_it_ends_the_alert_about_the_repository_but_not_those_of_other_hosts(bus, attic):
    first, second, third = fleet(bus, attic, 3)
    ended(bus, first, attic, NOW)
    ended(bus, second, attic, NOW)
    ended(bus, third, attic, NOW + MINUTE, outcome="succeeded")

    assert open_kinds() == {"backup_failed": 2}
    assert Incident.get().state == "raised"


def test_a_success_of_before_that_is_reported_late_proves_nothing_now(bus, attic):
    first, second, third = fleet(bus, attic, 3)
    ended(bus, first, attic, NOW)
    ended(bus, second, attic, NOW)
    ended(bus, third, attic, NOW - HOUR, outcome="succeeded")

    assert open_kinds() == {"backup_failed": 2, "repository_unreachable": 1}


def test_that_it_is_the_repository_is_told_when_it_was_one_host_for_long(bus, attic, told):
    first, second = fleet(bus, attic, 2)
    ended(bus, first, attic, NOW)
    ended(bus, second, attic, NOW + 3 * HOUR)

    assert told.events == [
        ("raised", "Backup failed: files on web0"), ("worsened", "Repository unreachable: attic"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("known", "reason", "expected"), [(True, "unreachable", 1), (False, "no_repository", 0), (True, "busy", 0)]
)
def test_a_failed_test_says_so_only_of_a_repository_that_was_open_before(bus, attic, known, reason, expected):
    repository = Repository.get_by_id(attic)
    repository.restic_repository_id = "ab" * 32 if known else None
    about = {"repository": repository, "host_name": "web0", "message": "No.", "reason": reason}
    with changes():
        repository_alerts.tested(bus, ok=False, now=NOW, **about)
    raised = open_kinds().get("repository_unreachable", 0)
    with changes():
        repository_alerts.tested(bus, ok=True, now=NOW + MINUTE, **about)

    assert (raised, open_kinds()) == (expected, {})


def test_missed_backups_of_a_lost_repository_belong_to_it(bus, attic, told):
    hosts = fleet(bus, attic, 3)
    for host in hosts:
        ended(bus, host, attic, NOW)
    Host.update(last_seen_at=NOW + 5 * DAY, connected_at=NOW).execute()
    verdicts.sweep(bus, now=NOW + 5 * DAY)

    assert open_kinds()["backup_missed"] == 3
    assert Incident.select().where(Incident.state != "resolved").count() == 1
    assert told.kinds == ["raised"]


# ---- silence ----


def silent(hosts, since):
    ids = [host.id for host in hosts]
    Host.update(last_seen_at=since, connected_at=None).where(Host.id.in_(ids)).execute()


def test_a_host_that_falls_silent_and_its_late_backups_are_one_incident(bus, attic, told):
    (host,) = fleet(bus, attic, 1)
    silent([host], NOW)
    verdicts.sweep(bus, now=NOW + 14 * MINUTE)
    early = told.kinds
    for hours in (1, 40, 80):
        verdicts.sweep(bus, now=NOW + hours * HOUR)

    assert early == []
    assert told.events == [("raised", "Agent offline: web0"), ("worsened", "Backup missed: files on web0")]
    assert Incident.select().count() == 1


def test_forty_hosts_that_fall_silent_at_once_are_one_incident(bus, attic, told):
    hosts = fleet(bus, attic, 40)
    for number, host in enumerate(hosts):
        silent([host], NOW + timedelta(seconds=number % 30))
    for minutes in (15, 15.25, 15.5, 16, 20):
        verdicts.sweep(bus, now=NOW + minutes * MINUTE)

    assert told.events == [("raised", "Hosts fell silent together")]
    assert open_kinds() == {"agent_offline": 40}
    assert Incident.get().host_id is None


def test_hosts_that_fall_silent_one_by_one_are_told_one_by_one(bus, attic, told):
    hosts = fleet(bus, attic, 4)
    for number, host in enumerate(hosts):
        silent([host], NOW + number * HOUR)
    verdicts.sweep(bus, now=NOW + 5 * HOUR)

    assert told.kinds == ["raised"] * 4


def test_a_server_that_was_down_for_a_day_starts_without_a_storm(bus, parts, clock, attic, told):
    hosts = fleet(bus, attic, 40)
    back, gone = hosts[:39], hosts[39]
    silent(hosts, NOW)
    clock.now = NOW + 2 * DAY
    scheduler = Scheduler(parts, cut_stuck=lambda: 0, ask_again=lambda host_id, job_id: None)

    for minutes in range(0, 20):
        clock.now = NOW + 2 * DAY + minutes * MINUTE
        scheduler.sweep_verdicts()
        if minutes == 2:
            # they are back, with what ran in the meantime
            for host in back:
                cast.backed_up(bus, host.id, NOW + 2 * DAY - HOUR)
        Host.update(last_seen_at=clock.now, connected_at=clock.now).where(Host.id != gone.id).execute()
        if minutes == 14:
            early = list(told.events)

    assert early == []
    assert {title for _, title in told.events} == {"Agent offline: web39"}
    assert {one.host_id for one in Alert.select().where(Alert.state != "resolved")} == {gone.id}
