"""People as an administrator cares for them: adding, roles, disabling, removing."""

from datetime import datetime

from rm.domain.actors import Actor
from rm.domain.permissions import ROLES
from rm.errors import Conflict, Invalid
from rm.events import AccessChanged, EventBus
from rm.services import audit, oneself, passwords, sessions, user_links
from rm.shared.ids import new_ulid
from rm.store import users as stored
from rm.store.database import IntegrityError, changes, publish_after_commit
from rm.store.models import User

MOST_USERS = 1000


def invite(bus: EventBus, *, username: str, role: str, actor: Actor, now: datetime) -> tuple[User, str]:
    """A user without a password, and the token of the link with which they choose one; raises Invalid or Conflict."""
    wrong = passwords.check_username(username) | _check_role(role)
    if wrong:
        raise Invalid(wrong)
    with changes():
        if stored.count() >= MOST_USERS:
            raise Conflict(f"There are {MOST_USERS} users; more is not foreseen. Remove those who left.")
        user = create_row(username=username, role=role, password_hash="", by=actor.name, now=now)
        audit.record(actor, "user.created", now=now, kind="user", id=user.id, name=user.username, role=role)
        token = user_links.make(user, purpose="setup", by=actor.name, now=now)
    return user, token


def new_link(bus: EventBus, *, user_id: str, actor: Actor, now: datetime) -> str:
    """The token of a fresh link with which a user chooses a password; links made before end. Raises Conflict."""
    with changes():
        user = stored.get(user_id)
        if user.id == actor.id and user.password_hash:
            raise Conflict("This is your own account. Change the password on the page of your account.")
        if not user.is_enabled:
            raise Conflict(f"{user.username} is disabled. Enable the account first, then make the link.")
        purpose = "reset" if user.password_hash else "setup"
        token = user_links.make(user, purpose=purpose, by=actor.name, now=now)
        audit.record(actor, "user.link_made", now=now, kind="user", id=user.id, name=user.username, purpose=purpose)
    return token


def withdraw_link(bus: EventBus, *, user_id: str, actor: Actor, now: datetime) -> None:
    """End a user's open link; ending none is no error."""
    with changes():
        user = stored.get(user_id)
        if user_links.withdraw(user.id):
            audit.record(actor, "user.link_withdrawn", now=now, kind="user", id=user.id, name=user.username)


def set_role(
    bus: EventBus, *, user_id: str, role: str, actor: Actor, now: datetime, typed_name: str = ""
) -> User:  # fmt: skip
    """The user with another role, which counts from the next request on.

    Who gets more than before signs in again, so that nobody inherits it with a session they took over. One's own role
    changes only with one's name typed. Raises Invalid or Conflict (the last administrator).
    """
    wrong = _check_role(role)
    if wrong:
        raise Invalid(wrong)
    with changes():
        user = stored.get(user_id)
        before = user.role
        if role == before:
            return user
        oneself.check_is_meant(user, actor, typed_name, f"This is your own account: you will be {role} at once.")
        if role != "admin":
            refuse_without_admin(user)
        User.update(role=role).where(User.id == user.id).execute()
        audit.record(
            actor, "user.role_set", now=now, kind="user", id=user.id, name=user.username, before=before, after=role
        )
        if ROLES.index(role) > ROLES.index(before):
            sessions.end_all(bus, user_id=user.id)
        publish_after_commit(bus, AccessChanged(user.id))
    return stored.get(user_id)


def disable(bus: EventBus, *, user_id: str, actor: Actor, now: datetime, typed_name: str = "") -> None:
    """Nobody signs in as this user any more: sessions and links end at once. Raises Invalid or Conflict."""
    with changes():
        user = stored.get(user_id)
        if not user.is_enabled:
            return
        oneself.check_is_meant(user, actor, typed_name, "This is your own account: you will be signed out at once.")
        refuse_without_admin(user)
        User.update(is_enabled=False).where(User.id == user.id).execute()
        user_links.withdraw(user.id)
        ended = sessions.end_all(bus, user_id=user.id)
        audit.record(actor, "user.disabled", now=now, kind="user", id=user.id, name=user.username, sessions=ended)


def enable(bus: EventBus, *, user_id: str, actor: Actor, now: datetime) -> None:
    """The user may sign in again, with the password and second factor they had."""
    with changes():
        user = stored.get(user_id)
        if User.update(is_enabled=True).where(User.id == user.id, User.is_enabled == False).execute():  # noqa: E712
            audit.record(actor, "user.enabled", now=now, kind="user", id=user.id, name=user.username)


def remove(bus: EventBus, *, user_id: str, typed_name: str, actor: Actor, now: datetime) -> None:
    """Delete a user with their sessions and tokens; what they did stays in the audit. Raises Invalid or Conflict."""
    with changes():
        user = stored.get(user_id)
        if typed_name != user.username:
            raise Invalid({"typed_name": f"Type {user.username} exactly."})
        refuse_without_admin(user)
        sessions.end_all(bus, user_id=user.id)
        User.delete().where(User.id == user.id).execute()
        audit.record(actor, "user.removed", now=now, kind="user", id=user.id, name=user.username, role=user.role)


def refuse_without_admin(user: User) -> None:
    """Raises Conflict if nobody else could administer when this user cannot any more. Needs the open transaction.

    Only an enabled administrator with a password counts: a link may get lost, and a sign-in provider may be away.
    """
    if user.role == "admin" and user.is_enabled and user.password_hash and not stored.count_other_admins(user.id):
        raise Conflict(
            f"{user.username} is the last enabled administrator with a password; without one nobody could get in.",
            code="last_admin",
            help="Make another person administrator first, and let them choose a password.",
        )


def create_row(*, username: str, role: str, password_hash: str, by: str, now: datetime) -> User:
    """A new user's row; raises Conflict for a name that is taken. Needs an open transaction."""
    try:
        return User.create(
            id=new_ulid(), username=username, role=role, password_hash=password_hash, is_enabled=True, created_at=now,
            created_by=by, password_changed_at=now if password_hash else None,
        )  # fmt: skip
    except IntegrityError as error:
        raise Conflict(f"There is a user named {username} already.", code="username_taken") from error


def _check_role(role: str) -> dict[str, str]:
    return {} if role in ROLES else {"role": f"Choose one of {', '.join(ROLES)}."}
