"""Releases, attempts and fleet updates in any state, as rows: what pages are to show without an agent at work."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from rm.shared.ids import new_ulid
from rm.store.models import (
    FleetUpdate,
    FleetUpdateEvent,
    FleetUpdateHost,
    Host,
    Job,
    JobLogLine,
    Keyset,
    Release,
    UpdateAttempt,
    UpdateEvent,
)
from tests.signing import signed_release

OLD, NEW = ("1.4.0", 14), ("1.5.0", 15)
ARTIFACT = "ab" * 32
OUTCOMES = {
    "succeeded": "succeeded", "failed": "failed", "rolled_back": "failed", "refused": "failed",
    "cancelled": "cancelled", "lost": "lost",
}  # fmt: skip
LATE_PHASES = ("swapping", "restarting", "trial", "soaking")


def add_release(now: datetime, *, version: str = NEW[0], seq: int = NEW[1], **fields: Any) -> Release:
    """The current release, for every platform."""
    signed = signed_release(seq=seq, version=version, now=now)
    Keyset.insert(
        version=1, bytes=signed.keyset, signature=signed.keyset_signature.encode(), imported_at=now
    ).on_conflict_ignore().execute()
    Release.update(is_current=False).execute()
    values: dict[str, Any] = {
        "id": release_id(seq), "version": version, "seq": seq, "channel": "stable", "manifest": signed.manifest,
        "signature": signed.manifest_signature.encode(), "keyset": 1, "released_at": now - timedelta(days=2),
        "artifacts": [{"os": "any", "arch": "any", "name": "rm-agent", "size": 2_000_000, "sha256": ARTIFACT}],
        "expires_at": now + timedelta(days=180), "imported_at": now, "imported_by": "alice", "promoted_at": now,
        "is_current": True,
    }  # fmt: skip
    made: Release = Release.create(**values | fields)
    return made


def release_id(seq: int = NEW[1]) -> str:
    return f"{seq:064x}"


def run(host_id: str, version: tuple[str, int], now: datetime, *, is_online: bool = True) -> None:
    """The host is known to run this version."""
    Host.update(
        agent_version=version[0], agent_seq=version[1], first_hello_at=now - timedelta(days=60), last_seen_at=now,
        connected_at=now - timedelta(hours=9) if is_online else None, guard_version="2",
    ).where(Host.id == host_id).execute()  # fmt: skip


def attempt(
    host_id: str, state: str, now: datetime, *, phase: str = "", ago: timedelta = timedelta(seconds=40), **fields: Any
) -> UpdateAttempt:
    """An attempt in this state with its job, its history and two lines of log."""
    ended = state in OUTCOMES
    job = Job.create(
        id=new_ulid(), host=host_id, kind="update", state="finished" if ended else "running", requested_by="alice",
        outcome=OUTCOMES.get(state), created_at=now - ago * 3, expires_at=now + timedelta(hours=24),
        started_at=now - ago * 2, finished_at=now - ago if ended else None, last_sign_at=now,
        message=fields.get("message", ""), parameters={"to_version": NEW[0], "is_rollback": False},
    )  # fmt: skip
    is_late = phase in LATE_PHASES
    values: dict[str, Any] = {
        "release": release_id(), "epoch": 1, "artifact_sha256": ARTIFACT, "from_version": OLD[0],
        "from_seq": OLD[1], "from_sha256": "cd" * 32, "to_version": NEW[0], "to_seq": NEW[1], "phase": phase,
        "phase_since": now - ago, "fenced_at": now - ago if is_late else None,
        "deadline_at": None if ended else now + timedelta(seconds=72), "not_after": now + timedelta(hours=20),
        "soak_until": now + timedelta(seconds=48) if state == "soaking" else None,
        "timers": {"revert_seconds": 60, "soak_seconds": 60, "attempt_seconds": 90}, "last_sign_at": now,
        "created_at": now - ago * 3, "ended_at": now - ago if ended else None,
    }  # fmt: skip
    made: UpdateAttempt = UpdateAttempt.create(job=job.id, host=host_id, state=state, **values | fields)
    said = [("queued", "", "alice ordered it.")]
    if state != "queued":
        said.append(("dispatched", "", "The order was sent."))
        said.append((state, phase, made.message or f"It is {phase or state} now."))
    for n, (was, at, text) in enumerate(said):
        UpdateEvent.create(job=job.id, at=now - ago * (3 - n), state=was, phase=at, text=text)
    for n, text in enumerate(("preflight: 412 MiB free, guard 2", "candidate: imports fine, restic 0.18.0"), 1):
        JobLogLine.create(job=job.id, n=n, at=now - ago, stream="agent", text=text)
    return made


def fleet(
    state: str, now: datetime, members: Sequence[tuple[str, str, int]], *, ago: timedelta = timedelta(minutes=48),
    **fields: Any,
) -> FleetUpdate:  # fmt: skip
    """A fleet update in this state; each member is (host id, its state, its wave)."""
    has_ended = state.startswith(("completed", "cancelled"))
    values: dict[str, Any] = {
        "release": release_id(), "to_version": NEW[0], "to_seq": NEW[1], "created_by": "alice",
        "created_at": now - ago, "started_at": None if state == "planned" else now - ago, "estimate_seconds": 780,
        "ended_at": now - timedelta(minutes=2) if has_ended else None,
        "options": {
            "tags": [], "host_ids": [], "canaries": 1, "waves": [4], "max_in_flight": 1, "soak_seconds": 60,
            "failure_policy": "strict",
        },
    }  # fmt: skip
    made: FleetUpdate = FleetUpdate.create(id=new_ulid(), state=state, **values | fields)
    note(made, f"fleet.{'planned' if state == 'planned' else 'running'}", "Started.", now - ago, actor="alice")
    for position, (host_id, member_state, wave) in enumerate(members):
        is_out = member_state == "excluded"
        last = UpdateAttempt.select().where(UpdateAttempt.host == host_id).order_by(UpdateAttempt.job.desc()).first()
        has_attempt = last is not None and member_state not in ("waiting", "excluded", "skipped")
        changed_at = now - ago + timedelta(minutes=3 * position + 1)
        FleetUpdateHost.create(
            fleet_update=made.id, host=host_id, position=position, wave=-1 if is_out else wave, state=member_state,
            verdict="current" if is_out else "will_update", reason="It runs this release already." if is_out else "",
            attempt_id=last.job_id if has_attempt else None, changed_at=changed_at,
        )  # fmt: skip
        if has_attempt:
            UpdateAttempt.update(fleet_update=made.id).where(UpdateAttempt.job == last.job_id).execute()
            words = {"succeeded": "done", "failed": "failed", "soaking": "said hello and is watched"}
            text = f"{Host.get_by_id(host_id).name[:80]}: {words.get(member_state, member_state)}"
            note(made, f"host.{member_state}", text, changed_at, host_id=host_id)
    if state not in ("running", "planned"):
        note(made, f"fleet.{state}", made.reason or f"It is {state} now.", now - timedelta(minutes=2), actor="alice")
    return made


def note(update: FleetUpdate, kind: str, text: str, at: datetime, *, actor: str = "server", host_id: str = "") -> None:
    FleetUpdateEvent.create(
        fleet_update=update.id, at=at, kind=kind, host_id=host_id or None, actor=actor, text=text
    )  # fmt: skip
