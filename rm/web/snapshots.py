"""Snapshots: a repository's list, looking into one, picking what to restore, and comparing two."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain import snapshots as rules
from rm.domain.permissions import allows
from rm.errors import Conflict, Invalid, RmError
from rm.runtime import runtime
from rm.services import browsing
from rm.services import restore_picks as pick_service
from rm.services import restores as restore_service
from rm.services.browsing import Place
from rm.store import hosts, repositories, restore_picks
from rm.store.models import RestorePick
from rm.web import browse_view, context, snapshot_view
from rm.web.browse_view import Asked
from rm.web.layout import page
from rm.web.path_tokens import path_of
from rm.web.security import redirect_to

blueprint = Blueprint("snapshots", __name__)


@blueprint.get("/repositories/<repository_id>/snapshots")
@allows("fleet.view")
def list_in_repository(repository_id: str) -> Response:
    """All snapshots of a repository, whoever made them."""
    query = snapshot_view.asked_for(request.args)
    user = context.user()
    values = snapshot_view.repository_values(
        runtime().agents, query, repository_id=repository_id, role=user.role if user else "", now=context.now()
    )
    return page(
        "snapshots/repository.html", section="repositories", repository=repositories.get(repository_id),
        live_url=query.url(f"/live/repositories/{repository_id}/snapshots"), is_live_inside=True, **values,
    )  # fmt: skip


@blueprint.get("/hosts/<host_id>/snapshots/<snapshot_id>")
@blueprint.get("/repositories/<repository_id>/snapshots/<snapshot_id>")
@allows("snapshots.browse")
def browse(snapshot_id: str, host_id: str = "", repository_id: str = "") -> Response:
    """A folder of a snapshot, or what a search finds; at once only the frame, with `answer` the host's answer."""
    place = place_of(snapshot_id, host_id, repository_id)
    asked = asked_for()
    picks = picks_in(place)
    values = browse_view.values(place, step="files", picks=picks, role=context.actor().role) | browse_view.asking(
        place, asked, now=context.now(), agents=runtime().agents
    )
    if "answer" in request.args or values["through"] is None:
        values["browser"] = _answer(place, asked, picks)
    return page("snapshots/browse.html", section=section_of(place), **values)


@blueprint.post("/hosts/<host_id>/snapshots/<snapshot_id>/picks")
@blueprint.post("/repositories/<repository_id>/snapshots/<snapshot_id>/picks")
@allows("restores.run")
def pick(snapshot_id: str, host_id: str = "", repository_id: str = "") -> AnyResponse:
    """Keep which of the shown entries are ticked, then show the snapshot again or go on to the restore."""
    place = place_of(snapshot_id, host_id, repository_id)
    mine = {"user_id": context.actor().id, "repository_id": place.repository.id, "snapshot_id": place.snapshot.id}
    form = request.form
    base = browse_view.base_of(place)
    if form.get("clear"):
        pick_service.clear(**mine)
        return redirect_to(base)
    folder = path_of(form.get("in", ""))
    ticked = _picked(form.getlist("pick"), folder)
    if form.get("whole"):
        ticked[folder or "/"] = True
    shown = _picked(form.getlist("shown"), folder)
    pick_service.change(**mine, add=ticked, remove=[path for path in shown if path not in ticked], now=context.now())
    if form.get("then") == "restore":
        return redirect_to(f"{base}/restore")
    return redirect_to(Asked(path=folder or "/").url(base))


@blueprint.post("/hosts/<host_id>/diffs")
@blueprint.post("/repositories/<repository_id>/diffs")
@allows("snapshots.browse")
def compare(host_id: str = "", repository_id: str = "") -> AnyResponse:
    """Queue the comparison of two snapshots and go to its page."""
    host = hosts.get(host_id) if host_id else None
    repository = repositories.get((host.repository_id or "") if host is not None else repository_id)
    chosen = request.form.getlist("snapshot")[:3]
    runner = snapshot_view.comparer(runtime().agents, repository_id=repository.id, host=host)
    if runner is None:
        raise Conflict("No host uses this repository.", help="Let a host use it, on the repository's page.")
    try:
        job = restore_service.order_diff(
            runtime().bus, host_id=runner.id, snapshot_ids=chosen, actor=context.actor(), now=context.now()
        )
    except Invalid as error:
        raise Conflict(error.message, code="two_snapshots", help="Go back and tick exactly two of the list.") from error
    return redirect_to(f"/jobs/{job.id}")


def place_of(snapshot_id: str, host_id: str, repository_id: str) -> Place:
    """The snapshot that an address names; raises NotFound for one of another host or repository."""
    if host_id:
        return browsing.place_on_host(host_id, snapshot_id)
    return browsing.place_in_repository(repository_id, snapshot_id)


def picks_in(place: Place) -> list[RestorePick]:
    """What whoever asks has picked in this snapshot."""
    return restore_picks.list_for(context.actor().id, place.repository.id, place.snapshot.id)


def section_of(place: Place) -> str:
    """Where in the bar such a page is."""
    return "fleet" if place.host is not None else "repositories"


def asked_for() -> Asked:
    """The folder or the search that the address asks for; the root for what makes no sense."""
    path = path_of(request.args.get("path", "/")) or "/"
    number = request.args.get("from", "0")
    return Asked(
        path="/" if rules.path_problem(path) else path,
        text=request.args.get("q", "").strip()[: rules.MAX_TEXT],
        offset=int(number) if number.isdecimal() and len(number) < 10 else 0,
    )


def _answer(place: Place, asked: Asked, picks: list[RestorePick]) -> dict[str, object]:
    agents = runtime().agents
    try:
        if asked.text:
            found = browsing.search(agents, place, text=asked.text)
            return browse_view.found_values(place, asked, found, picks)
        folder = browsing.list_folder(agents, place, path=asked.path, offset=asked.offset)
        return browse_view.folder_values(place, asked, folder, picks)
    except RmError as error:
        known = browsing.helpers(agents, place)
        return browse_view.problem_values(place, asked, error, known, context.may("jobs.run"))


def _picked(values: list[str], folder: str) -> dict[str, bool]:
    """Path → whether it is a folder, of the values of a form; each is d or f and the token of a name or a path."""
    found = {}
    for value in values[: browsing.MAX_PAGE + rules.MAX_PATHS]:
        name = path_of(value[1:])
        if name and value[0] in "df":
            found[rules.joined(folder, name) if folder else name] = value[0] == "d"
    return found
