"""When it is the repository that is unreachable, and not one host's way to it; and when it is reachable again."""

from datetime import datetime

from rm.domain.alert_rules import HOSTS_THAT_PROVE, SHARED_REASONS
from rm.domain.alerts import CAUSE_KIND
from rm.events import EventBus
from rm.services import alerts
from rm.store import alerts as alert_rows
from rm.store import raising, repositories
from rm.store.models import Repository

KIND = CAUSE_KIND


def backup_failed(bus: EventBus, *, repository_id: str, message: str, now: datetime) -> None:
    """A backup failed because its repository did not open: with a second host it is called unreachable.

    Failures of before somebody last opened it do not count. Call it after that failure's own alert was raised, and
    only while the repository is not called unreachable yet.
    """
    incident = raising.find_open_incident(_about(repository_id))
    repository = repositories.find(repository_id)
    if incident is None or repository is None:
        return
    since = alert_rows.last_end(KIND, _about(repository_id))
    hosts = alert_rows.failing_hosts(incident.id, since=since, limit=HOSTS_THAT_PROVE)
    if len(hosts) >= HOSTS_THAT_PROVE:
        names = " and ".join(name for _, name in hosts)
        _raise(bus, repository, f"{repository.name} does not open from {names}: {message}", now=now)


def tested(
    bus: EventBus, *, repository: Repository, host_name: str, ok: bool, reason: str, message: str, now: datetime
) -> None:  # fmt: skip
    """Somebody had a host open it. A repository that nobody ever opened is not lost, but not made yet."""
    if ok:
        opened(bus, repository_id=repository.id, at=now, note=f"A test on {host_name} opened it.", now=now)
    elif reason in SHARED_REASONS and repository.restic_repository_id is not None:
        _raise(bus, repository, f"A test of {repository.name} on {host_name} failed: {message}", now=now)


def opened(bus: EventBus, *, repository_id: str, at: datetime, note: str, now: datetime) -> None:
    """A job or a test proved at that moment that it opens; what was found later than that stands."""
    found = alert_rows.find_open(KIND, _about(repository_id))
    if found is None or found.last_seen_at <= at:
        alerts.clear(bus, kind=KIND, condition=_about(repository_id), note=note, now=now)


def changed(bus: EventBus, *, repository_id: str, now: datetime) -> None:
    """Its place or its secrets were changed: what was true of the old ones says nothing about the new."""
    note = "Its settings were changed; the next job or test says whether they are right."
    alerts.clear(bus, kind=KIND, condition=_about(repository_id), note=note, now=now)


def _raise(bus: EventBus, repository: Repository, message: str, *, now: datetime) -> None:
    about = _about(repository.id)
    alerts.raise_condition(
        bus, kind=KIND, condition=about, message=message, now=now, repository_id=repository.id, cause=about
    )  # fmt: skip


def _about(repository_id: str) -> str:
    return f"repository:{repository_id}"
