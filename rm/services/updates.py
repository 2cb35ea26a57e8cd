"""Attempts to change a host's agent: ordered by people or a fleet update, ended by evidence or a deadline.

Sending the orders (update_orders), what hosts say (update_reports) and what silence means (update_deadlines) are
modules of their own; their functions are part of this module's face.
"""

import json
from datetime import datetime
from typing import Any

from rm.domain import update_attempt as rules
from rm.domain.actors import SERVER, Actor
from rm.domain.permissions import is_allowed
from rm.domain.update_timing import MOST_SOAK_SECONDS, QUEUE, ROLLBACK_WITHIN, Timing
from rm.domain.update_verdict import KNOWN_BAD
from rm.errors import Conflict, Forbidden, Invalid
from rm.events import CancelRequested, EventBus, HostChanged, JobChanged, JobQueued, UpdateChanged
from rm.services import audit, disk_space
from rm.services.update_deadlines import rearm, sweep
from rm.services.update_orders import orders_for
from rm.services.update_reports import connection_ended, progress, result, said_hello
from rm.services.update_steps import facts, next_epoch, note, take
from rm.shared.ids import new_ulid
from rm.store import hosts, releases, updates
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, Job, Release, Setting, UpdateAttempt

__all__ = [
    "cancel", "connection_ended", "hold", "order", "order_rollback", "orders_for", "progress",
    "rearm", "result", "retry", "said_hello", "sweep", "unhold", "use_timing",
]  # fmt: skip

MAX_REASON = 500
_CODES = {"current": "not_behind", "revoked": "host_revoked"}


# ---- ordering ----------------------------------------------------------------------------------------


def order(
    bus: EventBus, *, host_id: str, actor: Actor, now: datetime, release_id: str | None = None,
    fleet_update_id: str | None = None, soak_seconds: int | None = None, force: bool = False, reason: str = "",
) -> UpdateAttempt:  # fmt: skip
    """A queued attempt to bring a host to a release, the current one unless named; again: the one that is open.

    An attempt that waits for an older release gives way. Raises Conflict with the code of the verdict
    (not_behind, ahead, pinned, held, no_release, no_artifact, known_bad, guard_too_old, host_revoked), Invalid,
    Forbidden or NotFound. `force` overrides `known_bad` only, and wants a reason.
    """
    if force and actor.kind != SERVER.kind and not is_allowed(actor.role, "updates.force"):
        raise Forbidden("Only an administrator may force an update.")
    why = _reason(reason, is_required=force)
    if soak_seconds is not None and not 0 <= soak_seconds <= MOST_SOAK_SECONDS:
        raise Invalid({"soak_seconds": f"Choose 0 to {MOST_SOAK_SECONDS} seconds."})
    with changes():
        host = hosts.get(host_id)
        release = releases.get(release_id) if release_id else releases.current()
        found = _open(bus, host, release, actor=actor, now=now)
        if found is not None:
            if fleet_update_id and found.fleet_update_id is None and found.state in ("queued", "deferred"):
                UpdateAttempt.update(fleet_update=fleet_update_id).where(UpdateAttempt.job == found.job_id).execute()
            return updates.get(found.job_id)
        verdict = updates.verdict(host, release, now=now)
        if release is None or not (verdict.is_orderable or (force and verdict.word == KNOWN_BAD)):
            raise Conflict(verdict.reason, code=_CODES.get(verdict.word, verdict.word), help=verdict.help)
        artifact = releases.artifact_for(release, host.os, host.arch)
        assert artifact is not None  # noqa: S101  the verdict says so
        return _create(
            bus, host, actor=actor, now=now, soak_seconds=soak_seconds, fleet_update_id=fleet_update_id,
            release=release, keyset_version=release.keyset_version, artifact_sha256=artifact.sha256,
            to_version=release.version, to_seq=release.seq, is_forced=force, force_reason=why if force else "",
        )  # fmt: skip


