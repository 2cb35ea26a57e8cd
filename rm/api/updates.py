"""Updates of single hosts for programs: ordering, rolling back, holding, and how an attempt stands."""

from typing import Any

from flask import Blueprint

from rm.api import caller, documents
from rm.api.operations import BY_PATH, operation
from rm.api.shapes import ref
from rm.domain.permissions import allows
from rm.domain.update_words import standing
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import updates as service
from rm.services.update_steps import facts
from rm.store import hosts, updates
from rm.store.models import UpdateAttempt

routes = Blueprint("api_updates", __name__, url_prefix="/api/v1/hosts")


@routes.post("/<host_id>/update")
@allows("updates.run")
@operation({202: ref("AttemptOrdered")}, body=ref("UpdateOrder"), may_be_empty=True, scope=BY_PATH)
def order(host_id: str) -> tuple[dict[str, Any], int]:
    """An attempt to bring a host to the current release; again: the same. The body may be empty.

    `soak_seconds` is how long the host must stay healthy after its hello, 60 by default.
    """
    parts = runtime()
    body = documents.body_or_nothing()
    soak_seconds = documents.whole(body, "soak_seconds", 0) if "soak_seconds" in body else None
    attempt = service.order(
        parts.bus, host_id=host_id, actor=caller.actor(), now=parts.clock(), force=_flag(body, "force"),
        reason=documents.text(body, "reason", ""), soak_seconds=soak_seconds,
    )  # fmt: skip
    return {"attempt_id": attempt.job_id}, 202


@routes.post("/<host_id>/rollback")
@allows("updates.run")
@operation({202: ref("AttemptOrdered")}, body=ref("Reason"), may_be_empty=True, scope=BY_PATH)
def roll_back(host_id: str) -> tuple[dict[str, Any], int]:
    """An attempt to put the agent back that ran before the last update."""
    parts = runtime()
    reason = documents.text(documents.body_or_nothing(), "reason", "")
    attempt = service.order_rollback(parts.bus, host_id=host_id, actor=caller.actor(), now=parts.clock(), reason=reason)
    return {"attempt_id": attempt.job_id}, 202


@routes.post("/<host_id>/hold")
@allows("hosts.hold")
@operation({200: ref("Host")}, body=ref("Reason"), may_be_empty=True, scope=BY_PATH)
def hold(host_id: str) -> dict[str, Any]:
    """Keep a host from being updated; wants a reason."""
    parts = runtime()
    reason = documents.text(documents.body_or_nothing(), "reason", "")
    service.hold(parts.bus, host_id=host_id, reason=reason, actor=caller.actor(), now=parts.clock())
    return documents.host(hosts.row(host_id, now=parts.clock()))


@routes.post("/<host_id>/unhold")
@allows("hosts.hold")
@operation({200: ref("Host")}, scope=BY_PATH)
def unhold(host_id: str) -> dict[str, Any]:
    """Let a held host be updated again."""
    parts = runtime()
    service.unhold(parts.bus, host_id=host_id, actor=caller.actor(), now=parts.clock())
    return documents.host(hosts.row(host_id, now=parts.clock()))


def document(attempt: UpdateAttempt) -> dict[str, Any]:
    """An attempt as the API shows it within its job."""
    stands = standing(facts(attempt))
    return {
        "state": attempt.state,
        "phase": attempt.phase or None,
        "percent": attempt.percent,
        "provisional": attempt.is_provisional,
        "late": attempt.is_late,
        "proven": attempt.is_proven,
        "rollback": attempt.is_rollback,
        "revert_failed": attempt.is_revert_failed,
        "from": attempt.from_version,
        "from_seq": attempt.from_seq,
        "to": attempt.to_version,
        "to_seq": attempt.to_seq,
        "reason": attempt.reason,
        "failure_class": attempt.failure_class or None,
        "forced": attempt.is_forced,
        "fleet_update_id": attempt.fleet_update_id,
        "since": documents.instant(stands.since),
        "deadline_at": documents.instant(stands.deadline),
        "now": stands.now,
        "next": stands.next,
        "message": stands.said,
        "events": [
            {"at": documents.instant(one.at), "state": one.state, "phase": one.phase or None, "text": one.text}
            for one in updates.events(attempt.job_id)
        ],
    }


def _flag(source: dict[str, Any], name: str) -> bool:
    value = source.get(name, False)
    if not isinstance(value, bool):
        raise Invalid({name: "must be true or false"}, f"{name} must be true or false.")
    return value
