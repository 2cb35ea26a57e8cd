"""Repositories for programs: looking at them, a host's own, who may delete, and accepting another one."""

from typing import Any

from flask import Blueprint

from rm.api import documents
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import repositories as service
from rm.services.repository_forms import MaintenanceForm, RepositoryForm
from rm.store import hosts, repositories

routes = Blueprint("api_repositories", __name__, url_prefix="/api/v1")


@routes.put("/hosts/<host_id>/repository")
@allows("repositories.edit")
def save(host_id: str) -> dict[str, Any]:
    """The host's repository made or changed; a blank password or secret keeps the stored one."""
    parts = runtime()
    body = documents.body()
    form = RepositoryForm(
        name=documents.text(body, "name"),
        location=documents.text(body, "location"),
        password=documents.text(body, "password", ""),
        username=documents.text(body, "username", ""),
        secret=documents.text(body, "secret", ""),
    )
    repository = service.save_for_host(
        parts.bus, parts.vault, host_id=host_id, form=form, actor=documents.actor(), now=parts.clock()
    )
    return documents.repository(repository)


@routes.post("/hosts/<host_id>/repository/test")
@allows("repositories.test")
def test(host_id: str) -> dict[str, Any]:
    """Whether the host can open its repository just now; waits for its answer for at most 20 s."""
    parts = runtime()
    result = service.test_on_host(parts.bus, parts.agents, host_id=host_id, actor=documents.actor(), now=parts.clock())
    return {"ok": result.ok, "reason": result.reason, "message": result.message}


@routes.get("/repositories")
@allows("fleet.view")
def index() -> dict[str, Any]:
    return {"items": [_with_hosts(found.id) for found in repositories.list_all()], "next": None}


@routes.get("/repositories/<repository_id>")
@allows("fleet.view")
def show(repository_id: str) -> dict[str, Any]:
    return _with_hosts(repository_id)


@routes.put("/repositories/<repository_id>/maintenance")
@allows("repositories.edit")
def set_maintenance(repository_id: str) -> dict[str, Any]:
    """The credential that may delete, set or (without username and location) forgotten."""
    parts = runtime()
    body = documents.body()
    is_append_only = body.get("is_append_only", repositories.get(repository_id).is_append_only)
    if not isinstance(is_append_only, bool):
        raise Invalid({"is_append_only": "must be true or false"}, "is_append_only must be true or false.")
    form = MaintenanceForm(
        username=documents.text(body, "username", ""),
        secret=documents.text(body, "secret", ""),
        location=documents.text(body, "location", ""),
    )
    service.set_maintenance(
        parts.bus, parts.vault, repository_id=repository_id, form=form, is_append_only=is_append_only,
        actor=documents.actor(), now=parts.clock(),
    )  # fmt: skip
    return _with_hosts(repository_id)


@routes.post("/repositories/<repository_id>/accept")
@allows("repositories.edit")
def accept(repository_id: str) -> dict[str, Any]:
    """Take the other repository that was found for the right one; wants its name typed as `typed_name`."""
    parts = runtime()
    service.accept_identity(
        parts.bus, repository_id=repository_id, typed_name=documents.text(documents.body(), "typed_name", ""),
        actor=documents.actor(), now=parts.clock(),
    )  # fmt: skip
    return _with_hosts(repository_id)


def _with_hosts(repository_id: str) -> dict[str, Any]:
    found = repositories.get(repository_id)
    maintenance = repositories.credential(repository_id, repositories.MAINTENANCE)
    return documents.repository(found) | {
        "host_ids": [host.id for host in hosts.list_for_repository(repository_id)],
        "has_maintenance_credential": maintenance is not None,
    }
