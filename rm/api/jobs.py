"""Jobs for programs: ordering, looking, cancelling, reading the log."""

from typing import Any

from flask import Blueprint, Response, request

from rm.api import caller, documents, updates
from rm.api.operations import BY_PATH, TEXT_PLAIN, operation
from rm.api.shapes import ID, page_of, ref, text, whole
from rm.domain import jobs as rules
from rm.domain.permissions import allows
from rm.errors import Forbidden
from rm.runtime import runtime
from rm.services import jobs as service
from rm.services import token_scope
from rm.store import hosts, jobs
from rm.store import updates as attempts
from rm.store.models import Job

routes = Blueprint("api_jobs", __name__, url_prefix="/api/v1")

PAGE = 50
LINES = 1000


@routes.get("/hosts/<host_id>/jobs")
@allows("fleet.view")
@operation({200: page_of("Job", cursor=ID)}, query={"before": text(64)}, scope=BY_PATH)
def index(host_id: str) -> dict[str, Any]:
    """A host's jobs, newest first; `next` goes into ?before=, or is null."""
    host = hosts.get(host_id)
    found = jobs.list_for_host(host.id, limit=PAGE, before_id=request.args.get("before"))
    return {"items": [documents.job(job) for job in found], "next": found[-1].id if len(found) == PAGE else None}


@routes.post("/hosts/<host_id>/jobs")
@allows("jobs.run")
@operation({202: ref("JobOrdered")}, body=ref("NewJob"), scope=BY_PATH)
def order(host_id: str) -> tuple[dict[str, Any], int]:
    """Order a job; it waits while the host is away."""
    parts = runtime()
    body = documents.body()
    kind = documents.text(body, "kind")
    _refuse_for_others(kind, host_id)
    job = service.order(
        parts.bus,
        host_id=host_id,
        kind=kind,
        source_group_id=documents.text(body, "source_group_id", "") or None,
        subset=documents.text(body, "subset", ""),
        actor=caller.actor(),
        now=parts.clock(),
    )
    return {"job_id": job.id}, 202


@routes.get("/jobs/<job_id>")
@allows("fleet.view")
@operation({200: ref("Job")}, scope=BY_PATH)
def show(job_id: str) -> dict[str, Any]:
    """A job; one of the kind `update` also says how its attempt stands."""
    found = documents.job(jobs.get(job_id))
    attempt = attempts.find(job_id)
    return found if attempt is None else found | {"update": updates.document(attempt)}


@routes.post("/jobs/<job_id>/cancel")
@allows("jobs.cancel")
@operation({202: ref("Job")}, scope=BY_PATH)
def cancel(job_id: str) -> tuple[dict[str, Any], int]:
    """End a job that waits, or have the host end it."""
    parts = runtime()
    job = service.cancel(parts.bus, job_id=job_id, actor=caller.actor(), now=parts.clock())
    return documents.job(job), 202


@routes.post("/jobs/<job_id>/again")
@allows("jobs.run")
@operation({202: ref("JobOrdered")}, scope=BY_PATH)
def again(job_id: str) -> tuple[dict[str, Any], int]:
    """Order the same again, with the source group as it is now."""
    parts = runtime()
    found = jobs.get(job_id)
    _refuse_for_others(found.kind, found.host_id)
    job = service.order_again(parts.bus, job_id=job_id, actor=caller.actor(), now=parts.clock())
    return {"job_id": job.id}, 202


@routes.get("/jobs/<job_id>/log")
@allows("fleet.view")
@operation({200: page_of("LogLine")}, query={"after": whole(0, 2**53), "limit": whole(1, LINES)}, scope=BY_PATH)
def lines(job_id: str) -> dict[str, Any]:
    """The log in order; `next` goes into ?after= for the lines that follow, and is null when there are none yet."""
    job = _readable(job_id)
    limit = documents.number("limit", LINES, LINES)
    found = jobs.log_lines(job.id, after_n=documents.number("after", 0, 2**53), limit=limit)
    items = [
        {"n": line.n, "at": documents.instant(line.at), "stream": line.stream, "text": line.text} for line in found
    ]  # fmt: skip
    return {"items": items, "next": found[-1].n if len(found) == limit else None}


@routes.get("/jobs/<job_id>/log.txt")
@allows("fleet.view")
@operation({200: TEXT_PLAIN}, scope=BY_PATH)
def log(job_id: str) -> Response:
    """The last thousand lines as text; the page's download has all."""
    job = _readable(job_id)
    lines = jobs.last_log_lines(job.id, limit=1000)
    text = "".join(f"{documents.instant(line.at)} {line.stream:5} {line.text}\n" for line in lines)
    return Response(text, mimetype="text/plain; charset=utf-8")


def _refuse_for_others(kind: str, host_id: str) -> None:
    """Raises Forbidden where a token for some hosts would change a repository that others use too."""
    if caller.scope() and kind in rules.CHANGING_ALL:
        token_scope.check_own_repository(caller.scope(), host_id)


def _readable(job_id: str) -> Job:
    """The job; raises Forbidden where its log names files to who may not look into snapshots."""
    job = jobs.get(job_id)
    if not caller.may(rules.to_read(job.kind)):
        raise Forbidden("The log names files in snapshots, which takes the role of an operator.")
    if caller.scope():
        token_scope.check_log(caller.scope(), kind=job.kind, repository_id=job.repository_id)
    return job
