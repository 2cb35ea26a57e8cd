"""A host's schedules for programs, and the runs that did not take place."""

from dataclasses import replace
from typing import Any

from flask import Blueprint

from rm.api import caller, documents
from rm.api.operations import BY_PATH, operation
from rm.api.shapes import OFFSET, page_of, ref
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import schedule_outlook
from rm.services import schedules as service
from rm.services.schedule_outlook import Outlook
from rm.services.schedules import ScheduleForm
from rm.store import hosts, schedules, skipped_runs
from rm.store.models import Schedule, SkippedRun

routes = Blueprint("api_schedules", __name__, url_prefix="/api/v1/hosts/<host_id>")

PAGE = 100


@routes.get("/schedules")
@allows("fleet.view")
@operation({200: page_of("Schedule")}, scope=BY_PATH)
def index(host_id: str) -> dict[str, Any]:
    """Every schedule of a host with its next runs, in UTC and without the jitter."""
    found = schedule_outlook.list_for_host(host_id, now=runtime().clock())
    return {"items": [_document(one) for one in found], "next": None}


@routes.get("/schedules/<schedule_id>")
@allows("fleet.view")
@operation({200: ref("Schedule")}, scope=BY_PATH)
def show(host_id: str, schedule_id: str) -> dict[str, Any]:
    """One schedule with its next runs."""
    return _shown(schedules.get(schedule_id, host_id=host_id))


@routes.post("/schedules")
@allows("schedules.edit")
@operation({201: ref("Schedule")}, body=ref("NewSchedule"), scope=BY_PATH)
def create(host_id: str) -> tuple[dict[str, Any], int]:
    """A new schedule; `name`, `groups` (ids) and one of `cron` and `every_minutes` must be there."""
    body = documents.body()
    documents.text(body, "name")
    return _shown(_save(host_id, None, form(body, ScheduleForm()))), 201


@routes.put("/schedules/<schedule_id>")
@allows("schedules.edit")
@operation({200: ref("Schedule")}, body=ref("ScheduleForm"), scope=BY_PATH)
def change(host_id: str, schedule_id: str) -> dict[str, Any]:
    """A changed schedule; what the body does not name stays as it is."""
    found = schedules.get(schedule_id, host_id=host_id)
    runs = schedules.groups_by_schedule(host_id).get(schedule_id, [])
    base = ScheduleForm(
        name=found.name, cron=found.cron, every_minutes=found.every_minutes, jitter_seconds=found.jitter_seconds,
        is_enabled=found.is_enabled, groups=[group.id for group in runs],
    )  # fmt: skip
    return _shown(_save(host_id, schedule_id, form(documents.body(), base)))


@routes.delete("/schedules/<schedule_id>")
@allows("schedules.edit")
@operation({204: ""}, scope=BY_PATH)
def remove(host_id: str, schedule_id: str) -> tuple[str, int]:
    """Forget a schedule; nothing that ran is lost."""
    parts = runtime()
    service.remove(
        parts.bus, parts.vault, host_id=host_id, schedule_id=schedule_id, actor=caller.actor(), now=parts.clock()
    )
    return "", 204


@routes.get("/skipped-runs")
@allows("fleet.view")
@operation({200: page_of("SkippedRun")}, query={"offset": OFFSET}, scope=BY_PATH)
def skipped(host_id: str) -> dict[str, Any]:
    """Runs that were due and did not take place, the latest first; `next` goes into ?offset=, or is null."""
    host = hosts.get(host_id)
    offset = documents.number("offset", 0, 10**6)
    found = skipped_runs.list_for_host(host.id, limit=PAGE, offset=offset)
    return {"items": [_skipped(one) for one in found], "next": offset + PAGE if len(found) == PAGE else None}


def form(body: dict[str, Any], base: ScheduleForm) -> ScheduleForm:
    """What the body says of a schedule, and for the rest what `base` says; raises Invalid.

    Whoever names one way of timing need not empty the other.
    """
    found: dict[str, Any] = {name: documents.text(body, name) for name in ("name", "cron") if name in body}
    found |= {name: documents.whole(body, name, 0) for name in ("every_minutes", "jitter_seconds") if name in body}
    if "cron" in found and "every_minutes" not in found and found["cron"].strip():
        found["every_minutes"] = 0
    if found.get("every_minutes") and "cron" not in found:
        found["cron"] = ""
    if "is_enabled" in body:
        found["is_enabled"] = documents.flag(body, "is_enabled", True)
    if "groups" in body:
        found["groups"] = documents.texts(body, "groups")
    return replace(base, **found)


def _save(host_id: str, schedule_id: str | None, wanted: ScheduleForm) -> Schedule:
    parts = runtime()
    return service.save(
        parts.bus,
        parts.vault,
        host_id=host_id,
        schedule_id=schedule_id,
        form=wanted,
        actor=caller.actor(),
        now=parts.clock(),
    )


def _shown(found: Schedule) -> dict[str, Any]:
    return _document(schedule_outlook.of(found, now=runtime().clock()))


def _document(found: Outlook) -> dict[str, Any]:
    schedule = found.schedule
    return {
        "id": schedule.id,
        "name": schedule.name,
        "cron": schedule.cron or None,
        "every_minutes": schedule.every_minutes or None,
        "jitter_seconds": schedule.jitter_seconds,
        "is_enabled": schedule.is_enabled,
        "groups": [{"id": group.id, "name": group.name} for group in found.groups],
        "words": found.words,
        "timezone": found.zone,
        "next_runs": [documents.instant(run) for run in found.next_runs],
        "hints": found.hints,
        "template_id": schedule.template_id,
        "changed_at": documents.instant(schedule.changed_at),
    }


def _skipped(found: SkippedRun) -> dict[str, Any]:
    return {
        "id": found.id,
        "source_group": found.source_group,
        "schedule_id": found.schedule_id,
        "due_from": documents.instant(found.due_from),
        "due_to": documents.instant(found.due_to),
        "count": found.count,
        "reason": found.reason,
        "message": found.message,
        "job_id": found.job_id,
        "reported_at": documents.instant(found.at),
    }
