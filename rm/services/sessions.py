"""Sessions: who is signed in, where, since when, and how that ends."""

import logging
from datetime import datetime, timedelta

from rm.domain.actors import Actor
from rm.errors import NotFound, Unavailable
from rm.events import AccessChanged, EventBus
from rm.services import audit, general_settings, tokens
from rm.shared.ids import new_ulid
from rm.store import sessions as stored
from rm.store.database import DatabaseError, changes, publish_after_commit
from rm.store.models import Session, SignInStep, User

log = logging.getLogger(__name__)

SEEN_EVERY = timedelta(minutes=1)
MOST_PER_USER = 50
MAX_USER_AGENT = 300

METHODS = ("password", "totp", "oidc", "setup")


def open_session(user: User, *, method: str, address: str, user_agent: str, now: datetime) -> str:
    """The token of a fresh session, for a cookie; `method` is one of METHODS. Needs an open transaction.

    The token is never one that came with the request, so that nobody can be made to sign in to a session another knows.
    """
    if method not in METHODS:
        raise ValueError(f"no such way to sign in: {method}")
    token = tokens.make("rmu")
    Session.create(
        token_hash=tokens.hashed(token),
        id=new_ulid(),
        user=user.id,
        address=address,
        user_agent=user_agent[:MAX_USER_AGENT],
        method=method,
        created_at=now,
        last_seen_at=now,
        expires_at=now + general_settings.current().session_lifetime,
    )
    stored.delete_oldest(user.id, keep=MOST_PER_USER)
    return token


def find(session_token: str, now: datetime) -> Session | None:
    """The session of this token with its user, as they are now; a disabled user has none."""
    return stored.find(tokens.hashed(session_token), now) if session_token else None


def find_user(session_token: str, now: datetime) -> User | None:
    """The user whose session this is, as they are now."""
    session = find(session_token, now)
    return session.user if session else None


def note_seen(session: Session, *, now: datetime) -> None:
    """Keep when the session was last used, at most once a minute; a page must not fail because this cannot be kept."""
    if session.last_seen_at is not None and now - session.last_seen_at < SEEN_EVERY:
        return
    try:
        with changes():
            Session.update(last_seen_at=now).where(Session.token_hash == session.token_hash).execute()
    except (DatabaseError, Unavailable) as error:
        log.warning("when a session was last used could not be kept: %s", error)


def log_out(bus: EventBus, *, session_token: str, actor: Actor, now: datetime) -> None:
    """End a session; ending one that is over is no error."""
    with changes():
        if Session.delete().where(Session.token_hash == tokens.hashed(session_token)).execute():
            audit.record(actor, "user.logged_out", now=now, kind="user", id=actor.id, name=actor.name)
            publish_after_commit(bus, AccessChanged(actor.id))


def replace(session_token: str) -> None:
    """End the session a browser had before it signed in anew. Needs an open transaction."""
    if session_token:
        Session.delete().where(Session.token_hash == tokens.hashed(session_token)).execute()


def revoke(bus: EventBus, *, user_id: str, session_id: str, actor: Actor, now: datetime) -> None:
    """End one session of a user; raises NotFound for a session that is not theirs or is over."""
    with changes():
        session = stored.find_of_user(user_id, session_id, now)
        if session is None:
            raise NotFound("There is no such session; it may have ended already.")
        Session.delete().where(Session.token_hash == session.token_hash).execute()
        user = session.user
        audit.record(
            actor, "session.revoked", now=now, kind="user", id=user.id, name=user.username,
            address=session.address, began=session.created_at.isoformat(),
        )  # fmt: skip
        publish_after_commit(bus, AccessChanged(user_id))


def revoke_others(bus: EventBus, *, user: User, session_token: str, actor: Actor, now: datetime) -> int:
    """End all sessions of a user but the one of this token; how many ended."""
    with changes():
        ended = end_all(bus, user_id=user.id, but=session_token)
        if ended:
            audit.record(
                actor, "session.others_revoked", now=now, kind="user", id=user.id, name=user.username, count=ended
            )
    return ended


def end_all(bus: EventBus, *, user_id: str, but: str = "") -> int:
    """End the sessions of a user, and what they began to sign in, except the one of a token. Needs a transaction."""
    theirs = Session.user == user_id
    if but:
        theirs &= Session.token_hash != tokens.hashed(but)
    SignInStep.delete().where(SignInStep.user == user_id).execute()
    ended: int = Session.delete().where(theirs).execute()
    publish_after_commit(bus, AccessChanged(user_id))
    return ended


def forget_expired(*, now: datetime) -> int:
    """Delete the sessions and half-done sign-ins whose time is over; how many sessions."""
    with changes():
        SignInStep.delete().where(SignInStep.expires_at <= now).execute()
        ended: int = Session.delete().where(Session.expires_at <= now).execute()
    return ended
