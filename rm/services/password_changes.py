"""Changing a password: one's own, or from the server's command line."""

from datetime import datetime

from rm.domain.actors import SERVER, Actor
from rm.errors import Conflict, Invalid, NotFound, Unauthorised
from rm.events import EventBus
from rm.services import api_tokens, audit, passwords, sessions, user_links
from rm.services.passwords import Offload
from rm.services.tries import Tries
from rm.store import users as stored
from rm.store.database import changes
from rm.store.models import User


def change_own(
    bus: EventBus, *, session_token: str, current: str, new: str, actor: Actor, user_agent: str, now: datetime,
    limits: Tries, offload: Offload, revokes_tokens: bool = False,
) -> str:  # fmt: skip
    """The token of the session that goes on; all sessions of the user end, this one too, and so do open links.

    Tokens of programs stay good unless it `revokes_tokens`: what uses them must not stop for a changed password.

    Raises Invalid (by field), Conflict (no password to change), Unauthorised (the session is over) or TooMany.
    """
    user = stored.get(actor.id)
    if not user.password_hash:
        raise Conflict("You sign in through your provider; there is no password here to change.")
    passwords.confirm(user, current, actor=actor, now=now, limits=limits, offload=offload, field="current")
    if new == current:
        raise Invalid({"password": "This is the present one; choose another."})
    password_hash = passwords.hash_new(username=user.username, password=new, offload=offload)
    with changes():
        session = sessions.find(session_token, now)
        if session is None or session.user_id != user.id:
            raise Unauthorised("Sign in first.")
        is_set = (
            User.update(password_hash=password_hash, password_changed_at=now)
            .where(User.id == user.id, User.password_hash == user.password_hash)
            .execute()
        )
        if not is_set:
            raise Conflict("The password was changed meanwhile, in another place. Nothing was done here.")
        sessions.end_all(bus, user_id=user.id)
        user_links.withdraw(user.id)
        revoked = api_tokens.revoke_all(user_id=user.id, actor=actor, now=now) if revokes_tokens else 0
        audit.record(
            actor, "user.password_changed", now=now, kind="user", id=user.id, name=user.username, revoked=revoked
        )  # fmt: skip
        return sessions.open_session(
            user, method=session.method, address=actor.address, user_agent=user_agent, now=now
        )  # fmt: skip


def set_by_server(bus: EventBus, *, username: str, password: str, now: datetime, offload: Offload) -> User:
    """The user with this password, enabled, signed out everywhere; role and second factor stay. Raises NotFound or
    Invalid."""
    user = find_named(username)
    password_hash = passwords.hash_new(username=user.username, password=password, offload=offload)
    with changes():
        user = stored.get(user.id)
        User.update(password_hash=password_hash, password_changed_at=now, is_enabled=True).where(
            User.id == user.id
        ).execute()
        sessions.end_all(bus, user_id=user.id)
        user_links.withdraw(user.id)
        audit.record(
            SERVER, "user.password_set", now=now, kind="user", id=user.id, name=user.username,
            was_enabled=user.is_enabled,
        )  # fmt: skip
    return user


def find_named(username: str) -> User:
    """The user of this name, upper or lower case; raises NotFound."""
    user = stored.find_by_name(username)
    if user is None:
        raise NotFound(f"There is no user named {username}.")
    return user