def order_rollback(
    bus: EventBus, *, host_id: str, actor: Actor, now: datetime, reason: str, fleet_update_id: str | None = None,
    soak_seconds: int | None = None,
) -> UpdateAttempt:  # fmt: skip
    """A queued attempt to put the agent back that ran before the last update, within seven days and once.

    Again: the one that is open. Raises Conflict, Invalid without a reason, or NotFound.
    """
    why = _reason(reason, is_required=True)
    with changes():
        host = hosts.get(host_id)
        found = updates.open_for_host(host_id)
        if found is not None and found.is_rollback:
            return found
        if found is not None:
            raise Conflict(
                f"An update of {host.name} is under way.", code="update_under_way", help="Cancel it, or await its end."
            )
        if host.revoked_at is not None:
            raise Conflict(f"{host.name} was revoked.", code="host_revoked", help="Enrol it again from its page.")
        if host.is_pinned:
            raise Conflict(
                f"{host.name} is pinned by its owner.", code="pinned", help="Only rm-agent unpin there ends that."
            )
        done = updates.last_committed(host_id, since=now - ROLLBACK_WITHIN)
        sha256 = _previous_artifact(host, done)
        if done is None or done.is_rollback or sha256 is None or host.agent_seq != done.to_seq:
            raise Conflict(
                f"{host.name} has nothing to roll back to: {_why_no_rollback(host, done)}", code="no_rollback",
                help="Make an update first, or install an agent by hand with install.sh.",
            )  # fmt: skip
        return _create(
            bus, host, actor=actor, now=now, soak_seconds=soak_seconds, fleet_update_id=fleet_update_id,
            is_rollback=True, artifact_sha256=sha256, to_version=done.from_version, to_seq=done.from_seq, why=why,
        )  # fmt: skip


def cancel(bus: EventBus, *, job_id: str, actor: Actor, now: datetime) -> UpdateAttempt:
    """Give an attempt up. One that the host has is over when it says so, or after the timeout; it can no longer swap.

    Raises Conflict when it has ended (`job_over`) or passed the fence (`past_the_fence`); again: nothing changes.
    """
    with changes():
        row = updates.get(job_id)
        if not rules.is_open(row.state):
            raise Conflict(f"This update has ended already: {row.state}.", code="job_over")
        step = rules.cancel(facts(row), actor.name, now)
        if step is None and (row.fenced_at is not None or row.state == "soaking"):
            raise Conflict(
                f"{row.host.name} has begun to swap.", code="past_the_fence",
                help="It finishes, or returns to the old agent by itself. Then it can be rolled back.",
            )  # fmt: skip
        if step is not None:
            take(bus, row, step, now=now, actor=actor)
            Job.update(cancel_requested_at=now, cancel_requested_by=actor.name).where(Job.id == job_id).execute()
            audit.record(actor, "job.cancel_requested", now=now, kind="job", id=job_id, name="update")
            publish_after_commit(bus, CancelRequested(job_id, row.host_id))
        return updates.get(job_id)


def retry(bus: EventBus, *, job_id: str, now: datetime, actor: Actor = SERVER) -> UpdateAttempt:
    """Have a deferred attempt sent again now, with the same id and a new epoch; any other is left as it is."""
    with changes():
        row = updates.get(job_id)
        step = rules.retry(facts(row), now)
        if step is not None:
            take(bus, row, step, now=now, actor=actor, epoch=next_epoch(row.host_id, now))
        return updates.get(job_id)


def hold(bus: EventBus, *, host_id: str, reason: str, actor: Actor, now: datetime) -> Host:
    """Keep a host from being updated until it is released; what is before the fence is cancelled. Raises Invalid."""
    why = _reason(reason, is_required=True)
    with changes():
        host = hosts.get(host_id)
        if host.held_reason != why:
            Host.update(held_reason=why).where(Host.id == host_id).execute()
            audit.record(actor, "host.held", now=now, kind="host", id=host_id, name=host.name, reason=why)
            publish_after_commit(bus, HostChanged(host_id))
        found = updates.open_for_host(host_id)
        if found is not None and not found.is_rollback and rules.cancel(facts(found), actor.name, now) is not None:
            cancel(bus, job_id=found.job_id, actor=actor, now=now)
        return hosts.get(host_id)


def unhold(bus: EventBus, *, host_id: str, actor: Actor, now: datetime) -> Host:
    """Let a host be updated again."""
    with changes():
        host = hosts.get(host_id)
        if host.held_reason:
            Host.update(held_reason="").where(Host.id == host_id).execute()
            audit.record(
                actor, "host.released", now=now, kind="host", id=host_id, name=host.name, was=host.held_reason
            )  # fmt: skip
            publish_after_commit(bus, HostChanged(host_id))
        return hosts.get(host_id)


