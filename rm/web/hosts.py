"""Pages of the fleet and of each host, and what can be done there to a host itself."""

from typing import Any

from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import hosts as service
from rm.shared.words import counted
from rm.store import hosts, jobs
from rm.web import context, fleet_view, host_view, snapshot_view, update_questions
from rm.web.fleet_view import Query
from rm.web.layout import go, page

blueprint = Blueprint("hosts", __name__)

MODES = (
    ("always_on", "Always on", "A server. It is asked first when a repository needs its maintenance done."),
    ("intermittent", "Intermittent", "A laptop, or a machine that sleeps. When its backups are late, each group says."),
)  # fmt: skip


def asked_for(args: MultiDict[str, str]) -> Query:
    """The list that a query string asks for; what makes no sense is left out."""
    number = args.get("page", "1")
    status = args.get("status", "")
    return Query(
        q=args.get("q", "").strip()[:200],
        tag=args.get("tag", "")[:50],
        status=status if status in fleet_view.STATUSES else "",
        page=max(1, int(number)) if number.isdecimal() and len(number) < 7 else 1,
    )


@blueprint.get("/")
@allows("fleet.view")
def index() -> Response:
    """The fleet: its verdict, what needs somebody, and the hosts."""
    query = asked_for(request.args)
    values = fleet_view.values(query, context.now())
    return page("hosts/list.html", section="fleet", live_url=query.url("/live/fleet"), is_live_inside=True, **values)


@blueprint.get("/hosts/<host_id>")
@allows("fleet.view")
def show(host_id: str) -> Response:
    """A host at a glance."""
    dialogs = update_questions.for_host(
        hosts.get(host_id), may_order=context.may("updates.run"), may_cancel=context.may("jobs.cancel")
    )
    return _tab("hosts/show.html", host_id, "overview", dialogs=dialogs)


@blueprint.get("/hosts/<host_id>/snapshots")
@allows("fleet.view")
def list_snapshots(host_id: str) -> Response:
    """The host's snapshots as last listed."""
    query = snapshot_view.asked_for(request.args)
    live_url = query.url(f"/live/hosts/{host_id}", tab="snapshots")
    return _tab("hosts/snapshots.html", host_id, "snapshots", query=query, live_url=live_url, is_live_inside=True)


@blueprint.get("/hosts/<host_id>/jobs")
@allows("fleet.view")
def list_jobs(host_id: str) -> Response:
    """The host's jobs, newest first."""
    before = request.args.get("before", "")[:26] or None
    found = jobs.list_for_host(host_id, limit=host_view.JOBS_PER_PAGE + 1, before_id=before)
    shown = found[: host_view.JOBS_PER_PAGE]
    path = f"/hosts/{host_id}/jobs"
    count = jobs.count_for_host(host_id)
    pager = {
        "said": f"{counted(count, 'job')} in all, newest first",
        "previous": path if before else "",
        "previous_word": "Newest",
        "next": f"{path}?before={shown[-1].id}" if len(found) > len(shown) else "",
        "next_word": "Older",
    }
    return _tab("hosts/jobs.html", host_id, "jobs", jobs=shown, pager=pager)


@blueprint.get("/hosts/<host_id>/settings")
@allows("fleet.view")
def show_settings(host_id: str) -> Response:
    """Name, tags and mode of a host, and the ways to part with it."""
    host = hosts.get(host_id)
    values = {"name": host.name, "tags": ", ".join(hosts.tags_of(host_id)), "mode": host.mode}
    return _settings(host_id, values, {})


@blueprint.post("/hosts/<host_id>/settings")
@allows("hosts.edit")
def save_settings(host_id: str) -> AnyResponse:
    """Save name, tags and mode."""
    hosts.get(host_id)
    form = request.form
    values = {"name": form.get("name", ""), "tags": form.get("tags", ""), "mode": form.get("mode", "always_on")}
    bus, actor, now = runtime().bus, context.actor(), context.now()
    wrong: dict[str, str] = {}
    for save in (
        lambda: service.rename(bus, host_id=host_id, name=values["name"], actor=actor, now=now),
        lambda: service.set_tags(bus, host_id=host_id, tags=tuple(values["tags"].split(",")), actor=actor, now=now),
        lambda: service.set_mode(bus, host_id=host_id, mode=values["mode"], actor=actor, now=now),
    ):
        try:
            save()
        except Invalid as error:
            wrong |= error.fields
    if wrong:
        return _settings(host_id, values, wrong, status=422)
    return go(f"/hosts/{host_id}/settings", "host_saved")


