"""How repositories are kept in order, for programs: plans, doing it at once, sizes, and what a retention would do."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from flask import Blueprint

from rm.api import caller, documents
from rm.api.operations import BY_PATH, operation
from rm.api.shapes import page_of, ref, whole
from rm.domain import maintenance as rules
from rm.domain.permissions import allows
from rm.errors import Invalid, NotFound
from rm.runtime import runtime
from rm.services import maintenance as service
from rm.services import maintenance_policies, retention_changes, token_scope
from rm.services.maintenance_outlook import Next, outlook
from rm.services.maintenance_policies import DEFAULTS, PolicyForm
from rm.store import hosts, maintenance, repositories, source_groups

routes = Blueprint("api_maintenance", __name__, url_prefix="/api/v1")

MOST_DAYS = 800


@routes.get("/repositories/<repository_id>/maintenance")
@allows("fleet.view")
@operation({200: page_of("Maintenance")}, scope=BY_PATH)
def index(repository_id: str) -> dict[str, Any]:
    """Each kind with its plan, how it went last, and what comes next."""
    found = outlook(repository_id, now=runtime().clock())
    return {"items": [_document(one) for one in found], "next": None}


@routes.put("/repositories/<repository_id>/maintenance/<kind>")
@allows("maintenance.edit")
@operation({200: ref("Maintenance")}, body=ref("MaintenanceForm"), scope=BY_PATH)
def change(repository_id: str, kind: str) -> dict[str, Any]:
    """Change one kind; what is not in the body stays as it is."""
    parts, body = runtime(), documents.body()
    repositories.get(repository_id)
    policy = maintenance.find(repository_id, _known(kind))
    before = maintenance_policies.form_of(policy) if policy is not None else DEFAULTS[kind]
    maintenance_policies.save(
        parts.bus, repository_id=repository_id, kind=kind, form=_form(body, before), actor=caller.actor(),
        now=parts.clock(),
    )  # fmt: skip
    return _one(repository_id, kind)


@routes.post("/repositories/<repository_id>/maintenance/<kind>/run")
@allows("jobs.run")
@operation({202: page_of("Job")}, scope=BY_PATH)
def run(repository_id: str, kind: str) -> tuple[dict[str, Any], int]:
    """Order one kind at once: its jobs, one for each source group of a forget."""
    parts = runtime()
    made = service.run_now(
        parts.bus, repository_id=repository_id, kind=_known(kind), actor=caller.actor(), now=parts.clock()
    )
    return {"items": [documents.job(job) for job in made], "next": None}, 202


@routes.get("/repositories/<repository_id>/sizes")
@allows("fleet.view")
@operation({200: page_of("SizeOfDay")}, query={"days": whole(0, MOST_DAYS)}, scope=BY_PATH)
def sizes(repository_id: str) -> dict[str, Any]:
    """The last figures of each day, oldest first; `days` says how far back."""
    repositories.get(repository_id)
    days = max(1, documents.number("days", 30, MOST_DAYS))
    since = (runtime().clock().date() - timedelta(days=days - 1)).isoformat()
    found = maintenance.list_days(repository_id, since=since)
    items = [
        {"day": row.day, "total_bytes": row.total_bytes, "snapshot_count": row.snapshot_count} for row in found
    ]  # fmt: skip
    return {"items": items, "next": None}


@routes.post("/hosts/<host_id>/source-groups/<group_id>/retention-preview")
@allows("sources.edit")
@operation(
    {200: ref("RetentionPreview")}, body=ref("RetentionQuestion"), may_be_empty=True, scope=BY_PATH, waits=True,
    fails_clean=True,
)  # fmt: skip
def preview(host_id: str, group_id: str) -> dict[str, Any]:
    """What a `retention` (the group's own without one) would keep and remove now; changes nothing."""
    host, now = hosts.get(host_id), runtime().clock()
    group = source_groups.get(group_id, host_id=host_id)
    retention = documents.body_or_nothing().get("retention", group.retention)
    if not isinstance(retention, dict):
        raise Invalid({"retention": "must be an object"}, "retention must be an object.")
    found = retention_changes.preview(host=host, group_name=group.name, retention=retention, now=now)
    if found.problem:
        raise Invalid({"retention": found.problem})
    needs = retention_changes.needs_confirmation(
        host=host, group_name=group.name, before=retention_changes.looked_at(group), retention=retention, now=now
    )
    return {
        "listed_at": documents.instant(found.listing.taken_at) if found.listing is not None else None,
        "is_stale": found.is_stale,
        "kept": [{"id": fate.snapshot.id, "reasons": list(fate.reasons)} for fate in found.kept],
        "removed": [{"id": fate.snapshot.id} for fate in found.removed],
        "needs_typed_name": needs is not None,
        "why": needs or "",
    }


def _known(kind: str) -> str:
    if kind not in rules.KINDS:
        raise NotFound(f"There is no such maintenance; there are {', '.join(rules.KINDS)}.")
    return kind


def _form(body: dict[str, Any], before: PolicyForm) -> PolicyForm:
    is_enabled = body.get("is_enabled", before.is_enabled)
    if not isinstance(is_enabled, bool):
        raise Invalid({"is_enabled": "must be true or false"}, "is_enabled must be true or false.")
    numbers = {
        name: documents.whole(body, name, getattr(before, name)) for name in ("every_hours", "box_minutes", "parts")
    }
    texts = {
        name: documents.text(body, name, getattr(before, name)) for name in ("window_from", "window_to", "timezone")
    }
    return replace(before, is_enabled=is_enabled, **numbers, **texts)


def _one(repository_id: str, kind: str) -> dict[str, Any]:
    found = outlook(repository_id, now=runtime().clock())
    return next(_document(one) for one in found if one.policy.kind == kind)


def _document(found: Next) -> dict[str, Any]:
    policy, decision = found.policy, found.decision
    # Its words name hosts and groups, of which whoever may see some hosts only is not told.
    tags = caller.scope()
    names_others = bool(tags) and not token_scope.is_own_repository(tags, policy.repository_id)
    return vars(maintenance_policies.form_of(policy)) | {
        "kind": policy.kind,
        "next_part": policy.next_part if policy.parts else None,
        "round_started_at": documents.instant(policy.round_started_at),
        "last_job_id": None if names_others else policy.last_job_id,
        "last_started_at": documents.instant(policy.last_started_at),
        "last_ended_at": documents.instant(policy.last_ended_at),
        "last_outcome": policy.last_outcome or None,
        "last_message": "" if names_others else policy.last_message,
        "next": {
            "code": decision.code,
            "text": "" if names_others else decision.text,
            "at": documents.instant(decision.at),
        },
        "note": "" if names_others else found.note,
    }
