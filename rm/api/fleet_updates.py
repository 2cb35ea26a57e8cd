"""Fleet updates for programs: planning, starting, steering, and how they stand."""

from datetime import datetime
from typing import Any

from flask import Blueprint, request

from rm.api import caller, documents
from rm.api.operations import operation
from rm.api.shapes import ID, page_of, ref, text, whole
from rm.domain import fleet_explain
from rm.domain.fleet_options import NAMES, parse_options
from rm.domain.permissions import allows
from rm.errors import Invalid, RmError
from rm.runtime import runtime
from rm.services import fleet_updates as service
from rm.store import fleet_updates
from rm.store.models import FleetUpdate, FleetUpdateEvent

routes = Blueprint("api_fleet_updates", __name__, url_prefix="/api/v1/fleet-updates")

PAGE = 50
EVENTS = 200
MANAGE = "fleet_updates.manage"


@routes.get("")
@allows("fleet.view")
@operation({200: page_of("FleetUpdateHead", cursor=ID)}, query={"before": text(64)})
def index() -> dict[str, Any]:
    """Those that were started, the newest first, without their hosts; `next` goes into ?before=, or is null."""
    found = fleet_updates.list_page(limit=PAGE, before_id=request.args.get("before"))
    return {"items": [head(one) for one in found], "next": found[-1].id if len(found) == PAGE else None}


@routes.post("")
@allows(MANAGE)
@operation({201: ref("FleetUpdate")}, body=ref("NewFleetUpdate"))
def create() -> tuple[dict[str, Any], int]:
    """Plan, and start unless it is a dry run, whose plan can be started later."""
    parts, body, actor = runtime(), documents.body(), caller.actor()
    strange = sorted(set(body) - {*NAMES, "dry_run"})
    if strange:
        raise Invalid({name[:50]: "There is no such option." for name in strange[:10]})
    is_dry = _flag(body, "dry_run")
    now = parts.clock()
    make = service.plan if is_dry else service.begin
    return document(make(parts.bus, options=body, actor=actor, now=now)), 201


@routes.get("/<fleet_update_id>")
@allows("fleet.view")
@operation({200: ref("FleetUpdate")})
def show(fleet_update_id: str) -> dict[str, Any]:
    """One fleet update with its hosts and what happens next."""
    return document(fleet_updates.get(fleet_update_id))


@routes.get("/<fleet_update_id>/events")
@allows("fleet.view")
@operation({200: page_of("FleetUpdateEvent")}, query={"after": whole(0, 2**53)})
def events(fleet_update_id: str) -> dict[str, Any]:
    """What happened, in order; `next` goes into ?after=, or is null."""
    after = documents.number("after", 0, 2**53)
    found = fleet_updates.events(fleet_updates.get(fleet_update_id).id, after_id=after, limit=EVENTS)
    return {"items": [_event(one) for one in found], "next": found[-1].id if len(found) == EVENTS else None}


@routes.get("/<fleet_update_id>/hosts/<host_id>/explain")
@allows("fleet.view")
@operation({200: ref("FleetUpdateExplained")})
def explain(fleet_update_id: str, host_id: str) -> dict[str, Any]:
    """Why this host is not being updated now, in a sentence."""
    now = runtime().clock()
    row = fleet_updates.host(fleet_updates.get(fleet_update_id).id, host_id)
    said = service.explain(fleet_update_id=fleet_update_id, host_id=host_id, now=now)
    return {"host_id": host_id, "state": row.state, "verdict": row.verdict, "explanation": said}


@routes.post("/<fleet_update_id>/start")
@allows(MANAGE)
@operation({200: ref("FleetUpdate")}, body=ref("FleetUpdateStart"), may_be_empty=True)
def start(fleet_update_id: str) -> dict[str, Any]:
    """Start a dry run's plan; with accept_changes the fleet as it is now."""
    accepts = _flag(documents.body_or_nothing(), "accept_changes")
    return _steered(service.start, fleet_update_id, accepts_changes=accepts)


@routes.post("/<fleet_update_id>/pause")
@allows(MANAGE)
@operation({200: ref("FleetUpdate")}, body=ref("Reason"), may_be_empty=True)
def pause(fleet_update_id: str) -> dict[str, Any]:
    """Start nothing new; what has begun to swap finishes."""
    return _steered(service.pause, fleet_update_id, reason=_reason())


@routes.post("/<fleet_update_id>/resume")
@allows(MANAGE)
@operation({200: ref("FleetUpdate")}, body=ref("Reason"), may_be_empty=True)
def resume(fleet_update_id: str) -> dict[str, Any]:
    """Go on after a pause or a halt."""
    return _steered(service.resume, fleet_update_id, reason=_reason())


@routes.post("/<fleet_update_id>/cancel")
@allows(MANAGE)
@operation({200: ref("FleetUpdate")}, body=ref("FleetUpdateCancel"), may_be_empty=True)
def cancel(fleet_update_id: str) -> dict[str, Any]:
    """Softly after the current hosts, or hard; the default is soft."""
    mode = documents.text(documents.body_or_nothing(), "mode", "soft")
    return _steered(service.cancel, fleet_update_id, mode=mode, reason=_reason())


