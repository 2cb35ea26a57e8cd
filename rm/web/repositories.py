"""Repositories: the list, one's page with its settings, secrets, hosts and jobs, and a host's own form."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Conflict, Invalid
from rm.runtime import runtime
from rm.services import jobs as job_service
from rm.services import repositories as service
from rm.services import repository_hosts, repository_identity
from rm.services.repository_forms import MaintenanceForm, RepositoryForm
from rm.store import hosts, repositories
from rm.web import context, repository_growth, repository_view
from rm.web.layout import go, page
from rm.web.security import redirect_to

blueprint = Blueprint("repositories", __name__)


@blueprint.get("/repositories")
@allows("fleet.view")
def index() -> Response:
    """A page of the repositories, with the hosts that use them."""
    number = context.page_number()
    return page(
        "repositories/list.html", section="repositories", live_url=f"/live/repositories?page={number}",
        **repository_view.list_values(page=number),
    )  # fmt: skip


@blueprint.get("/repositories/new")
@allows("repositories.edit")
def new() -> Response:
    """The form for a repository, one that exists already or one that is to be created."""
    return _settings(None, {}, {})


@blueprint.post("/repositories/new")
@allows("repositories.edit")
def create() -> AnyResponse:
    """Keep a repository that no host uses yet."""
    parts, wanted = runtime(), _typed()
    try:
        made = service.create(parts.bus, parts.vault, form=wanted, actor=context.actor(), now=context.now())
    except Invalid as error:
        return _settings(None, _shown(wanted), error.fields, status=422)
    return go(f"/repositories/{made.id}", "repository_kept")


@blueprint.get("/repositories/<repository_id>")
@allows("fleet.view")
def show(repository_id: str) -> Response:
    """A repository: how it stands, who uses it, what was done to it."""
    return _page(repository_id)


@blueprint.get("/repositories/<repository_id>/edit")
@allows("repositories.edit")
def settings(repository_id: str) -> Response:
    """Name, location and secrets; the secrets themselves never come back."""
    found = repositories.get(repository_id)
    credential = repositories.credential(repository_id)
    values = {
        "name": found.name, "location": found.location, "username": credential.username if credential else "",
        "is_same": "yes",
    }  # fmt: skip
    return _settings(repository_id, values, {})


@blueprint.post("/repositories/<repository_id>/edit")
@allows("repositories.edit")
def change(repository_id: str) -> AnyResponse:
    """Change them; another location wants the name typed."""
    parts, wanted = runtime(), _typed()
    is_same = request.form.get("is_same", "yes") == "yes"
    try:
        service.change(
            parts.bus, parts.vault, repository_id=repository_id, form=wanted,
            typed_name=request.form.get("typed_name", ""), is_same=is_same, actor=context.actor(), now=context.now(),
        )  # fmt: skip
    except Invalid as error:
        values = _shown(wanted) | {"is_same": "yes" if is_same else "no"}
        return _settings(repository_id, values, error.fields, status=422)
    return go(f"/repositories/{repository_id}", "repository_saved")


@blueprint.get("/repositories/<repository_id>/maintenance")
@allows("repositories.edit")
def maintenance(repository_id: str) -> Response:
    """The form of the credential that may delete."""
    found = repositories.get(repository_id)
    slot = repositories.credential(repository_id, repositories.MAINTENANCE)
    values = {
        "username": slot.username if slot else "", "location": slot.location if slot else "",
        "is_append_only": found.is_append_only,
    }  # fmt: skip
    return _maintenance(repository_id, values, {})


@blueprint.post("/repositories/<repository_id>/maintenance")
@allows("repositories.edit")
def set_maintenance(repository_id: str) -> AnyResponse:
    """Set or forget it."""
    parts, form = runtime(), request.form
    wanted = MaintenanceForm(
        username=form.get("username", ""), secret=form.get("secret", ""), location=form.get("location", "")
    )
    is_append_only = form.get("is_append_only") == "yes"
    try:
        service.set_maintenance(
            parts.bus, parts.vault, repository_id=repository_id, form=wanted, is_append_only=is_append_only,
            actor=context.actor(), now=context.now(),
        )  # fmt: skip
    except Invalid as error:
        values = {"username": wanted.username, "location": wanted.location, "is_append_only": is_append_only}
        return _maintenance(repository_id, values, error.fields, status=422)
    return go(f"/repositories/{repository_id}", "repository_saved")


@blueprint.get("/repositories/<repository_id>/accept")
@allows("repositories.edit")
def ask_accept(repository_id: str) -> AnyResponse:
    """The question before another repository is taken for the right one."""
    return _accept(repository_id, "")


@blueprint.post("/repositories/<repository_id>/accept")
@allows("repositories.edit")
def accept(repository_id: str) -> AnyResponse:
    """Take the repository that is at the place now."""
    try:
        repository_identity.accept(
            runtime().bus, repository_id=repository_id, typed_name=request.form.get("typed_name", ""),
            actor=context.actor(), now=context.now(),
        )  # fmt: skip
    except Invalid as error:
        return _accept(repository_id, error.fields.get("typed_name", ""), status=422)
    return go(f"/repositories/{repository_id}", "repository_accepted")


@blueprint.post("/repositories/<repository_id>/hosts")
@allows("repositories.edit")
def assign(repository_id: str) -> AnyResponse:
    """Let a host that has no repository use this one."""
    repository_hosts.assign(
        runtime().bus, host_id=request.form.get("host_id", ""), repository_id=repository_id, actor=context.actor(),
        now=context.now(),
    )  # fmt: skip
    return go(f"/repositories/{repository_id}", "repository_saved")


@blueprint.get("/repositories/<repository_id>/hosts/<host_id>/unassign")
@allows("repositories.edit")
def ask_unassign(repository_id: str, host_id: str) -> Response:
    """The question before."""
    found, host = repositories.get(repository_id), hosts.get(host_id)
    points = (
        "The host forgets the password and can no longer back up there.",
        "Its snapshots stay in the repository.",
        "To back up again, give it a repository on its page.",
    )
    return page(
        "shared/confirm.html", section="repositories", title=f"Take {found.name} from {host.name}",
        action=f"/repositories/{repository_id}/hosts/{host_id}/unassign", verb="Take it away", points=points, typed="",
        error="", back=f"/repositories/{repository_id}",
    )  # fmt: skip


@blueprint.post("/repositories/<repository_id>/hosts/<host_id>/unassign")
@allows("repositories.edit")
def unassign(repository_id: str, host_id: str) -> AnyResponse:
    """Take the repository from a host."""
    repository_hosts.unassign(
        runtime().bus, repository_id=repository_id, host_id=host_id, actor=context.actor(), now=context.now()
    )
    return go(f"/repositories/{repository_id}", "repository_saved")


@blueprint.post("/repositories/<repository_id>/hosts/<host_id>/test")
@allows("repositories.test")
def test_from(repository_id: str, host_id: str) -> AnyResponse:
    """Have one of its hosts open it."""
    _user_of(repository_id, host_id)
    parts = runtime()
    result = service.test_on_host(parts.bus, parts.agents, host_id=host_id, actor=context.actor(), now=context.now())
    return go(f"/repositories/{repository_id}", "test_ok" if result.ok else "test_failed")


@blueprint.post("/repositories/<repository_id>/jobs")
@allows("jobs.run")
def order(repository_id: str) -> AnyResponse:
    """Queue a check, an unlock or a prune on one of its hosts and go to its page."""
    form = request.form
    host_id = form.get("host_id", "")
    _user_of(repository_id, host_id)
    try:
        job = job_service.order(
            runtime().bus, host_id=host_id, kind=form.get("kind", ""), subset=form.get("subset", "").strip(),
            actor=context.actor(), now=context.now(),
        )  # fmt: skip
    except Invalid as error:
        return _page(repository_id, fields=error.fields, subset=form.get("subset", ""), status=422)
    return redirect_to(f"/jobs/{job.id}")


@blueprint.get("/hosts/<host_id>/repository")
@allows("repositories.edit")
def edit(host_id: str) -> AnyResponse:
    """Where a host is to back up to; one that has a repository goes to that one's settings."""
    host = hosts.get(host_id)
    if host.repository_id is not None:
        return redirect_to(f"/repositories/{host.repository_id}/edit")
    return _form(host_id, {}, {})


