"""What the tests of verdicts do to hosts, and what came of it."""

from datetime import datetime, timedelta

from rm.events import EventBus
from rm.services import verdicts
from rm.shared.ids import new_ulid
from rm.shared.protocol import GroupState
from rm.store.models import Alert, GroupVerdict, Host, Job
from tests import cast
from tests.cast import EnrolledHost

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def ran(bus: EventBus, host: EnrolledHost, at: datetime, *, outcome: str = "failed", attempt: int = 1, **values) -> str:
    """A run that the host's schedule fired, and that ended so."""
    job = Job.create(
        id=new_ulid(int(at.timestamp() * 1000)), host=host.id, kind="backup", state="finished", outcome=outcome,
        source_group="files", created_at=at, expires_at=at, started_at=at, finished_at=at, schedule_id="nightly",
        attempt=attempt, message="The repository is locked.", **values,
    )  # fmt: skip
    cast.judge(bus, host.id, now=at)
    return str(job.id)


def swept(bus: EventBus, now: datetime) -> None:
    """A pass of the sweep; of the hosts whose connection is open there was a sign of life just now."""
    Host.update(last_seen_at=now).where(Host.connected_at.is_null(False)).execute()
    verdicts.sweep(bus, now=now)


def verdict(group_id: str) -> GroupVerdict:
    return GroupVerdict.get_by_id(group_id)


def told() -> list[tuple[str, str, int]]:
    """Every alert: its kind, its state, and how often it was raised; the oldest first."""
    return [(one.kind, one.state, one.count) for one in Alert.select().order_by(Alert.id)]


def state(code: str = "waiting", **values) -> GroupState:
    return GroupState(source_group="files", code=code, **values)
