"""Live pages: one stream of server-sent events per open tab, which ends when its session does."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Protocol

from flask import Blueprint, Flask, Response, current_app, request

from rm.domain.permissions import allows
from rm.errors import NotFound
from rm.events import AccessChanged, Event, ListenerFellBehind
from rm.runtime import Runtime, runtime
from rm.services import sessions
from rm.store import enrolments, fleet_updates, hosts, incidents, jobs, pending_hosts, repositories
from rm.store.database import connection
from rm.web import alert_query, context, fragments, repository_growth, security, snapshot_view
from rm.web.alert_view import AlertView, IncidentView
from rm.web.enrolment_view import EnrolmentView
from rm.web.fleet_update_reading import Fleets
from rm.web.fleet_update_view import FleetUpdateView
from rm.web.fleet_updates import asked_for as fleet_update_asked_for
from rm.web.fleet_view import FleetView, SharedParts
from rm.web.fragments import Fragment, Sent
from rm.web.host_view import HostView
from rm.web.hosts import asked_for
from rm.web.job_view import JobView
from rm.web.pending_view import PendingListView, PendingView
from rm.web.repository_view import RepositoriesView, RepositoryView
from rm.web.snapshot_view import RepositorySnapshotsView

log = logging.getLogger(__name__)

live = Blueprint("live", __name__, url_prefix="/live")

FLUSH_SECONDS = 0.25
SIGN_OF_LIFE_SECONDS = 15.0
CHECK_SECONDS = 30.0
# Named, so that htmx swaps nothing and app.js can tell silence from a dead connection.
SIGN_OF_LIFE = "event: alive\ndata: .\n\n"


class View(Protocol):
    """One open page: all of its live parts, or those that events changed."""

    is_behind: bool

    def everything(self, now: datetime) -> list[Fragment]: ...

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]: ...


def register(app: Flask) -> None:
    app.extensions["rm_shared_parts"] = SharedParts(app, runtime(app).bus)
    app.extensions["rm_fleets"] = Fleets(runtime(app).bus)
    app.register_blueprint(live)


@live.get("/fleet")
@allows("fleet.view")
def fleet() -> Response:
    """Verdict, problems, figures and rows of the fleet page."""
    return stream(FleetView(_app(), current_app.extensions["rm_shared_parts"], asked_for(request.args)))


@live.get("/hosts/<host_id>")
@allows("fleet.view")
def host(host_id: str) -> Response:
    """The parts of one tab of a host's page."""
    hosts.get(host_id)
    query = snapshot_view.asked_for(request.args)
    tab = request.args.get("tab", "overview")
    return stream(HostView(_app(), host_id, tab=tab, role=_role(), snapshot_query=query))


@live.get("/repositories/<repository_id>/snapshots")
@allows("fleet.view")
def repository_snapshots(repository_id: str) -> Response:
    """The list of a repository's snapshots."""
    repositories.get(repository_id)
    return stream(RepositorySnapshotsView(_app(), repository_id, snapshot_view.asked_for(request.args), role=_role()))


@live.get("/jobs/<job_id>")
@allows("fleet.view")
def job(job_id: str) -> Response:
    """State, figures and new log lines of a job; the event id is the last line, so that a reconnect misses none."""
    jobs.get(job_id)
    after = request.headers.get("Last-Event-ID", "") or request.args.get("after", "")
    after_n = int(after) if after.isdecimal() and len(after) < 10 else 0
    view = JobView(_app(), job_id, role=_role(), after_n=after_n)
    return stream(view, event_id=lambda: str(view.after_n))


@live.get("/repositories")
@allows("fleet.view")
def repository_list() -> Response:
    """The rows of a page of the list of repositories."""
    return stream(RepositoriesView(_app(), page=context.page_number()))


@live.get("/repositories/<repository_id>")
@allows("fleet.view")
def repository(repository_id: str) -> Response:
    """The parts of a repository's page."""
    repositories.get(repository_id)
    days = repository_growth.asked_for(request.args.get("days", ""))
    return stream(RepositoryView(_app(), repository_id, role=_role(), days=days))


@live.get("/enrolments/<token_id>")
@allows("hosts.add")
def enrolment(token_id: str) -> Response:
    """Whether the host that the page waits for is here."""
    enrolments.get_token(token_id)
    return stream(EnrolmentView(_app(), token_id, base_url=runtime().settings.base_url))