@routes.post("/<fleet_update_id>/retry-failed")
@allows(MANAGE)
@operation({200: ref("FleetUpdate")}, body=ref("FleetUpdateHosts"), may_be_empty=True)
def retry_failed(fleet_update_id: str) -> dict[str, Any]:
    """Try the failed hosts again, or these of them."""
    return _steered(service.retry_failed, fleet_update_id, reason=_reason(), host_ids=_host_ids())


@routes.post("/<fleet_update_id>/skip")
@allows(MANAGE)
@operation({200: ref("FleetUpdate")}, body=ref("FleetUpdateHosts"), may_be_empty=True)
def skip(fleet_update_id: str) -> dict[str, Any]:
    """Leave hosts out; wants a reason."""
    return _steered(service.skip, fleet_update_id, reason=_reason(), host_ids=_host_ids())


@routes.post("/<fleet_update_id>/rollback")
@allows(MANAGE)
@operation({200: ref("FleetUpdate")}, body=ref("Reason"), may_be_empty=True)
def roll_back(fleet_update_id: str) -> dict[str, Any]:
    """Roll the updated hosts back, the newest first; wants a reason."""
    return _steered(service.roll_back, fleet_update_id, reason=_reason())


@routes.post("/<fleet_update_id>/close")
@allows(MANAGE)
@operation({200: ref("FleetUpdate")}, body=ref("Reason"), may_be_empty=True)
def close(fleet_update_id: str) -> dict[str, Any]:
    """End a run that only waits for hosts that are offline."""
    return _steered(service.close, fleet_update_id, reason=_reason())


def head(found: FleetUpdate) -> dict[str, Any]:
    """A fleet update without its hosts."""
    sizes = fleet_updates.counts(found.id)
    return {
        "id": found.id,
        "state": found.state,
        "reason": found.reason,
        "release_id": found.release_id,
        "to_version": found.to_version,
        "to_seq": found.to_seq,
        "options": parse_options(found.options).as_json(),
        "estimate_seconds": found.estimate_seconds,
        "counts": sizes,
        "halted_host_id": found.halted_host_id,
        "created_by": found.created_by,
        "created_at": documents.instant(found.created_at),
        "started_at": documents.instant(found.started_at),
        "ended_at": documents.instant(found.ended_at),
    }


def document(found: FleetUpdate) -> dict[str, Any]:
    """A fleet update with every host of it, and what happens next."""
    now = runtime().clock()
    shown = head(found) | {
        "next": fleet_explain.next_sentence(service.load(found, now=now), now),
        "hosts": [
            {
                "host_id": row.host_id,
                "name": row.host.name,
                "verdict": row.verdict,
                "reason": row.reason,
                "wave": row.wave if row.wave >= 0 else None,
                "position": row.position,
                "state": row.state,
                "attempt_id": row.attempt_id,
                "changed_at": documents.instant(row.changed_at),
            }
            for row in fleet_updates.list_hosts(found.id)
        ],
    }
    return shown | (_prospects(found, now) if found.state == "planned" else {})


def _prospects(found: FleetUpdate, now: datetime) -> dict[str, Any]:
    """What a plan says beside its hosts, and what has changed since; a plan that can no longer be made says why."""
    try:
        planned, changed = service.preview(found.options, now=now), service.differences(found.id, now=now)
    except RmError as problem:
        return {"uncovered_platforms": [], "suggestion": None, "changes": [problem.message]}
    quicker = planned.suggestion
    return {
        "uncovered_platforms": list(planned.uncovered),
        "suggestion": quicker
        and {
            "canaries": quicker.canaries,
            "waves": [wave.raw for wave in quicker.waves],
            "max_in_flight": quicker.max_in_flight,
            "estimate_seconds": quicker.estimate_seconds,
        },
        "changes": changed,
    }


def _steered(service_call: Any, fleet_update_id: str, **chosen: Any) -> dict[str, Any]:
    parts = runtime()
    found = service_call(parts.bus, fleet_update_id=fleet_update_id, actor=caller.actor(), now=parts.clock(), **chosen)
    return document(found)


def _event(found: FleetUpdateEvent) -> dict[str, Any]:
    return {
        "id": found.id,
        "at": documents.instant(found.at),
        "kind": found.kind,
        "host_id": found.host_id,
        "actor": found.actor,
        "text": found.text,
    }


def _reason() -> str:
    return documents.text(documents.body_or_nothing(), "reason", "")


def _host_ids() -> list[str]:
    return documents.texts(documents.body_or_nothing(), "host_ids")


def _flag(source: dict[str, Any], name: str) -> bool:
    value = source.get(name, False)
    if not isinstance(value, bool):
        raise Invalid({name: "must be true or false"}, f"{name} must be true or false.")
    return value