# ---- timing ----------------------------------------------------------------------------------------


def use_timing(timing: Timing) -> None:
    """Keep the patience that this server was started with; each attempt carries it from its order on."""
    text = json.dumps({"attempt_seconds": timing.attempt_seconds, "fleet_seconds": timing.fleet_seconds})
    with changes():
        Setting.insert(name=updates.TIMING, value=text).on_conflict_replace().execute()


# ---- parts -------------------------------------------------------------------------------------------


def _open(
    bus: EventBus, host: Host, release: Release | None, *, actor: Actor, now: datetime
) -> UpdateAttempt | None:  # fmt: skip
    """The host's open attempt; one that waits for another release than this gives way."""
    found = updates.open_for_host(host.id)
    if found is None:
        return None
    if found.is_rollback:
        raise Conflict(f"{host.name} is being rolled back.", code="rollback_under_way", help="Await its end.")
    if release is not None and found.release_id != release.id and found.state in ("queued", "deferred"):
        cancel(bus, job_id=found.job_id, actor=actor, now=now)
        return None
    if found.cancel_requested_at is not None:
        raise Conflict(
            f"The update of {host.name} is being cancelled.", code="being_cancelled", help="Try again in two minutes."
        )
    return found


def _create(
    bus: EventBus, host: Host, *, actor: Actor, now: datetime, soak_seconds: int | None, fleet_update_id: str | None,
    why: str = "", **fields: Any,
) -> UpdateAttempt:  # fmt: skip
    if fleet_update_id is None:
        disk_space.refuse_new_orders()
    is_rollback = fields.get("is_rollback", False)
    expires = now + QUEUE
    job = Job.create(
        id=new_ulid(), host=host.id, kind="update", state="queued", requested_by=actor.name, created_at=now,
        expires_at=expires, parameters={"to_version": fields["to_version"], "is_rollback": is_rollback},
    )  # fmt: skip
    UpdateAttempt.create(
        job=job.id, host=host.id, fleet_update=fleet_update_id, epoch=next_epoch(host.id, now),
        from_version=host.agent_version, from_seq=host.agent_seq, from_sha256=host.running_sha256, state="queued",
        phase_since=now, deadline_at=expires, not_after=expires, timers=updates.timing().timers(soak_seconds),
        created_at=now, **fields,
    )  # fmt: skip
    row = updates.get(job.id)
    way = "back to" if is_rollback else "to"
    note(row, f"{actor.name} ordered {host.name} {way} {row.to_version}{f': {why}' if why else ''}.", now=now)
    audit.record(
        actor, "update.rollback_ordered" if is_rollback else "update.ordered", now=now, kind="job", id=job.id,
        name=f"update of {host.name}", host=host.name, from_version=row.from_version, to=row.to_version,
        fleet_update=fleet_update_id or "", force=row.is_forced, reason=why or row.force_reason,
    )  # fmt: skip
    publish_after_commit(
        bus, JobChanged(job.id, host.id), UpdateChanged(job.id, host.id), JobQueued(job.id, host.id),
        HostChanged(host.id),
    )  # fmt: skip
    return row


def _previous_artifact(host: Host, done: UpdateAttempt | None) -> str | None:
    if done is None:
        return None
    if done.from_sha256:
        return done.from_sha256
    release = releases.find_by_seq(done.from_seq)
    artifact = releases.artifact_for(release, host.os, host.arch) if release is not None else None
    return artifact.sha256 if artifact is not None else None


def _why_no_rollback(host: Host, done: UpdateAttempt | None) -> str:
    if done is None:
        return "it was not updated within the last seven days."
    if done.is_rollback:
        return "its last update was rolled back already, and only one step is kept."
    if host.agent_seq != done.to_seq:
        return f"it runs {host.agent_version} now, not the {done.to_version} of its last update."
    return f"the hash of the {done.from_version} that ran before is not known here."


def _reason(text: str, *, is_required: bool) -> str:
    clean = " ".join(text.split())
    if is_required and not clean:
        raise Invalid({"reason": "Say why."})
    if len(clean) > MAX_REASON:
        raise Invalid({"reason": f"At most {MAX_REASON} characters."})
    return clean
