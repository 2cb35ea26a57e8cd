"""Jobs: ordering, watching, cancelling, and their logs."""

from collections.abc import Iterator

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain import jobs as rules
from rm.domain.permissions import allows
from rm.errors import Forbidden
from rm.runtime import runtime
from rm.services import jobs as service
from rm.services import updates
from rm.shared import instants
from rm.store import jobs
from rm.store.database import connection
from rm.web import context, job_view
from rm.web.layout import go, page
from rm.web.security import redirect_to

blueprint = Blueprint("jobs", __name__)

LINES_PER_CHUNK = 1000
ASK = "Ask an operator to look, or an administrator for the role of one."


@blueprint.post("/hosts/<host_id>/jobs")
@allows("jobs.run")
def order(host_id: str) -> AnyResponse:
    """Queue a job and go to its page."""
    job = service.order(
        runtime().bus, host_id=host_id, kind=request.form.get("kind", ""),
        source_group_id=request.form.get("source_group_id") or None, subset=request.form.get("subset", "").strip(),
        actor=context.actor(), now=context.now(),
    )  # fmt: skip
    return redirect_to(f"/jobs/{job.id}")


@blueprint.get("/jobs/<job_id>")
@allows("fleet.view")
def show(job_id: str) -> Response:
    """A job: its state, figures, command and log, live while it runs."""
    job = jobs.get(job_id)
    user = context.user()
    values = job_view.values(
        job, role=user.role if user else "", now=context.now(), base_url=runtime().settings.base_url
    )
    logged = job_view.log_values(job, context.now()) if values["may_read"] else {"lines": []}
    after = logged["lines"][-1].n if logged["lines"] else 0
    # A job that is over may still be corrected, or send the rest of its log.
    live_url = f"/live/jobs/{job_id}?after={after}"
    return page("jobs/show.html", section="fleet", live_url=live_url, **(values | logged))


@blueprint.get("/jobs/<job_id>/log.txt")
@allows("fleet.view")
def download_log(job_id: str) -> Response:
    """The whole log as text, sent piece by piece; raises Forbidden for one that names files to who may not see them."""
    job = jobs.get(job_id)
    if not context.may(rules.to_read(job.kind)):
        raise Forbidden("The log names files in snapshots, which your role does not look into.", help=ASK)
    response = Response(_log_text(job.id), mimetype="text/plain; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="job-{job.id}.txt"'
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/jobs/<job_id>/cancel")
@allows("jobs.cancel")
def ask_cancel(job_id: str) -> AnyResponse:
    """The question before cancelling, for browsers without dialogs."""
    job = jobs.get(job_id)
    if job.state == "finished":
        return redirect_to(f"/jobs/{job_id}")
    points = job_view.CANCEL_POINTS.get(job.kind, job_view.CANCEL_POINTS[""])
    what = "update" if job.kind == "update" else "job"
    return page(
        "shared/confirm.html", section="fleet", title=f"Cancel this {what}", action=f"/jobs/{job_id}/cancel",
        verb=f"Cancel {what}", points=points, typed="", error="", back=f"/jobs/{job_id}",
    )  # fmt: skip


@blueprint.post("/jobs/<job_id>/cancel")
@allows("jobs.cancel")
def cancel(job_id: str) -> AnyResponse:
    """End a job that waits, or have the host end it."""
    cancel_one = updates.cancel if jobs.get(job_id).kind == "update" else service.cancel
    cancel_one(runtime().bus, job_id=job_id, actor=context.actor(), now=context.now())
    return go(f"/jobs/{job_id}", "cancel_asked")


@blueprint.post("/jobs/<job_id>/again")
@allows("jobs.run")
def run_again(job_id: str) -> AnyResponse:
    """Order the same again, with the source group as it is now."""
    again = service.order_again(runtime().bus, job_id=job_id, actor=context.actor(), now=context.now())
    return redirect_to(f"/jobs/{again.id}")


def _log_text(job_id: str) -> Iterator[str]:
    after = 0
    while True:
        # A slow reader must not hold a connection: one per piece.
        with connection():
            lines = jobs.log_lines(job_id, after_n=after, limit=LINES_PER_CHUNK)
        if not lines:
            return
        yield "".join(f"{instants.to_text(line.at)} {line.stream:5} {_one_line(line.text)}\n" for line in lines)
        after = lines[-1].n


def _one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n").encode("utf-8", "replace").decode()
