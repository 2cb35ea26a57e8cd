"""A host's repository for programs: setting it, and trying whether the host can open it."""

from typing import Any

from flask import Blueprint

from rm.api import documents
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import repositories as service
from rm.services.repositories import RepositoryForm

routes = Blueprint("api_repositories", __name__, url_prefix="/api/v1/hosts/<host_id>/repository")


@routes.put("")
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


@routes.post("/test")
@allows("repositories.test")
def test(host_id: str) -> dict[str, Any]:
    """Whether the host can open its repository just now; waits for its answer for at most 20 s."""
    parts = runtime()
    result = service.test_on_host(parts.bus, parts.agents, host_id=host_id, actor=documents.actor(), now=parts.clock())
    return {"ok": result.ok, "reason": result.reason, "message": result.message}
