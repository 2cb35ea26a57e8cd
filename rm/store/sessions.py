"""Named queries about sessions and half-done sign-ins."""

from datetime import datetime

from rm.store.models import Session, SignInStep, User


def find(token_hash: str, now: datetime) -> Session | None:
    """The session with its enabled user, if it has not expired."""
    return (
        Session.select(Session, User)
        .join(User)
        .where(Session.token_hash == token_hash, Session.expires_at > now, User.is_enabled)
        .first()
    )


def find_of_user(user_id: str, session_id: str, now: datetime) -> Session | None:
    return (
        Session.select(Session, User)
        .join(User)
        .where(Session.user == user_id, Session.id == session_id, Session.id != "", Session.expires_at > now)
        .first()
    )


def list_of_user(user_id: str, now: datetime) -> list[Session]:
    """The sessions of a user, the one used last first."""
    query = Session.select().where(Session.user == user_id, Session.expires_at > now)
    return list(query.order_by(Session.last_seen_at.desc(), Session.created_at.desc()))


def delete_oldest(user_id: str, *, keep: int) -> None:
    """Delete a user's sessions beyond the newest `keep`."""
    newest = (
        Session.select(Session.token_hash)
        .where(Session.user == user_id)
        .order_by(Session.created_at.desc(), Session.id.desc())
        .limit(keep)
    )
    Session.delete().where(Session.user == user_id, Session.token_hash.not_in(newest)).execute()


def find_step(token_hash: str, now: datetime) -> SignInStep | None:
    """A sign-in that waits for its second factor, with its enabled user."""
    return (
        SignInStep.select(SignInStep, User)
        .join(User)
        .where(SignInStep.token_hash == token_hash, SignInStep.expires_at > now, User.is_enabled)
        .first()
    )


def delete_oldest_steps(user_id: str, *, keep: int) -> None:
    """Delete a user's half-done sign-ins beyond the newest `keep`."""
    newest = (
        SignInStep.select(SignInStep.token_hash)
        .where(SignInStep.user == user_id)
        .order_by(SignInStep.created_at.desc(), SignInStep.token_hash)
        .limit(keep)
    )
    SignInStep.delete().where(SignInStep.user == user_id, SignInStep.token_hash.not_in(newest)).execute()
