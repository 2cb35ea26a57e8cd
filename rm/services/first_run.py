"""The first run: the setup link, and the first administrator."""

from datetime import datetime, timedelta

from rm.domain.actors import SERVER, Actor
from rm.domain.limits import SETUP_PER_ADDRESS
from rm.domain.permissions import ROLES
from rm.errors import Gone, Invalid
from rm.events import EventBus
from rm.services import audit, passwords, sessions, tokens, users
from rm.services.passwords import Offload
from rm.services.tries import Tries
from rm.store import users as stored
from rm.store.database import changes
from rm.store.models import SetupLink, User

SETUP_LIFETIME = timedelta(days=7)


def is_first_run() -> bool:
    """Whether there is no user yet."""
    return stored.count() == 0


def open_setup(*, fixed_token: str, now: datetime) -> str | None:
    """The token of a fresh setup link while there is no user, else None; links made before end."""
    with changes():
        SetupLink.delete().execute()
        if not is_first_run():
            return None
        token = fixed_token or tokens.make("rms")
        SetupLink.create(token_hash=tokens.hashed(token), created_at=now, expires_at=now + SETUP_LIFETIME)
    return token


def setup_is_open(token: str, now: datetime) -> bool:
    """Whether this token still opens the first run's setup."""
    return is_first_run() and stored.find_setup_link(tokens.hashed(token), now) is not None


def create_first_admin(
    bus: EventBus, *, setup_token: str, username: str, password: str, address: str, now: datetime, limits: Tries,
    offload: Offload, user_agent: str = "",
) -> tuple[User, str]:  # fmt: skip
    """The first administrator and a session for them; raises Gone, Invalid or TooMany."""
    limits.take("setup", address, SETUP_PER_ADDRESS, now)
    if not setup_is_open(setup_token, now):
        raise Gone("This setup link was used or has expired. Restart the server to get a new one, if no user exists.")
    password_hash = _hash(username, password, offload)
    with changes():
        # A second tab may have been quicker while the password was hashed.
        if not setup_is_open(setup_token, now):
            raise Gone("The first administrator exists already. Sign in instead.")
        user = users.create_row(username=username, role="admin", password_hash=password_hash, by="", now=now)
        SetupLink.delete().execute()
        actor = Actor(kind="user", name=user.username, id=user.id, address=address)
        audit.record(actor, "user.created", now=now, kind="user", id=user.id, name=user.username, role="admin")
        User.update(last_login_at=now).where(User.id == user.id).execute()
        token = sessions.open_session(user, method="setup", address=address, user_agent=user_agent, now=now)
    return user, token


def create_user(bus: EventBus, *, username: str, password: str, role: str, now: datetime, offload: Offload) -> User:
    """A user made on the server's command line; raises Invalid or Conflict."""
    if role not in ROLES:
        raise Invalid({"role": f"Choose one of {', '.join(ROLES)}."})
    password_hash = _hash(username, password, offload)
    with changes():
        user = users.create_row(
            username=username, role=role, password_hash=password_hash, by="the command line", now=now
        )
        SetupLink.delete().execute()
        audit.record(SERVER, "user.created", now=now, kind="user", id=user.id, name=user.username, role=role)
    return user


def _hash(username: str, password: str, offload: Offload) -> str:
    wrong = passwords.check_username(username)
    if wrong:
        raise Invalid(wrong | passwords.check_password(username=username, password=password))
    return passwords.hash_new(username=username, password=password, offload=offload)
