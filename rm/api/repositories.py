"""Repositories for programs: looking at them, a host's own, who may delete, and accepting another one."""

from dataclasses import replace
from typing import Any

from flask import Blueprint

from rm.api import caller, documents
from rm.api.operations import BY_PATH, FILTERED, operation
from rm.api.shapes import OFFSET, page_of, ref, whole
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import repositories as service
from rm.services import repository_hosts, repository_identity, token_scope
from rm.services.repository_forms import MaintenanceForm, RepositoryForm
from rm.store import repositories
from rm.store.models import Repository

routes = Blueprint("api_repositories", __name__, url_prefix="/api/v1")

MAX_PAGE = 200


@routes.put("/hosts/<host_id>/repository")
@allows("repositories.edit")
@operation({200: ref("Repository")}, body=ref("RepositoryForm"), scope=BY_PATH)
def save(host_id: str) -> dict[str, Any]:
    """The host's repository made or changed; a blank password or secret keeps the stored one."""
    parts = runtime()
    body = documents.body()
    if caller.scope():
        token_scope.check_own_repository(caller.scope(), host_id)
    form = _form(body, RepositoryForm("", ""))
    repository = service.save_for_host(
        parts.bus, parts.vault, host_id=host_id, form=form, actor=caller.actor(), now=parts.clock()
    )
    return documents.repository(repository)


@routes.post("/hosts/<host_id>/repository/test")
@allows("repositories.test")
@operation({200: ref("TestResult")}, scope=BY_PATH, waits=True, fails_clean=True)
def test(host_id: str) -> dict[str, Any]:
    """Whether the host can open its repository just now; waits for its answer for at most 20 s."""
    parts = runtime()
    result = service.test_on_host(parts.bus, parts.agents, host_id=host_id, actor=caller.actor(), now=parts.clock())
    return {"ok": result.ok, "reason": result.reason, "message": result.message}


@routes.get("/repositories")
@allows("fleet.view")
@operation({200: page_of("RepositoryWithHosts")}, query={"limit": whole(1, MAX_PAGE), "offset": OFFSET}, scope=FILTERED)
def index() -> dict[str, Any]:
    """One page of repositories with the hosts that use them; `next` is the offset to go on with."""
    limit, offset = documents.number("limit", 50, MAX_PAGE), documents.number("offset", 0, 10**9)
    found = repositories.list_page(limit=limit + 1, offset=offset, scope=caller.scope())
    return {"items": _documents(found[:limit]), "next": offset + limit if len(found) > limit else None}


@routes.post("/repositories")
@allows("repositories.edit")
@operation({201: ref("RepositoryWithHosts")}, body=ref("RepositoryForm"))
def create() -> tuple[dict[str, Any], int]:
    """Keep a repository that no host uses yet."""
    parts = runtime()
    form = _form(documents.body(), RepositoryForm("", ""))
    made = service.create(parts.bus, parts.vault, form=form, actor=caller.actor(), now=parts.clock())
    return _with_hosts(made.id), 201


@routes.get("/repositories/<repository_id>")
@allows("fleet.view")
@operation({200: ref("RepositoryWithHosts")}, scope=BY_PATH)
def show(repository_id: str) -> dict[str, Any]:
    """One repository."""
    return _with_hosts(repository_id)


@routes.put("/repositories/<repository_id>/maintenance")
@allows("repositories.edit")
@operation({200: ref("RepositoryWithHosts")}, body=ref("MaintenanceCredential"), scope=BY_PATH)
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
        actor=caller.actor(), now=parts.clock(),
    )  # fmt: skip
    return _with_hosts(repository_id)


@routes.post("/repositories/<repository_id>/accept")
@allows("repositories.edit")
@operation({200: ref("RepositoryWithHosts")}, body=ref("TypedName"), scope=BY_PATH)
def accept(repository_id: str) -> dict[str, Any]:
    """Take the other repository that was found for the right one; wants its name typed as `typed_name`."""
    parts = runtime()
    repository_identity.accept(
        parts.bus, repository_id=repository_id, typed_name=documents.text(documents.body(), "typed_name", ""),
        actor=caller.actor(), now=parts.clock(),
    )  # fmt: skip
    return _with_hosts(repository_id)


@routes.put("/repositories/<repository_id>")
@allows("repositories.edit")
@operation({200: ref("RepositoryWithHosts")}, body=ref("RepositoryChange"), scope=BY_PATH)
def change(repository_id: str) -> dict[str, Any]:
    """Change name, location or everyday secrets; every host that uses it is told."""
    parts, body = runtime(), documents.body()
    existing = repositories.get(repository_id)
    credential = repositories.credential(repository_id)
    base = RepositoryForm(existing.name, existing.location, username=credential.username if credential else "")
    service.change(
        parts.bus, parts.vault, repository_id=repository_id, form=_form(body, base),
        typed_name=documents.text(body, "typed_name", ""), is_same=documents.flag(body, "is_same", True),
        actor=caller.actor(), now=parts.clock(),
    )  # fmt: skip
    return _with_hosts(repository_id)


@routes.post("/repositories/<repository_id>/hosts")
@allows("repositories.edit")
@operation({200: ref("RepositoryWithHosts")}, body=ref("HostChosen"), scope=BY_PATH)
def assign(repository_id: str) -> dict[str, Any]:
    """Let a host that has no repository use this one."""
    parts = runtime()
    repository_hosts.assign(
        parts.bus, host_id=documents.text(documents.body(), "host_id"), repository_id=repository_id,
        actor=caller.actor(), now=parts.clock(),
    )  # fmt: skip
    return _with_hosts(repository_id)


@routes.delete("/repositories/<repository_id>/hosts/<host_id>")
@allows("repositories.edit")
@operation({204: ""}, scope=BY_PATH)
def unassign(repository_id: str, host_id: str) -> tuple[str, int]:
    """Take the repository and its secrets from a host; nothing in it changes."""
    parts = runtime()
    repository_hosts.unassign(
        parts.bus, repository_id=repository_id, host_id=host_id, actor=caller.actor(), now=parts.clock()
    )
    return "", 204


def _form(body: dict[str, Any], base: RepositoryForm) -> RepositoryForm:
    """What the body says of a repository, and for the rest what `base` says."""
    names = ("name", "location", "password", "username", "secret")
    return replace(base, **{name: documents.text(body, name) for name in names if name in body})


def _with_hosts(repository_id: str) -> dict[str, Any]:
    return _documents([repositories.get(repository_id)])[0]


def _documents(found: list[Repository]) -> list[dict[str, Any]]:
    """Repositories with those of their hosts that the caller may see."""
    ids = [one.id for one in found]
    users, kept = repositories.host_ids_of(ids, scope=caller.scope()), repositories.with_maintenance(ids)
    return [
        documents.repository(one) | {"host_ids": users[one.id], "has_maintenance_credential": one.id in kept}
        for one in found
    ]
