"""Who calls the API, as the guard found them: a person with a session, or a program with a token."""

from flask import g, request

from rm.domain import permissions
from rm.domain.actors import Actor
from rm.domain.limits import CALLS_PER_USER
from rm.errors import Forbidden, Unauthorised
from rm.runtime import runtime
from rm.services.api_tokens import Program
from rm.store.models import User


def program() -> Program | None:
    """The program that calls with a token; None for a person."""
    found: Program | None = g.get("program")
    return found


def actor() -> Actor:
    """Who calls, as services and the audit know them; raises Unauthorised when nobody is signed in."""
    address = request.remote_addr or ""
    called_by = program()
    if called_by is not None:
        return called_by.actor(address)
    user: User | None = g.get("user")
    if user is None:
        raise Unauthorised("Sign in first.")
    return Actor(kind="user", name=user.username, id=user.id, address=address, role=user.role)


def may(permission: str) -> bool:
    """Whether whoever calls has the permission."""
    return permissions.is_allowed(actor().role, permission)


def scope() -> tuple[str, ...]:
    """The tags of the hosts that whoever calls may see; empty: all of them."""
    called_by = program()
    return called_by.tags if called_by is not None else ()


def spend_call() -> None:
    """Raises TooMany: nobody may make this server call somewhere without end, with how many tokens so ever."""
    called_by = program()
    who = called_by.user_id or called_by.token_id if called_by is not None else actor().id
    runtime().limits.take("outgoing", who, CALLS_PER_USER, runtime().clock())


def need_person() -> None:
    """Raises Forbidden for a program: some things end with a token, and must not be had with one."""
    if program() is not None:
        raise Forbidden(
            "A token cannot do this.", code="person_needed", help="Sign in with your browser and do it there."
        )
