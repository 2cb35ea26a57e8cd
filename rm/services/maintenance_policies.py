"""How a repository is kept in order: what holds until somebody decides otherwise, and what people decide."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from rm.domain import maintenance as rules
from rm.domain.actors import Actor
from rm.domain.jobs import MAX_PARTS
from rm.errors import Invalid, NotFound
from rm.events import EventBus, RepositoryChanged
from rm.services import audit
from rm.store import maintenance, repositories
from rm.store.database import changes, publish_after_commit
from rm.store.models import MaintenancePolicy

MOST_HOURS = 8784
MOST_BOX_MINUTES = 10_080
LEAST_BOX_MINUTES = 5
DEFAULT_PARTS = 12
AT_ONCE = 100


@dataclass(frozen=True)
class PolicyForm:
    """What a person decides about one kind; `parts` is for checks: 0 reads no data."""

    is_enabled: bool
    every_hours: int
    window_from: str
    window_to: str
    timezone: str
    box_minutes: int
    parts: int = 0


DEFAULTS = {
    "forget": PolicyForm(True, 24, "", "", "UTC", 30),
    "prune": PolicyForm(True, 168, "", "", "UTC", 240),
    "check": PolicyForm(True, 168, "", "", "UTC", 240, DEFAULT_PARTS),
}


def ensure(*, repository_id: str, now: datetime) -> None:
    """Give a repository that has none its first policies; call it in the transaction of what needs them."""
    _insert_defaults([repository_id], now)


def ensure_all(*, now: datetime) -> int:
    """The same for some of those that have none; returns how many."""
    missing = maintenance.list_without_policies(limit=AT_ONCE)
    if missing:
        with changes():
            _insert_defaults(missing, now)
    return len(missing)


def _insert_defaults(repository_ids: Sequence[str], now: datetime) -> None:
    rows = [
        {"repository": repository_id, "kind": kind, "changed_at": now, **asdict(form)}
        for repository_id in repository_ids
        for kind, form in DEFAULTS.items()
    ]
    MaintenancePolicy.insert_many(rows).on_conflict_ignore().execute()


def form_of(policy: MaintenancePolicy) -> PolicyForm:
    """The form that changes nothing of this policy."""
    return PolicyForm(**{name: getattr(policy, name) for name in PolicyForm.__dataclass_fields__})


def save(
    bus: EventBus, *, repository_id: str, kind: str, form: PolicyForm, actor: Actor, now: datetime
) -> MaintenancePolicy:
    """The policy of this kind changed; raises Invalid or NotFound."""
    if kind not in rules.KINDS:
        raise NotFound("There is no such maintenance.")
    _check(kind, form)
    with changes():
        repository = repositories.get(repository_id)
        ensure(repository_id=repository_id, now=now)
        before = maintenance.get(repository_id, kind)
        values = asdict(form) | {"changed_at": now}
        if form.parts != before.parts:
            values |= {"next_part": 1, "round_started_at": None}
        MaintenancePolicy.update(values).where(
            MaintenancePolicy.repository == repository_id, MaintenancePolicy.kind == kind
        ).execute()
        audit.record(
            actor, "maintenance.changed", now=now, kind="repository", id=repository_id, name=repository.name,
            maintenance=kind, before=asdict(form_of(before)), after=asdict(form),
        )  # fmt: skip
        publish_after_commit(bus, RepositoryChanged(repository_id))
        return maintenance.get(repository_id, kind)


def _check(kind: str, form: PolicyForm) -> None:
    wrong = rules.window_problem(form.window_from, form.window_to, form.timezone)
    if not 1 <= form.every_hours <= MOST_HOURS:
        wrong["every_hours"] = f"Say 1 to {MOST_HOURS:,} hours: 24 is daily, 168 weekly."
    if not LEAST_BOX_MINUTES <= form.box_minutes <= MOST_BOX_MINUTES:
        wrong["box_minutes"] = f"Give it {LEAST_BOX_MINUTES} to {MOST_BOX_MINUTES:,} minutes."
    if not 0 <= form.parts <= MAX_PARTS:
        wrong["parts"] = f"Read the data in 1 to {MAX_PARTS} parts; 0 reads none of it."
    elif form.parts and kind != "check":
        wrong["parts"] = "Only a check reads data."
    if wrong:
        raise Invalid(wrong)


def plan_of(policy: MaintenancePolicy, *, last: rules.Last | None, since: datetime) -> rules.Plan:
    """The policy as the rules see it."""
    return rules.Plan(
        kind=policy.kind,
        every=timedelta(hours=policy.every_hours),
        box=timedelta(minutes=policy.box_minutes),
        since=since,
        is_enabled=policy.is_enabled,
        window_from=policy.window_from,
        window_to=policy.window_to,
        timezone=policy.timezone,
        last=last,
    )
