"""Named queries about attempts to update hosts, and about which hosts a release is for."""

import json
from collections.abc import Iterable
from datetime import datetime

from peewee import SQL, fn

from rm.domain import health
from rm.domain.update_attempt import OPEN
from rm.domain.update_timing import QUEUE, Timing
from rm.domain.update_verdict import HostFacts, ReleaseFacts, Verdict, verdict_for_host
from rm.errors import NotFound
from rm.shared import instants
from rm.store import quick_rows, releases
from rm.store.database import db
from rm.store.models import FleetUpdate, Host, OrphanResult, Release, Setting, UpdateAttempt, UpdateEvent

TIMING = "update_timing"
# Written out: SQLite does not use a partial index for a condition whose values are bound.
IS_OPEN = SQL(f"state IN ({', '.join(repr(state) for state in OPEN)})")


def find(job_id: str) -> UpdateAttempt | None:
    """The attempt with its host."""
    return quick_rows.with_host(quick_rows.first(UpdateAttempt, "job_id = ?", job_id))


def get(job_id: str) -> UpdateAttempt:
    """The attempt with its host; raises NotFound."""
    found = find(job_id)
    if found is None:
        raise NotFound("There is no such attempt.", help="It may have been removed with its host.")
    return found


def open_for_host(host_id: str) -> UpdateAttempt | None:
    """The one attempt that has not ended, with its host."""
    return quick_rows.with_host(quick_rows.first(UpdateAttempt, f"host_id = ? AND {IS_OPEN.sql}", host_id))


def last_for_host(host_id: str) -> UpdateAttempt | None:
    """The attempt that was ordered last, with its host."""
    return quick_rows.with_host(quick_rows.first(UpdateAttempt, "host_id = ? ORDER BY epoch DESC LIMIT 1", host_id))


def list_for_fleet_update(fleet_update_id: str) -> list[UpdateAttempt]:
    """All attempts of a fleet update with their hosts, the oldest first."""
    query = UpdateAttempt.select(UpdateAttempt, Host).join(Host)
    return list(query.where(UpdateAttempt.fleet_update == fleet_update_id).order_by(UpdateAttempt.job))


def list_overdue(now: datetime, *, limit: int = 500) -> list[UpdateAttempt]:
    """The open attempts whose deadline has passed, with their hosts."""
    query = UpdateAttempt.select(UpdateAttempt, Host).join(Host)
    return list(query.where(IS_OPEN, UpdateAttempt.deadline_at <= now).order_by(UpdateAttempt.deadline_at).limit(limit))


def is_any_overdue(now: datetime) -> bool:
    return UpdateAttempt.select().where(IS_OPEN, UpdateAttempt.deadline_at <= now).exists()


def list_open() -> list[UpdateAttempt]:
    query = UpdateAttempt.select(UpdateAttempt, Host).join(Host)
    return list(query.where(IS_OPEN).order_by(UpdateAttempt.job))


def list_to_cancel(host_id: str, *, now: datetime) -> list[UpdateAttempt]:
    """The attempts that were cancelled here after the host had their order, and that it has not given up itself."""
    where = (
        "host_id = ? AND state = 'cancelled' AND cancel_requested_at IS NOT NULL AND last_sign_at IS NOT NULL"
        " AND phase <> 'cancelled' AND created_at > ? ORDER BY epoch DESC LIMIT 5"
    )
    return quick_rows.load(UpdateAttempt, where, host_id, instants.to_text(now - 2 * QUEUE))


def last_committed(host_id: str, *, since: datetime) -> UpdateAttempt | None:
    """The newest attempt of a host that succeeded since then."""
    query = UpdateAttempt.select().where(
        UpdateAttempt.host == host_id, UpdateAttempt.state == "succeeded", UpdateAttempt.ended_at >= since
    )  # fmt: skip
    return query.order_by(UpdateAttempt.epoch.desc()).first()


def events(job_id: str) -> list[UpdateEvent]:
    """What happened to an attempt, in order."""
    return list(UpdateEvent.select().where(UpdateEvent.job == job_id).order_by(UpdateEvent.id))


def add_event(row: UpdateAttempt, text: str, *, at: datetime, most: int | None) -> None:
    """One line of an attempt's history, unless it repeats the last one, or there are `most` already."""
    db.execute_sql(_ADD_EVENT, (row.job_id, instants.to_text(at), row.state, row.phase, text, most))


# one statement: a host that is updated writes a dozen lines, and each would be three questions
_ADD_EVENT = """
INSERT INTO update_events (job_id, at, state, phase, text)
SELECT ?1, ?2, ?3, ?4, ?5
WHERE NOT EXISTS (
    SELECT 1 FROM (SELECT state, phase, text FROM update_events WHERE job_id = ?1 ORDER BY id DESC LIMIT 1)
    WHERE (state, phase, text) = (?3, ?4, ?5)
) AND (?6 IS NULL OR (SELECT COUNT(*) FROM update_events WHERE job_id = ?1) < ?6)
"""


