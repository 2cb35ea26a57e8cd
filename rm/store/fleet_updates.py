"""Named queries about fleet updates, and a fleet update with its hosts as the rules want to see it."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from peewee import JOIN, fn

from rm.domain import health
from rm.domain.fleet_options import parse_options
from rm.domain.fleet_state import OPEN_STATES, Attempt, Fleet, Member
from rm.errors import NotFound
from rm.shared import instants
from rm.store import updates
from rm.store.database import db
from rm.store.models import FleetUpdate, FleetUpdateEvent, FleetUpdateHost, Host, HostTag, Job, UpdateAttempt

ENDED_STATES = ("cancelled", "completed", "completed_with_exceptions")
# What is kept beside the options that a person chose; see `notes`.
NOTES = ("is_hard_cancel", "is_rolling_back", "roll_back_reason", "forced_host_ids", "counted_from")


def find(fleet_update_id: str) -> FleetUpdate | None:
    return FleetUpdate.get_or_none(FleetUpdate.id == fleet_update_id)


def get(fleet_update_id: str) -> FleetUpdate:
    """The fleet update; raises NotFound."""
    found = find(fleet_update_id)
    if found is None:
        raise NotFound(
            "There is no such fleet update.", help="Plans that were never started are kept for a while only."
        )
    return found


def find_open() -> FleetUpdate | None:
    """The one that is running, paused, halted or being cancelled."""
    return FleetUpdate.get_or_none(FleetUpdate.state.in_(OPEN_STATES))


def is_any_open() -> bool:
    return FleetUpdate.select().where(FleetUpdate.state.in_(OPEN_STATES)).exists()


def list_page(*, limit: int = 50, before_id: str | None = None) -> list[FleetUpdate]:
    """All but mere plans, the newest first."""
    query = FleetUpdate.select().where(FleetUpdate.state != "planned")
    if before_id:
        query = query.where(FleetUpdate.id < before_id)
    return list(query.order_by(FleetUpdate.id.desc()).limit(limit))


def list_past(*, limit: int = 50, before_id: str | None = None) -> list[FleetUpdate]:
    """Those that ended, the newest first."""
    query = FleetUpdate.select().where(FleetUpdate.state.in_(ENDED_STATES))
    if before_id:
        query = query.where(FleetUpdate.id < before_id)
    return list(query.order_by(FleetUpdate.id.desc()).limit(limit))


def list_old_plans(*, keep: int) -> list[str]:
    """The plans that were never started, but for the newest."""
    query = FleetUpdate.select(FleetUpdate.id).where(FleetUpdate.state == "planned").order_by(FleetUpdate.id.desc())
    return [found for (found,) in query.offset(keep).limit(1000).tuples()]


def list_hosts(fleet_update_id: str) -> list[FleetUpdateHost]:
    """Its hosts in order, each with its host."""
    query = FleetUpdateHost.select(FleetUpdateHost, Host).join(Host)
    return list(query.where(FleetUpdateHost.fleet_update == fleet_update_id).order_by(FleetUpdateHost.position))


def host(fleet_update_id: str, host_id: str) -> FleetUpdateHost:
    """One of its hosts; raises NotFound."""
    found = FleetUpdateHost.get_or_none(
        FleetUpdateHost.fleet_update == fleet_update_id, FleetUpdateHost.host == host_id
    )
    if found is None:
        raise NotFound("This fleet update does not have that host.", help="It came later, or was removed.")
    return found


def host_name(host_id: str) -> str:
    """A host's name, empty if it is gone; for sentences, which need nothing else of it."""
    return Host.select(Host.name).where(Host.id == host_id).scalar() or ""


def counts(fleet_update_id: str) -> dict[str, int]:
    """How many of its hosts are in each state."""
    query = (
        FleetUpdateHost.select(FleetUpdateHost.state, fn.COUNT(FleetUpdateHost.host))
        .where(FleetUpdateHost.fleet_update == fleet_update_id)
        .group_by(FleetUpdateHost.state)
    )
    return dict(query.tuples())


def events(fleet_update_id: str, *, after_id: int = 0, limit: int = 200, newest_first: bool = False) -> list[Any]:
    """What happened to it, in order."""
    query = FleetUpdateEvent.select().where(
        FleetUpdateEvent.fleet_update == fleet_update_id, FleetUpdateEvent.id > after_id
    )
    order = FleetUpdateEvent.id.desc() if newest_first else FleetUpdateEvent.id
    return list(query.order_by(order).limit(limit))


def list_to_correct(*, limit: int = 100) -> list[tuple[str, str, str, str]]:
    """(fleet update, host, state, attempt's state) where evidence came after a fleet update had ended."""
    query = (
        FleetUpdateHost.select(
            FleetUpdateHost.fleet_update, FleetUpdateHost.host, FleetUpdateHost.state, UpdateAttempt.state
        )
        .join(FleetUpdate, on=FleetUpdateHost.fleet_update == FleetUpdate.id)
        .join(UpdateAttempt, on=FleetUpdateHost.attempt_id == UpdateAttempt.job)
        .where(
            FleetUpdate.state.in_(ENDED_STATES),
            ~UpdateAttempt.is_rollback,
            UpdateAttempt.is_late,
            ((FleetUpdateHost.state == "failed") & (UpdateAttempt.state == "succeeded"))
            | ((FleetUpdateHost.state == "succeeded") & UpdateAttempt.state.in_(("failed", "rolled_back"))),
        )
        .limit(limit)
    )
    return list(query.tuples())


