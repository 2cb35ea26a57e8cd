"""The repository of a host: setting it, changing it, and having the host try it."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import repositories as service
from rm.services.repositories import RepositoryForm
from rm.store import hosts, repositories
from rm.web import context
from rm.web.layout import go, page

blueprint = Blueprint("repositories", __name__)


@blueprint.get("/hosts/<host_id>/repository")
@allows("repositories.edit")
def edit(host_id: str) -> Response:
    """The form, filled with all but the secrets."""
    host = hosts.get(host_id)
    repository = repositories.find(host.repository_id)
    credential = repositories.credential(repository.id) if repository else None
    values = {
        "name": repository.name if repository else "",
        "location": repository.location if repository else "",
        "username": credential.username if credential else "",
    }
    return _form(host_id, values, {})


@blueprint.post("/hosts/<host_id>/repository")
@allows("repositories.edit")
def save(host_id: str) -> AnyResponse:
    """Save a repository of the host's own, or let it use one that is here."""
    parts, form = runtime(), request.form
    actor, now = context.actor(), context.now()
    if form.get("repository_id"):
        service.use_existing_for_host(
            parts.bus, host_id=host_id, repository_id=form["repository_id"], actor=actor, now=now
        )
        return go(f"/hosts/{host_id}", "repository_saved")
    wanted = RepositoryForm(
        name=form.get("name", ""), location=form.get("location", ""), password=form.get("password", ""),
        username=form.get("username", ""), secret=form.get("secret", ""),
    )  # fmt: skip
    try:
        service.save_for_host(parts.bus, parts.vault, host_id=host_id, form=wanted, actor=actor, now=now)
    except Invalid as error:
        values = {"name": wanted.name, "location": wanted.location, "username": wanted.username}
        return _form(host_id, values, error.fields, status=422)
    return go(f"/hosts/{host_id}", "repository_saved")


@blueprint.post("/hosts/<host_id>/repository/test")
@allows("repositories.test")
def test(host_id: str) -> AnyResponse:
    """Have the host open its repository; the answer is kept with the repository."""
    parts = runtime()
    result = service.test_on_host(parts.bus, parts.agents, host_id=host_id, actor=context.actor(), now=context.now())
    return go(f"/hosts/{host_id}", "test_ok" if result.ok else "test_failed")


def _form(host_id: str, values: dict[str, str], fields: dict[str, str], *, status: int = 200) -> Response:
    host = hosts.get(host_id)
    repository = repositories.find(host.repository_id)
    sharing = hosts.list_for_repository(repository.id) if repository else []
    return page(
        "repositories/form.html", status=status, section="fleet", host=host, repository=repository,
        shared_with=[other for other in sharing if other.id != host_id],
        others=repositories.list_all() if repository is None else [], values=values, fields=fields,
    )  # fmt: skip