@blueprint.get("/hosts/<host_id>/revoke")
@allows("hosts.revoke")
def ask_revoke(host_id: str) -> Response:
    """The question before revoking, for browsers without dialogs."""
    return _confirm_revoke(host_id)


@blueprint.post("/hosts/<host_id>/revoke")
@allows("hosts.revoke")
def revoke(host_id: str) -> AnyResponse:
    """End the host's credential and its connection."""
    service.revoke_credential(runtime().bus, host_id=host_id, actor=context.actor(), now=context.now())
    return go(f"/hosts/{host_id}", "host_revoked")


@blueprint.get("/hosts/<host_id>/remove")
@allows("hosts.remove")
def ask_remove(host_id: str) -> Response:
    """The question before removing, for browsers without dialogs."""
    return _confirm_remove(host_id)


@blueprint.post("/hosts/<host_id>/remove")
@allows("hosts.remove")
def remove(host_id: str) -> AnyResponse:
    """Forget a host whose name was typed."""
    typed = request.form.get("typed_name", "")
    try:
        service.remove(runtime().bus, host_id=host_id, typed_name=typed, actor=context.actor(), now=context.now())
    except Invalid as error:
        return _confirm_remove(host_id, error.fields.get("typed_name", error.message), status=422)
    return go("/", "host_removed")


def _tab(
    template: str, host_id: str, tab: str, *, status: int = 200, query: snapshot_view.Query | None = None, **more: Any
) -> Response:
    user = context.user()
    values = host_view.values(
        host_id, tab=tab, role=user.role if user else "", now=context.now(), base_url=runtime().settings.base_url,
        snapshot_query=query,
    )  # fmt: skip
    live_url = f"/live/hosts/{host_id}?tab={tab}"
    return page(template, status=status, section="fleet", **({"live_url": live_url} | values | more))


def _settings(host_id: str, values: dict[str, str], fields: dict[str, str], *, status: int = 200) -> Response:
    return _tab(
        "hosts/settings.html", host_id, "settings", status=status, values=values, fields=fields, modes=MODES,
        revoke_points=_REVOKE_POINTS, remove_points=_REMOVE_POINTS, hold=update_questions.hold(hosts.get(host_id)),
    )  # fmt: skip


_REVOKE_POINTS = (
    "An open connection closes at once, and the host cannot connect again.",
    "It still knows the repository's password: if the machine was stolen, change that and the sign-in there too.",
    "Jobs, logs and snapshots stay.",
)  # fmt: skip
_REMOVE_POINTS = (
    "Its jobs and logs are forgotten, its credential ends.",
    "Its snapshots stay in the repository; restic alone can restore them.",
    "The agent's files on the machine are not touched. The audit log keeps its history.",
)


def _confirm_revoke(host_id: str) -> Response:
    host = hosts.get(host_id)
    return page(
        "shared/confirm.html", section="fleet", title=f"Revoke the credential of {host.name}",
        action=f"/hosts/{host_id}/revoke", verb="Revoke credential", points=_REVOKE_POINTS, typed="", error="",
        back=f"/hosts/{host_id}/settings",
    )  # fmt: skip


def _confirm_remove(host_id: str, error: str = "", *, status: int = 200) -> Response:
    host = hosts.get(host_id)
    return page(
        "shared/confirm.html", status=status, section="fleet", title=f"Remove {host.name} from the fleet",
        action=f"/hosts/{host_id}/remove", verb="Remove host", points=_REMOVE_POINTS, typed=host.name, error=error,
        back=f"/hosts/{host_id}/settings",
    )  # fmt: skip