@blueprint.post("/hosts/<host_id>/repository")
@allows("repositories.edit")
def save(host_id: str) -> AnyResponse:
    """Give the host a repository of its own, or let it use one that is here."""
    parts, form = runtime(), request.form
    actor, now = context.actor(), context.now()
    host = hosts.get(host_id)
    if host.repository_id is not None:
        raise Conflict(
            f"{host.name} has a repository already.", code="has_repository",
            help="Change it on the repository's page, or take it from the host there.",
        )  # fmt: skip
    if form.get("repository_id"):
        repository_hosts.use_existing(
            parts.bus, host_id=host_id, repository_id=form["repository_id"], actor=actor, now=now
        )
        return go(f"/hosts/{host_id}", "repository_saved")
    wanted = _typed()
    try:
        service.save_for_host(parts.bus, parts.vault, host_id=host_id, form=wanted, actor=actor, now=now)
    except Invalid as error:
        return _form(host_id, _shown(wanted), error.fields, status=422)
    return go(f"/hosts/{host_id}", "repository_saved")


@blueprint.post("/hosts/<host_id>/repository/test")
@allows("repositories.test")
def test(host_id: str) -> AnyResponse:
    """Have the host open its repository; the answer is kept with the repository."""
    parts = runtime()
    result = service.test_on_host(parts.bus, parts.agents, host_id=host_id, actor=context.actor(), now=context.now())
    return go(f"/hosts/{host_id}", "test_ok" if result.ok else "test_failed")


