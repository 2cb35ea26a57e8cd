"""A restore before it is a job: where to, what exactly will happen, and the order."""

import hashlib
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, request
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Conflict, Forbidden, Invalid, RmError
from rm.runtime import runtime
from rm.services import browsing
from rm.services import restore_picks as pick_service
from rm.services import restores as service
from rm.services.browsing import Place
from rm.services.restores import Plan, Wish
from rm.web import browse_view, context, snapshot_view
from rm.web.layout import page
from rm.web.security import redirect_to
from rm.web.snapshots import picks_in, place_of, section_of

blueprint = Blueprint("restores", __name__)


@blueprint.get("/hosts/<host_id>/snapshots/<snapshot_id>/restore")
@blueprint.get("/repositories/<repository_id>/snapshots/<snapshot_id>/restore")
@allows("restores.run")
def where(snapshot_id: str, host_id: str = "", repository_id: str = "") -> AnyResponse:
    """Which host gets the files, and where there."""
    return _where(place_of(snapshot_id, host_id, repository_id), request.args)


@blueprint.get("/hosts/<host_id>/snapshots/<snapshot_id>/restore/review")
@blueprint.get("/repositories/<repository_id>/snapshots/<snapshot_id>/restore/review")
@allows("restores.run")
def review(snapshot_id: str, host_id: str = "", repository_id: str = "") -> AnyResponse:
    """What exactly will happen, before it does."""
    return _review(place_of(snapshot_id, host_id, repository_id), request.args)


@blueprint.post("/hosts/<host_id>/snapshots/<snapshot_id>/restore")
@blueprint.post("/repositories/<repository_id>/snapshots/<snapshot_id>/restore")
@allows("restores.run")
def order(snapshot_id: str, host_id: str = "", repository_id: str = "") -> AnyResponse:
    """Queue the restore and go to its page."""
    place, form = place_of(snapshot_id, host_id, repository_id), request.form
    actor = context.actor()
    wish = _wish(place, form)
    try:
        if form.get("seen") != _mark(service.plan(wish, host_id=form.get("on", "")).paths):
            raise Invalid({"seen": "What you picked has changed since you looked at it. Look at it once more."})
        job = service.order(runtime().bus, wish, host_id=form.get("on", ""), actor=actor, now=context.now())
    except Invalid as error:
        return _review(place, form, error=error)
    pick_service.clear(user_id=actor.id, repository_id=place.repository.id, snapshot_id=place.snapshot.id)
    return redirect_to(f"/jobs/{job.id}")


def _where(place: Place, given: MultiDict[str, str], *, error: RmError | None = None, status: int = 200) -> AnyResponse:
    picks = picks_in(place)
    base = browse_view.base_of(place)
    is_all = given.get("all") == "yes"
    if not picks and not is_all:
        return redirect_to(base)
    known = snapshot_view.restorers(runtime().agents, place)
    able = [one["host"].id for one in known if one["is_able"]]
    values = {
        "hosts": known,
        "chosen_host": given.get("on") if given.get("on") in able else next(iter(able), ""),
        "is_all": is_all,
        "is_in_place": given.get("place") == "in_place",
        "target": given.get("target", ""),
        "error": error,
        "fields": error.fields if isinstance(error, Invalid) else {},
        "may_in_place": context.may("restores.in_place") and any(one["host"].allows_restore_in_place for one in known),
    }
    return page(
        "snapshots/where.html", status=status, section=section_of(place),
        **browse_view.values(place, step="where", picks=picks, role=context.actor().role), **values,
    )  # fmt: skip


def _review(place: Place, given: MultiDict[str, str], *, error: Invalid | None = None) -> AnyResponse:
    picks = picks_in(place)
    base = browse_view.base_of(place)
    wish = _wish(place, given)
    if not wish.paths and given.get("all") != "yes":
        return redirect_to(base)
    try:
        planned = service.plan(wish, host_id=given.get("on", ""))
    except (Invalid, Conflict) as problem:
        return _where(place, given, error=problem, status=problem.status)
    if planned.is_in_place and not context.may("restores.in_place"):
        raise Forbidden("Your role does not allow restores in place.", help="Restore into a folder.")
    hidden = {
        "on": planned.host.id, "place": given.get("place", ""), "target": given.get("target", ""),
        "seen": _mark(planned.paths),
    }  # fmt: skip
    hidden |= {"all": "yes"} if given.get("all") == "yes" else {}
    again = {name: value for name, value in hidden.items() if name != "seen"}
    return page(
        "snapshots/review.html", status=422 if error else 200, section=section_of(place), hidden=hidden,
        is_all=given.get("all") == "yes", fields=error.fields if error else {},
        href=f"{base}/restore/review?{urlencode(again | {'count': 'yes'})}", **_counted(place, planned, given),
        **browse_view.values(place, step="review", picks=picks, role=context.actor().role),
        **browse_view.review_values(planned, picks),
    )  # fmt: skip


def _counted(place: Place, planned: Plan, given: MultiDict[str, str]) -> dict[str, Any]:
    """How much it is, once the page asks for that; or why it is not known."""
    if "count" not in given:
        return {"sizes": None, "problem": None}
    try:
        return {"sizes": browsing.measure(runtime().agents, place, paths=planned.paths), "problem": None}
    except RmError as error:
        return {"sizes": None, "problem": error}


def _wish(place: Place, given: MultiDict[str, str]) -> Wish:
    return Wish(
        snapshot_id=place.snapshot.id,
        paths=tuple(_paths(place, given)),
        target=given.get("target", "").strip(),
        is_in_place=given.get("place") == "in_place",
        typed_name=given.get("typed_name", ""),
    )


def _mark(paths: list[str]) -> str:
    """Stands for a selection: another window may change it between the review and the order."""
    return hashlib.sha256("\0".join(paths).encode("utf-8", "replace")).hexdigest()[:16]


def _paths(place: Place, given: MultiDict[str, Any]) -> list[str]:
    return [] if given.get("all") == "yes" else [pick.path for pick in picks_in(place)]
