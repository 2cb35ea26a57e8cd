"""What belongs to the request at hand: the moment, who asks, and what they may."""

from datetime import datetime

from flask import g, request

from rm.domain import permissions
from rm.domain.actors import Actor
from rm.domain.limits import CALLS_PER_USER
from rm.runtime import runtime
from rm.services.api_tokens import Program
from rm.store.models import User


def now() -> datetime:
    """The moment of this request; it stands still until the request ends."""
    if "now" not in g:
        g.now = runtime().clock()
    moment: datetime = g.now
    return moment


def page_number() -> int:
    """The page of a list that the address asks for; the first for what makes no sense."""
    number = request.args.get("page", "1")
    return max(1, int(number)) if number.isdecimal() and len(number) < 5 else 1


def user() -> User | None:
    """Who is signed in, if anybody is."""
    found: User | None = g.get("user")
    return found


def program() -> Program | None:
    """The program that called with a token, if one did; only the API knows tokens."""
    found: Program | None = g.get("program")
    return found


def actor() -> Actor:
    """Who acts in this request, as services and the audit know them; raises LookupError when nobody is signed in."""
    called_by = program()
    if called_by is not None:
        return called_by.actor(request.remote_addr or "")
    found = user()
    if found is None:
        raise LookupError("nobody is signed in")
    return Actor(kind="user", name=found.username, id=found.id, address=request.remote_addr or "", role=found.role)


def spend_call() -> None:
    """Raises TooMany: one person may not make this server call somewhere without end."""
    runtime().limits.take("outgoing", actor().id, CALLS_PER_USER, now())


def may(permission: str) -> bool:
    """Whether whoever asks has the permission."""
    found = program() or user()
    return permissions.is_allowed(found.role if found else None, permission)
