"""Named queries for the pages about updates: open attempts of many hosts, and pages of a fleet update's hosts."""

from collections.abc import Iterable

from peewee import Case, Expression, fn

from rm.domain.update_attempt import OPEN
from rm.store.models import FleetUpdateEvent, FleetUpdateHost, Host, HostTag, UpdateAttempt

# What somebody wants to see first, and the states that belong to it.
GROUPS: dict[str, tuple[str, ...]] = {
    "now": ("updating", "soaking"),
    "failed": ("failed",),
    "next": ("waiting", "passed_over"),
    "done": ("succeeded",),
    "out": ("skipped", "excluded"),
}


def open_attempts(host_ids: Iterable[str]) -> dict[str, UpdateAttempt]:
    """The open attempt of each of these hosts that has one."""
    query = UpdateAttempt.select().where(UpdateAttempt.host.in_(list(host_ids)), UpdateAttempt.state.in_(OPEN))
    return {attempt.host_id: attempt for attempt in query}


def wave_counts(fleet_update_id: str) -> list[tuple[int, str, int]]:
    """(wave, state, hosts), in the order of the waves; hosts that are left out have no place in one."""
    query = (
        FleetUpdateHost.select(FleetUpdateHost.wave, FleetUpdateHost.state, fn.COUNT(FleetUpdateHost.host))
        .where(FleetUpdateHost.fleet_update == fleet_update_id)
        .group_by(FleetUpdateHost.wave, FleetUpdateHost.state)
        .order_by(FleetUpdateHost.wave)
    )
    return list(query.tuples())


def list_hosts(
    fleet_update_id: str, *, group: str = "", q: str = "", limit: int, offset: int = 0
) -> tuple[list[FleetUpdateHost], int]:
    """A page of the hosts with their rows, what moves first, and how many match in all."""
    query = (
        FleetUpdateHost.select(FleetUpdateHost, Host).join(Host).where(FleetUpdateHost.fleet_update == fleet_update_id)
    )
    if group in GROUPS:
        query = query.where(FleetUpdateHost.state.in_(GROUPS[group]))
    if q:
        tagged = HostTag.select(HostTag.host_id).where(HostTag.tag.contains(q))
        query = query.where(Host.name.contains(q) | Host.id.in_(tagged))
    page = query.order_by(_rank(), _recent(), FleetUpdateHost.position, FleetUpdateHost.host)
    return list(page.limit(limit).offset(offset)), query.count()


def rows_of(fleet_update_id: str, host_ids: Iterable[str]) -> list[FleetUpdateHost]:
    """The rows of these hosts, with the hosts."""
    query = FleetUpdateHost.select(FleetUpdateHost, Host).join(Host)
    return list(query.where(FleetUpdateHost.fleet_update == fleet_update_id, FleetUpdateHost.host.in_(list(host_ids))))


def attempts_of(rows: Iterable[FleetUpdateHost]) -> dict[str, UpdateAttempt]:
    """The last attempts of these rows, by their ids."""
    ids = [row.attempt_id for row in rows if row.attempt_id]
    return {attempt.job_id: attempt for attempt in UpdateAttempt.select().where(UpdateAttempt.job.in_(ids))}


def list_events(fleet_update_id: str, *, limit: int, offset: int = 0) -> list[FleetUpdateEvent]:
    """What happened, newest first."""
    query = FleetUpdateEvent.select().where(FleetUpdateEvent.fleet_update == fleet_update_id)
    return list(query.order_by(FleetUpdateEvent.id.desc()).limit(limit).offset(offset))


def count_events(fleet_update_id: str) -> int:
    return FleetUpdateEvent.select().where(FleetUpdateEvent.fleet_update == fleet_update_id).count()


def last_event(fleet_update_id: str, kind: str) -> FleetUpdateEvent | None:
    """The newest event of this kind."""
    query = FleetUpdateEvent.select().where(
        FleetUpdateEvent.fleet_update == fleet_update_id, FleetUpdateEvent.kind == kind
    )
    return query.order_by(FleetUpdateEvent.id.desc()).first()


def _rank() -> Case:
    places = [
        (FleetUpdateHost.state == state, place) for place, states in enumerate(GROUPS.values()) for state in states
    ]
    return Case(None, tuple(places), len(GROUPS))


def _recent() -> Expression:
    # those that are done stand in the order in which they were, the last one first
    return Case(None, ((FleetUpdateHost.state == "succeeded", FleetUpdateHost.changed_at),), "").desc()
