"""One-time links with which a person chooses their own password."""

from datetime import datetime, timedelta

from rm.domain.actors import Actor
from rm.domain.limits import LINK_PER_ADDRESS
from rm.errors import Gone
from rm.events import EventBus
from rm.services import audit, passwords, sessions, sign_in, tokens
from rm.services.passwords import Offload
from rm.services.sign_in import SignedIn
from rm.services.tries import Tries
from rm.store import user_links as stored
from rm.store.database import changes
from rm.store.models import User, UserLink

LINK_LIFETIME = timedelta(days=7)
_GONE = "This link was used, has expired, or was replaced by a newer one."
_ASK = "Ask an administrator for a new link."


def make(user: User, *, purpose: str, by: str, now: datetime) -> str:
    """The token of a link, to be shown once; the user's other links end. Needs an open transaction."""
    withdraw(user.id)
    token = tokens.make("rml")
    UserLink.create(
        token_hash=tokens.hashed(token), user=user.id, purpose=purpose, created_by=by, created_at=now,
        expires_at=now + LINK_LIFETIME,
    )  # fmt: skip
    return token


def withdraw(user_id: str) -> bool:
    """End a user's links; whether there were any. Needs an open transaction."""
    return bool(UserLink.delete().where(UserLink.user == user_id).execute())


def find(token: str, now: datetime) -> UserLink:
    """The open link of this token with its user; raises Gone."""
    link = stored.find(tokens.hashed(token), now) if token else None
    if link is None:
        raise Gone(_GONE, help=_ASK)
    return link


def choose_password(
    bus: EventBus, *, token: str, password: str, address: str, user_agent: str, now: datetime, limits: Tries,
    offload: Offload, replaces: str = "",
) -> SignedIn:  # fmt: skip
    """Set the password of a link's user, once, and sign them in; where a second factor is set, it is asked for.

    All sessions the user had end. Raises Gone, Invalid or TooMany.
    """
    limits.take("link", address, LINK_PER_ADDRESS, now)
    username = find(token, now).user.username
    password_hash = passwords.hash_new(username=username, password=password, offload=offload)
    with changes():
        # A second tab may have been quicker, or the link withdrawn, while the password was hashed.
        link = find(token, now)
        user = link.user
        UserLink.delete().where(UserLink.user == user.id).execute()
        User.update(password_hash=password_hash, password_changed_at=now).where(User.id == user.id).execute()
        sessions.end_all(bus, user_id=user.id)
        actor = Actor(kind="user", name=user.username, id=user.id, address=address)
        audit.record(
            actor, "user.password_chosen", now=now, kind="user", id=user.id, name=user.username, purpose=link.purpose
        )
        return sign_in.admit(
            user, method="setup", address=address, user_agent=user_agent, now=now, replaces=replaces
        )  # fmt: skip


def forget_expired(*, now: datetime) -> int:
    """Delete links whose time is over; how many."""
    with changes():
        return int(UserLink.delete().where(UserLink.expires_at <= now).execute())
