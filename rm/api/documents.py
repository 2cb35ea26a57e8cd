"""How the API shows things: one function per noun, JSON-ready, without secrets."""

from datetime import datetime
from typing import Any

from flask import request

from rm.api import caller
from rm.domain.jobs import to_read
from rm.errors import Invalid
from rm.services import enrolments
from rm.services.schedule_sets import FEATURE
from rm.services.source_group_forms import SourceGroupForm, form_of
from rm.services.template_forms import GROUP_FIELDS
from rm.shared import instants
from rm.store.host_rows import HostGroup, HostRow
from rm.store.models import Alert, EnrolmentToken, Job, PendingHost, Release, Repository, SourceGroup
from rm.store.pending_hosts import Resemblance


def body() -> dict[str, Any]:
    """The JSON object of the request; raises Invalid."""
    try:
        found = request.get_json(force=True, silent=True)
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        raise Invalid({"body": "Send a JSON object."}, "The body must be a JSON object.")
    return found


def body_or_nothing() -> dict[str, Any]:
    """The JSON object of the request, empty where nothing was sent; raises Invalid."""
    return body() if request.get_data(cache=True) else {}


def text(source: dict[str, Any], name: str, default: str | None = None) -> str:
    """A string of the body; raises Invalid."""
    value = source.get(name, default)
    if not isinstance(value, str):
        raise Invalid({name: "must be a text"}, f"{name} must be a text.")
    return value.encode("utf-8", "replace").decode()


def texts(source: dict[str, Any], name: str) -> list[str]:
    """A list of strings of the body, empty if absent; raises Invalid."""
    value = source.get(name, [])
    if not isinstance(value, list) or len(value) > 1000 or not all(isinstance(item, str) for item in value):
        raise Invalid({name: "must be a list of texts"}, f"{name} must be a list of texts.")
    return [item.encode("utf-8", "replace").decode() for item in value]


def flag(source: dict[str, Any], name: str, default: bool) -> bool:
    """true or false of the body; raises Invalid."""
    value = source.get(name, default)
    if not isinstance(value, bool):
        raise Invalid({name: "must be true or false"}, f"{name} must be true or false.")
    return value


def objects(source: dict[str, Any], name: str, most: int) -> list[dict[str, Any]]:
    """A list of JSON objects of the body, empty if absent; raises Invalid."""
    value = source.get(name, [])
    if not isinstance(value, list) or len(value) > most or not all(isinstance(item, dict) for item in value):
        raise Invalid({name: f"must be a list of at most {most} objects"}, f"{name} must be a list of objects.")
    return value


def whole(source: dict[str, Any], name: str, default: int) -> int:
    """A whole number of the body; raises Invalid."""
    value = source.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 2**53:
        raise Invalid({name: "must be a whole number"}, f"{name} must be a whole number.")
    return value


def number(name: str, default: int, most: int) -> int:
    """A number of the query string; raises Invalid."""
    given = request.args.get(name, str(default))
    if not given.isascii() or not given.isdigit() or len(given) > 20 or int(given) > most:
        raise Invalid({name: f"must be a number up to {most}"}, f"{name} must be a number up to {most}.")
    return int(given)


def instant(value: datetime | None) -> str | None:
    return instants.to_text(value) if value else None


def host(row: HostRow) -> dict[str, Any]:
    found = row.host
    return {
        "id": found.id,
        "name": found.name,
        "hostname": found.hostname,
        "os": found.os,
        "os_name": found.os_name,
        "arch": found.arch,
        "tags": row.tags,
        "mode": found.mode,
        "status": "revoked" if found.revoked_at else "online" if row.is_online else "offline",
        "health": {
            "code": row.health.code,
            "word": row.health.word,
            "why": row.health.why,
            "is_protected": row.health.is_protected,
        },
        "verdict": {
            "code": row.health.code,
            "text": row.health.why,
            "protected_until": instant(found.protected_until),
        },
        "groups": [group_verdict(one) for one in row.groups],
        "agent_version": found.agent_version,
        "agent_seq": found.agent_seq,
        "restic_version": found.restic_version,
        "pinned": found.is_pinned,
        "held_reason": found.held_reason or None,
        "repository": repository(row.repository) if row.repository else None,
        "config": {"wanted": found.config_version, "applied": found.config_applied},
        "schedules": {
            "wanted": found.schedule_version,
            "applied": found.schedule_applied,
            "problem": found.schedule_problem or None,
            "is_supported": FEATURE in found.features,
        },
        "hooks": {"names": found.hook_names, "policy": found.hooks_policy},
        "restores": {"directory": found.restore_directory or None, "allows_in_place": found.allows_restore_in_place},
        "timezone": found.timezone or None,
        "features": found.features,
        "enrolled_at": instant(found.enrolled_at),
        "connected_at": instant(found.connected_at),
        "last_seen_at": instant(found.last_seen_at),
        "last_good_at": instant(found.last_good_at),
        "next_run_at": instant(found.next_run_at),
        "revoked_at": instant(found.revoked_at),
        "running_job_id": row.running_job.id if row.running_job else None,
    }


def group_verdict(found: HostGroup) -> dict[str, Any]:
    """How a source group stands now; `late_at` is null where nothing is expected."""
    return {
        "id": found.kept.id,
        "name": found.kept.name,
        "mode": found.kept.mode,
        "is_scheduled": found.kept.is_scheduled,
        "code": found.now.code or "unjudged",
        "text": found.now.text,
        "since": instant(found.now.since),
        "next_at": instant(found.now.next_at),
        "late_at": instant(found.kept.late_at),
        "protected_until": instant(found.kept.protected_until),
        "last_good_at": instant(found.kept.last_good_at),
    }