def list_candidates(*, tags: Iterable[str], host_ids: Iterable[str]) -> list[Host]:
    """The hosts with one of these tags and among these ids; no tags, no ids: all. By name."""
    query = Host.select()
    wanted = list(tags)
    if wanted:
        query = query.where(Host.id.in_(HostTag.select(HostTag.host).where(HostTag.tag.in_(wanted))))
    chosen = list(host_ids)
    if chosen:
        query = query.where(Host.id.in_(chosen))
    return list(query.order_by(Host.name, Host.id))


def known_tags(tags: Iterable[str]) -> set[str]:
    return {tag for (tag,) in HostTag.select(HostTag.tag).where(HostTag.tag.in_(list(tags))).distinct().tuples()}


# ---- as the rules want to see it --------------------------------------------------------------------

_COLUMNS = (
    Host.id, Host.name, FleetUpdateHost.position, FleetUpdateHost.wave, FleetUpdateHost.state,
    FleetUpdateHost.changed_at, FleetUpdateHost.verdict, FleetUpdateHost.reason, Host.connected_at, Host.last_seen_at,
    Host.agent_seq, Host.revoked_at, Host.mode, FleetUpdateHost.attempt_id, UpdateAttempt.state, UpdateAttempt.phase,
    UpdateAttempt.is_rollback, UpdateAttempt.fenced_at, UpdateAttempt.deadline_at, UpdateAttempt.failure_class,
    UpdateAttempt.reason, UpdateAttempt.message, UpdateAttempt.is_revert_failed, UpdateAttempt.cancel_requested_at,
    UpdateAttempt.retry_at, Job.cancel_requested_by,
)  # fmt: skip


def load(found: FleetUpdate, *, now: datetime) -> Fleet:
    """The fleet update with all its hosts and their attempts; two queries."""
    rows = (
        FleetUpdateHost.select(*_COLUMNS)
        .join(Host, on=FleetUpdateHost.host == Host.id)
        .join(UpdateAttempt, JOIN.LEFT_OUTER, on=FleetUpdateHost.attempt_id == UpdateAttempt.job)
        .join(Job, JOIN.LEFT_OUTER, on=UpdateAttempt.job == Job.id)
        .where(FleetUpdateHost.fleet_update == found.id)
        .order_by(FleetUpdateHost.position)
    )
    timing = updates.timing()
    margin = timedelta(seconds=max(1, timing.fleet_seconds - timing.attempt_seconds))
    busy = _busy()
    kept = notes(found)
    return Fleet(
        state=found.state,
        to_seq=found.to_seq,
        options=parse_options(found.options),
        # as SQLite has them: of twenty-six columns only a few moments are looked at
        members=tuple(_member(row, busy, orderer_name(found), margin, now) for row in db.execute(rows)),
        is_hard_cancel=bool(kept.get("is_hard_cancel")),
        is_rolling_back=bool(kept.get("is_rolling_back")),
        counted_from=instants.from_text(kept["counted_from"]) if kept.get("counted_from") else None,
    )


def orderer_name(found: FleetUpdate) -> str:
    """Under which name updates are ordered and taken back for it."""
    return f"fleet update of {found.created_by}"[:100]


def _member(row: tuple[Any, ...], busy: set[str], orderer: str, margin: timedelta, now: datetime) -> Member:
    (
        host_id, name, position, wave, state, changed_at, verdict, reason, connected_at, last_seen_at, agent_seq,
        revoked_at, mode, attempt_id, attempt_state, phase, is_rollback, fenced_at, deadline_at, failure_class,
        attempt_reason, message, is_revert_failed, cancel_requested_at, retry_at, cancelled_by,
    ) = row  # fmt: skip
    attempt = None
    if attempt_id is not None and attempt_state is not None:
        attempt = Attempt(
            id=attempt_id,
            state=attempt_state,
            phase=phase,
            is_rollback=bool(is_rollback),
            is_fenced=fenced_at is not None,
            cap_at=instants.from_text(deadline_at) + margin
            if deadline_at and attempt_state in ("dispatched", "running")
            else None,
            failure_class=failure_class,
            reason=attempt_reason,
            message=message,
            is_revert_failed=bool(is_revert_failed),
            is_cancel_requested=cancel_requested_at is not None,
            is_cancelled_by_hand=bool(cancelled_by) and cancelled_by != orderer,
            retry_at=instants.from_text(retry_at) if retry_at else None,
        )
    seen_at = instants.from_text(last_seen_at) if last_seen_at else None
    return Member(
        host_id=host_id,
        name=name,
        position=position,
        wave=wave,
        state=state,
        changed_at=instants.from_text(changed_at),
        is_online=health.is_online(is_connected=connected_at is not None, last_seen_at=seen_at, now=now),
        agent_seq=agent_seq,
        is_busy=host_id in busy,
        is_revoked=revoked_at is not None,
        is_always_on=mode == "always_on",
        last_seen_at=seen_at,
        verdict=verdict,
        reason=reason,
        attempt=attempt,
    )


def _busy() -> set[str]:
    """The hosts that run a job other than an update."""
    # "not finished" besides: only so does SQLite use the index of open jobs
    query = Job.select(Job.host).where(Job.state != "finished", Job.state == "running", Job.kind != "update")
    return {host_id for (host_id,) in query.tuples()}


def notes(found: FleetUpdate) -> dict[str, Any]:
    """What the service keeps about how it is to go on: NOTES."""
    return {name: found.options[name] for name in NOTES if name in found.options}


def forced_host_ids(found: FleetUpdate) -> list[str]:
    """The hosts that somebody has tried again although they came back from this release."""
    return list(notes(found).get("forced_host_ids", []))
