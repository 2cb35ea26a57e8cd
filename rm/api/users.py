"""People for programs: who may sign in, what they may do, and the links with which they choose a password."""

from typing import Any

from flask import Blueprint

from rm.api import caller, documents
from rm.api.operations import operation
from rm.api.shapes import page_of, ref
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import second_factor
from rm.services import users as service
from rm.store import user_links, users
from rm.store.models import User, UserLink

routes = Blueprint("api_users", __name__, url_prefix="/api/v1/users")


@routes.get("")
@allows("users.manage")
@operation({200: page_of("User")})
def index() -> dict[str, Any]:
    """Everybody, by name."""
    links = user_links.open_by_user(runtime().clock())
    return {"items": [_document(one, links.get(one.id)) for one in users.list_all()], "next": None}


@routes.post("")
@allows("users.manage")
@operation({201: ref("UserInvited")}, body=ref("NewUser"), people=True)
def create() -> tuple[dict[str, Any], int]:
    """Add a person; the link with which they choose a password is shown this once."""
    parts, body = runtime(), documents.body()
    user, token = service.invite(
        parts.bus, username=documents.text(body, "username"), role=documents.text(body, "role"),
        actor=caller.actor(), now=parts.clock(),
    )  # fmt: skip
    return _one(user.id) | {"link": _link(token)}, 201


@routes.get("/<user_id>")
@allows("users.manage")
@operation({200: ref("User")})
def show(user_id: str) -> dict[str, Any]:
    """One person."""
    return _one(user_id)


@routes.put("/<user_id>")
@allows("users.manage")
@operation({200: ref("User")}, body=ref("UserRole"), people=True)
def change(user_id: str) -> dict[str, Any]:
    """Give a person another role, in effect at once; one's own wants the name as `typed_name`."""
    parts, body = runtime(), documents.body()
    service.set_role(
        parts.bus, user_id=user_id, role=documents.text(body, "role"), actor=caller.actor(), now=parts.clock(),
        typed_name=documents.text(body, "typed_name", ""),
    )  # fmt: skip
    return _one(user_id)


@routes.delete("/<user_id>")
@allows("users.manage")
@operation({204: ""})
def remove(user_id: str) -> tuple[str, int]:
    """Delete a person with their sessions and tokens; whoever calls has typed their id."""
    parts = runtime()
    service.remove(
        parts.bus, user_id=user_id, typed_name=users.get(user_id).username, actor=caller.actor(), now=parts.clock()
    )
    return "", 204


@routes.post("/<user_id>/disable")
@allows("users.manage")
@operation({200: ref("User")}, body=ref("MaybeTypedName"), may_be_empty=True)
def disable(user_id: str) -> dict[str, Any]:
    """Let nobody in as this person any more; oneself wants the name as `typed_name`."""
    parts = runtime()
    typed = documents.text(documents.body_or_nothing(), "typed_name", "")
    service.disable(parts.bus, user_id=user_id, typed_name=typed, actor=caller.actor(), now=parts.clock())
    return _one(user_id)


@routes.post("/<user_id>/enable")
@allows("users.manage")
@operation({200: ref("User")}, people=True)
def enable(user_id: str) -> dict[str, Any]:
    """Let the person in again."""
    parts = runtime()
    service.enable(parts.bus, user_id=user_id, actor=caller.actor(), now=parts.clock())
    return _one(user_id)


@routes.post("/<user_id>/link")
@allows("users.manage")
@operation({201: ref("UserInvited")}, people=True)
def new_link(user_id: str) -> tuple[dict[str, Any], int]:
    """A fresh link to choose a password with, shown this once; the one before ends."""
    parts = runtime()
    token = service.new_link(parts.bus, user_id=user_id, actor=caller.actor(), now=parts.clock())
    return _one(user_id) | {"link": _link(token)}, 201


@routes.delete("/<user_id>/link")
@allows("users.manage")
@operation({204: ""})
def withdraw_link(user_id: str) -> tuple[str, int]:
    """End the open link."""
    parts = runtime()
    service.withdraw_link(parts.bus, user_id=user_id, actor=caller.actor(), now=parts.clock())
    return "", 204


@routes.post("/<user_id>/reset-second-factor")
@allows("users.manage")
@operation({200: ref("User")}, people=True)
def reset_second_factor(user_id: str) -> dict[str, Any]:
    """Take the second factor away from who lost it; their sessions end."""
    parts = runtime()
    second_factor.reset(parts.bus, user_id=user_id, actor=caller.actor(), now=parts.clock())
    return _one(user_id)


def _one(user_id: str) -> dict[str, Any]:
    return _document(users.get(user_id), user_links.open_of(user_id, runtime().clock()))


def _link(token: str) -> str:
    return f"{runtime().settings.base_url}/choose-password?token={token}"


def _document(found: User, link: UserLink | None) -> dict[str, Any]:
    return {
        "id": found.id,
        "username": found.username,
        "role": found.role,
        "is_enabled": found.is_enabled,
        "has_password": bool(found.password_hash),
        "has_second_factor": found.totp_confirmed_at is not None,
        "is_from_provider": bool(found.oidc_subject),
        "link_expires_at": documents.instant(link.expires_at if link else None),
        "created_at": documents.instant(found.created_at),
        "created_by": found.created_by or None,
        "last_login_at": documents.instant(found.last_login_at),
    }