def enrolment_token(found: EnrolmentToken, plain: str, *, base_url: str) -> dict[str, Any]:
    """A fresh token with its text and the line that uses it."""
    is_again = found.host_id is not None
    return {
        "id": found.id,
        "token": plain,
        "expires_at": instant(found.expires_at),
        "install_command": enrolments.install_command(base_url=base_url, token=plain, again=is_again),
    }


def repository(found: Repository) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "location": found.location,
        "restic_repository_id": found.restic_repository_id,
        "snapshot_count": found.snapshot_count,
        "tested_at": instant(found.tested_at),
        "test_ok": found.test_ok,
        "test_message": found.test_message,
        "test_reason": found.test_reason,
        "is_append_only": found.is_append_only,
        "total_bytes": found.total_bytes,
        "other_restic_repository_id": found.restic_id_seen,
        "checked_at": instant(found.checked_at),
        "check_ok": found.check_ok,
        "pruned_at": instant(found.pruned_at),
    }


def alert(found: Alert) -> dict[str, Any]:
    return {
        "id": found.id,
        "kind": found.kind,
        "severity": found.severity,
        "state": found.state,
        "host_id": found.host_id,
        "repository_id": found.repository_id,
        "message": found.message,
        "first_seen_at": instant(found.first_seen_at),
        "last_seen_at": instant(found.last_seen_at),
        "count": found.count,
        "acknowledged_at": instant(found.acknowledged_at),
        "acknowledged_by": found.acknowledged_by or None,
        "resolved_at": instant(found.resolved_at),
        "resolved_by": found.resolved_by or None,
        "note": found.note,
        "incident_id": found.incident_id,
        "snoozed_until": instant(found.snoozed_until),
    }


def pending_host(found: PendingHost, like: Resemblance, *, state: str) -> dict[str, Any]:
    return {
        "id": found.id,
        "state": state,
        "fingerprint": found.fingerprint,
        "hostname": found.hostname,
        "os": found.os,
        "arch": found.arch,
        "agent_version": found.agent_version,
        "agent_seq": found.agent_seq,
        "address": found.address,
        "announced_at": instant(found.announced_at),
        "expires_at": instant(found.expires_at),
        "decided_at": instant(found.decided_at),
        "decided_by": found.decided_by or None,
        "host_id": found.host_id,
        "same_name": {
            "host_ids": [other.id for other in like.hosts],
            "pending_ids": [other.id for other in like.pending],
        },
        "looks_like_host_id": like.machine.id if like.machine else None,
    }


def source_group(found: SourceGroup) -> dict[str, Any]:
    """A group; of the shell texts of its hooks only whether there are any."""
    return {"id": found.id} | group_form(form_of(found)) | {
        "has_pre_shell": found.pre_shell_sealed is not None,
        "has_post_shell": found.post_shell_sealed is not None,
        "template_id": found.template_id,
        "template_version": found.template_version if found.template_id else None,
        "changed_at": instant(found.changed_at),
    }  # fmt: skip


def group_form(form: SourceGroupForm) -> dict[str, Any]:
    """What a group says that a host and a template have alike."""
    return {name: getattr(form, name) for name in GROUP_FIELDS}


def _waits_for(found: Job) -> str | None:
    """What a job waits for; whoever may see some hosts only is not told on which other one that runs."""
    if not caller.scope():
        return found.waits_for or None
    return "waits for its turn at the repository" if found.waits_for else None


def job(found: Job) -> dict[str, Any]:
    """The job, without names of files in snapshots for who may not look into those."""
    may_read = caller.may(to_read(found.kind))
    progress = found.progress or {}
    return {
        "id": found.id,
        "kind": found.kind,
        "state": found.state,
        "outcome": found.outcome,
        "host_id": found.host_id,
        "repository_id": found.repository_id,
        "source_group": found.source_group or None,
        "reason": found.reason,
        "message": found.message if may_read else "",
        "exit_code": found.exit_code,
        "requested_by": found.requested_by,
        "schedule_id": found.schedule_id or None,
        "due_at": instant(found.due_at),
        "why_late": found.why_late or None,
        "attempt": found.attempt,
        "created_at": instant(found.created_at),
        "waits_for": _waits_for(found),
        "expires_at": instant(found.expires_at) if found.state == "queued" else None,
        "started_at": instant(found.started_at),
        "finished_at": instant(found.finished_at),
        "cancel_requested_at": instant(found.cancel_requested_at),
        "progress": (progress if may_read else {**progress, "current_files": []}) if progress else None,
        "summary": found.summary,
    }


def release(found: Release) -> dict[str, Any]:
    """A release; `id` is the sha256 of its manifest."""
    return {
        "id": found.id,
        "version": found.version,
        "seq": found.seq,
        "channel": found.channel,
        "state": "withdrawn" if found.withdrawn_at else "current" if found.is_current else "imported",
        "withdrawn_why": found.withdrawn_why,
        "released_at": instants.to_text(found.released_at),
        "expires_at": instants.to_text(found.expires_at),
        "imported_at": instants.to_text(found.imported_at),
        "imported_by": found.imported_by,
        "promoted_at": instants.to_text(found.promoted_at) if found.promoted_at else None,
        "key_id": found.key_id,
        "keyset_version": found.keyset_version,
        "guard_min": found.guard_min,
        "min_from_seq": found.min_from_seq,
        "artifacts": found.artifacts,
    }