def fleet_state(fleet_update_id: str) -> str:
    """The state of a fleet update, empty if it is gone."""
    return FleetUpdate.select(FleetUpdate.state).where(FleetUpdate.id == fleet_update_id).scalar() or ""


def has_orphan(host_id: str, attempt_id: str, outcome: str) -> bool:
    return (
        OrphanResult.select()
        .where(
            OrphanResult.host == host_id, OrphanResult.attempt_id == attempt_id, OrphanResult.outcome == outcome
        )
        .exists()
    )  # fmt: skip


def count_orphans(host_id: str) -> int:
    return OrphanResult.select().where(OrphanResult.host == host_id).count()


# ---- verdicts ----


def verdict(host: Host, release: Release | None, *, now: datetime) -> Verdict:
    """Whether this host is to be updated to this release."""
    return _verdicts([host], release, now=now, only_host_id=host.id)[host.id]


def verdicts(hosts: Iterable[Host], release: Release | None, *, now: datetime) -> dict[str, Verdict]:
    """The same for many hosts at once, by id; two queries for all."""
    return _verdicts(list(hosts), release, now=now)


def _verdicts(
    found: list[Host], release: Release | None, *, now: datetime, only_host_id: str | None = None
) -> dict[str, Verdict]:
    if release is None or release.withdrawn_at is not None:
        return {host.id: verdict_for_host(_host_facts(host, None, now), None, now) for host in found}
    artifacts = {
        (os, arch): releases.artifact_for(release, os, arch) for os, arch in {(host.os, host.arch) for host in found}
    }
    bad = _bad([artifact.sha256 for artifact in artifacts.values() if artifact is not None], only_host_id)
    answers = {}
    for host in found:
        artifact = artifacts[host.os, host.arch]
        facts = ReleaseFacts(
            version=release.version, seq=release.seq, expires_at=release.expires_at, guard_min=release.guard_min,
            min_from_seq=release.min_from_seq, has_artifact=artifact is not None,
        )  # fmt: skip
        since = bad.get((host.id, artifact.sha256)) if artifact is not None else None
        answers[host.id] = verdict_for_host(_host_facts(host, since, now), facts, now)
    return answers


def _host_facts(host: Host, bad_since: datetime | None, now: datetime) -> HostFacts:
    return HostFacts(
        name=host.name, agent_version=host.agent_version, agent_seq=host.agent_seq, platform=f"{host.os}/{host.arch}",
        guard_version=host.guard_version, is_pinned=host.is_pinned, is_revoked=host.revoked_at is not None,
        held_reason=host.held_reason, bad_since=bad_since,
        is_online=health.is_online(
            is_connected=host.connected_at is not None, last_seen_at=host.last_seen_at, now=now
        ),
    )  # fmt: skip


def _bad(artifacts: list[str], only_host_id: str | None) -> dict[tuple[str, str], datetime]:
    """(host, artifact) of what came back last from an artifact for a fault of the release, with when."""
    # without it an order would read what all others of a fleet update did before it
    is_asked = UpdateAttempt.host == only_host_id if only_host_id is not None else SQL("1")
    query = (
        UpdateAttempt.select(
            UpdateAttempt.host, UpdateAttempt.artifact_sha256, UpdateAttempt.state, UpdateAttempt.reason,
            UpdateAttempt.failure_class, UpdateAttempt.ended_at,
        )
        .where(
            UpdateAttempt.artifact_sha256.in_(artifacts),
            UpdateAttempt.state.in_(("rolled_back", "refused", "succeeded")),
            is_asked,
        )
        .order_by(UpdateAttempt.epoch)
    )  # fmt: skip
    found: dict[tuple[str, str], datetime] = {}
    for row in query:
        key = (row.host_id, row.artifact_sha256)
        if row.state == "succeeded":
            found.pop(key, None)
        elif (row.state == "rolled_back" and row.failure_class == "release") or row.reason == "known_bad":
            found[key] = row.ended_at
    return found


# ---- timing ----


def timing() -> Timing:
    """The patience that the running server was started with."""
    stored = Setting.get_or_none(Setting.name == TIMING)
    return Timing(**json.loads(stored.value)) if stored else Timing()


# ---- figures ----


def count_fleet_updates() -> list[tuple[str, int]]:
    """(state, fleet updates)."""
    query = FleetUpdate.select(FleetUpdate.state, fn.COUNT(FleetUpdate.id)).group_by(FleetUpdate.state)
    return list(query.tuples())