def _typed() -> RepositoryForm:
    form = request.form
    return RepositoryForm(
        name=form.get("name", ""), location=form.get("location", ""), password=form.get("password", ""),
        username=form.get("username", ""), secret=form.get("secret", ""),
    )  # fmt: skip


def _shown(form: RepositoryForm) -> dict[str, str]:
    """What may go back into the form: everything but the secrets."""
    return {"name": form.name, "location": form.location, "username": form.username}


def _user_of(repository_id: str, host_id: str) -> None:
    host = hosts.get(host_id)
    if host.repository_id != repository_id:
        raise Conflict(f"{host.name} does not use this repository.", code="not_its_repository")


def _page(repository_id: str, *, fields: dict[str, str] | None = None, subset: str = "", status: int = 200) -> Response:
    user = context.user()
    days = repository_growth.asked_for(request.args.get("days", ""))
    values = repository_view.values(repository_id, role=user.role if user else "", days=days, now=context.now())
    return page(
        "repositories/show.html", status=status, section="repositories",
        live_url=f"/live/repositories/{repository_id}?days={days}",
        candidates=repositories.list_hosts_without() if context.may("repositories.edit") else [],
        fields=fields or {}, subset=subset, **values,
    )  # fmt: skip


def _settings(
    repository_id: str | None, values: dict[str, str], fields: dict[str, str], *, status: int = 200
) -> Response:
    found = repositories.find(repository_id)
    return page(
        "repositories/edit.html", status=status, section="repositories", repository=found, values=values,
        fields=fields, users=hosts.list_for_repository(found.id) if found else [],
    )  # fmt: skip


def _maintenance(
    repository_id: str, values: dict[str, object], fields: dict[str, str], *, status: int = 200
) -> Response:
    return page(
        "repositories/maintenance.html", status=status, section="repositories",
        repository=repositories.get(repository_id), values=values, fields=fields,
    )  # fmt: skip


def _accept(repository_id: str, error: str, *, status: int = 200) -> AnyResponse:
    found = repositories.get(repository_id)
    if not found.restic_id_seen:
        return redirect_to(f"/repositories/{repository_id}")
    points = (
        f"Known is the repository {(found.restic_repository_id or '')[:10]}; at the place is now"
        f" {found.restic_id_seen[:10]}.",
        "That is right after a repository was made anew or replaced on purpose. It is wrong if a disk is not mounted,"
        " or if somebody put another repository in its place.",
        "Its hosts will back up there; the list of snapshots starts anew.",
    )
    return page(
        "shared/confirm.html", status=status, section="repositories",
        title=f"Accept another repository as {found.name}", verb="Accept it", points=points, typed=found.name,
        error=error, action=f"/repositories/{repository_id}/accept", back=f"/repositories/{repository_id}",
    )  # fmt: skip


def _form(host_id: str, values: dict[str, str], fields: dict[str, str], *, status: int = 200) -> Response:
    return page(
        "repositories/form.html", status=status, section="fleet", host=hosts.get(host_id),
        others=repositories.list_all(), values=values, fields=fields,
    )  # fmt: skip