@live.get("/pending-hosts")
@allows("fleet.view")
def pending_host_list() -> Response:
    """The list of announced hosts."""
    return stream(PendingListView(_app(), page=context.page_number()))


@live.get("/pending-hosts/<pending_id>")
@allows("fleet.view")
def pending_host(pending_id: str) -> Response:
    """Where an announced host stands."""
    pending_hosts.get(pending_id)
    return stream(PendingView(_app(), pending_id, role=_role()))


@live.get("/fleet-updates/<fleet_update_id>")
@allows("fleet.view")
def fleet_update(fleet_update_id: str) -> Response:
    """The parts of a fleet update's page."""
    fleet_updates.get(fleet_update_id)
    return stream(FleetUpdateView(_app(), fleet_update_asked_for(fleet_update_id), role=_role()))


@live.get("/alerts")
@allows("fleet.view")
def alert_list() -> Response:
    """The list of incidents and their number."""
    return stream(AlertView(_app(), role=_role(), query=alert_query.asked_for(request.args)))


@live.get("/alerts/<incident_id>")
@allows("fleet.view")
def incident(incident_id: str) -> Response:
    """The parts of an incident's page."""
    incidents.get(incident_id)
    events = request.args.get("events", "1")
    number = max(1, int(events)) if events.isdecimal() and len(events) < 5 else 1
    return stream(IncidentView(_app(), incident_id, role=_role(), page=context.page_number(), events=number))


def stream(view: View, *, event_id: Callable[[], str] = lambda: "") -> Response:
    """The stream of one tab: everything first, then what changes."""
    session_token = request.cookies.get(security.session_cookie(), "")
    # No request context inside: it would hold this request's database connection for hours.
    user = context.user()
    events = Stream(
        _app(), runtime(), view, session_token=session_token, user_id=user.id if user else "", role=_role(),
        event_id=event_id,
    )  # fmt: skip
    response = Response(events.run(), mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


class Stream:
    """One tab's stream. It ends with the process, with the session, and with what it shows."""

    def __init__(
        self, app: Flask, parts: Runtime, view: View, *, session_token: str, user_id: str, role: str,
        event_id: Callable[[], str],
    ) -> None:  # fmt: skip
        self._app = app
        self._parts = parts
        self._view = view
        self._session_token = session_token
        self._role = role
        # What ends or changes what this person may do, and a backlog in which it may have been.
        self._doubts = frozenset({AccessChanged(user_id), ListenerFellBehind()})
        self._event_id = event_id
        self._sent = Sent()

    def run(self) -> Iterator[str]:
        """Server-sent events, at most four a second."""
        with self._parts.bus.subscribe() as listener:
            yield "retry: 1000\n\n"
            try:
                yield self._message(self._view.everything)
                checked_at = sent_at = time.monotonic()
                while not listener.is_closed:
                    events = listener.take(FLUSH_SECONDS * 2 if self._view.is_behind else self._wait(sent_at))
                    if listener.is_closed:
                        return
                    if not self._doubts.isdisjoint(events) and not self._may_go_on():
                        return
                    if time.monotonic() - checked_at >= CHECK_SECONDS:
                        if not self._may_go_on():
                            return
                        checked_at = time.monotonic()
                        text = self._message(self._view.everything)
                    elif events or self._view.is_behind:
                        text = self._message(partial(self._view.changed, events))
                    else:
                        text = ""
                    if text:
                        yield text
                        sent_at = time.monotonic()
                        time.sleep(FLUSH_SECONDS)
                    elif time.monotonic() - sent_at >= SIGN_OF_LIFE_SECONDS:
                        yield SIGN_OF_LIFE
                        sent_at = time.monotonic()
            except NotFound:
                yield fragments.message([_gone(self._app)])
            except Exception:
                log.exception("a live page failed")

    def _wait(self, sent_at: float) -> float:
        return max(0.05, sent_at + SIGN_OF_LIFE_SECONDS - time.monotonic())

    def _message(self, render: Callable[[datetime], list[Fragment]]) -> str:
        with connection():
            found = render(self._parts.clock())
        return fragments.message(self._sent.news(found), id=self._event_id())

    def _may_go_on(self) -> bool:
        with connection():
            user = sessions.find_user(self._session_token, self._parts.clock())
        return user is not None and user.role == self._role


def _gone(app: Flask) -> Fragment:
    return fragments.render(app, "shared/_gone.html", {}, target="#flash", swap="innerHTML")


def _role() -> str:
    user = context.user()
    return user.role if user else ""


def _app() -> Flask:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app
