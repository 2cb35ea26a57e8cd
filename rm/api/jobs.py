"""Jobs for programs: ordering, looking, cancelling, reading the log."""

from typing import Any

from flask import Blueprint, Response, request

from rm.api import documents, updates
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import jobs as service
from rm.store import hosts, jobs
from rm.store import updates as attempts

routes = Blueprint("api_jobs", __name__, url_prefix="/api/v1")

PAGE = 50


@routes.get("/hosts/<host_id>/jobs")
@allows("fleet.view")
def index(host_id: str) -> dict[str, Any]:
    """A host's jobs, newest first; `next` goes into ?before=, or is null."""
    host = hosts.get(host_id)
    found = jobs.list_for_host(host.id, limit=PAGE, before_id=request.args.get("before"))
    return {"items": [documents.job(job) for job in found], "next": found[-1].id if len(found) == PAGE else None}


@routes.post("/hosts/<host_id>/jobs")
@allows("jobs.run")
def order(host_id: str) -> tuple[dict[str, Any], int]:
    parts = runtime()
    body = documents.body()
    job = service.order(
        parts.bus,
        host_id=host_id,
        kind=documents.text(body, "kind"),
        source_group_id=documents.text(body, "source_group_id", "") or None,
        subset=documents.text(body, "subset", ""),
        actor=documents.actor(),
        now=parts.clock(),
    )
    return {"job_id": job.id}, 202


@routes.get("/jobs/<job_id>")
@allows("fleet.view")
def show(job_id: str) -> dict[str, Any]:
    """A job; one of the kind `update` also says how its attempt stands."""
    found = documents.job(jobs.get(job_id))
    attempt = attempts.find(job_id)
    return found if attempt is None else found | {"update": updates.document(attempt)}


@routes.post("/jobs/<job_id>/cancel")
@allows("jobs.cancel")
def cancel(job_id: str) -> tuple[dict[str, Any], int]:
    parts = runtime()
    job = service.cancel(parts.bus, job_id=job_id, actor=documents.actor(), now=parts.clock())
    return documents.job(job), 202


@routes.get("/jobs/<job_id>/log.txt")
@allows("fleet.view")
def log(job_id: str) -> Response:
    """The last thousand lines as text; the page's download has all."""
    job = jobs.get(job_id)
    lines = jobs.last_log_lines(job.id, limit=1000)
    text = "".join(f"{documents.instant(line.at)} {line.stream:5} {line.text}\n" for line in lines)
    return Response(text, mimetype="text/plain; charset=utf-8")
