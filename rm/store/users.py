"""Named queries about people and their sessions."""

from datetime import datetime

from rm.errors import NotFound
from rm.store.models import Session, SetupLink, User


def get(user_id: str) -> User:
    """The user; raises NotFound."""
    user = User.get_or_none(User.id == user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


def find_by_name(username: str) -> User | None:
    return User.get_or_none(User.username.collate("NOCASE") == username)


def count() -> int:
    return User.select().count()


def find_by_session(token_hash: str, now: datetime) -> User | None:
    """The enabled user of a session that has not expired."""
    session = (
        Session.select(Session, User)
        .join(User)
        .where(Session.token_hash == token_hash, Session.expires_at > now, User.is_enabled)
        .first()
    )
    return session.user if session else None


def find_setup_link(token_hash: str, now: datetime) -> SetupLink | None:
    return SetupLink.get_or_none(SetupLink.token_hash == token_hash, SetupLink.expires_at > now)
