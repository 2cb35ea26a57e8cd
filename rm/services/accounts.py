"""People: the first administrator, signing in and out."""

import hmac
import logging
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from rm.domain.actors import SERVER, Actor
from rm.domain.limits import LOGIN_PER_ACCOUNT, LOGIN_PER_ADDRESS, SETUP_PER_ADDRESS
from rm.domain.permissions import ROLES
from rm.errors import Conflict, Gone, Invalid, Unauthorised
from rm.events import EventBus
from rm.services import audit, tokens
from rm.services.tries import Tries
from rm.shared.ids import new_ulid
from rm.store import users
from rm.store.database import IntegrityError, changes
from rm.store.models import Session, SetupLink, User

log = logging.getLogger(__name__)

SESSION_LIFETIME = timedelta(hours=12)
SETUP_LIFETIME = timedelta(days=7)
MIN_PASSWORD = 12
MAX_PASSWORD = 1024
_USERNAME = re.compile(r"[\w][\w.@+-]{1,63}")

# argon2id with 64 MiB; the library's defaults, which follow RFC 9106's second choice
_hasher = PasswordHasher()
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$H58oNkZjknhY6YHkhmYPVQ$u8NRHntfCNaC6bsX7hWJfI6ffQ5K4HxNHZxvjm+wS/Q"

Offload = Callable[..., Any]


def is_first_run() -> bool:
    """Whether there is no user yet."""
    return users.count() == 0


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
    return is_first_run() and users.find_setup_link(tokens.hashed(token), now) is not None


def create_first_admin(
    bus: EventBus,
    *,
    setup_token: str,
    username: str,
    password: str,
    address: str,
    now: datetime,
    limits: Tries,
    offload: Offload,
) -> tuple[User, str]:
    """The first administrator and a session for them; raises Gone, Invalid or TooMany."""
    limits.take("setup", address, SETUP_PER_ADDRESS, now)
    if not setup_is_open(setup_token, now):
        raise Gone("This setup link was used or has expired. Restart the server to get a new one, if no user exists.")
    password_hash = hash_password(username=username, password=password, offload=offload)
    with changes():
        # A second tab may have been quicker while the password was hashed.
        if not setup_is_open(setup_token, now):
            raise Gone("The first administrator exists already. Sign in instead.")
        user = _create(username=username, role="admin", password_hash=password_hash, now=now)
        SetupLink.delete().execute()
        actor = Actor(kind="user", name=user.username, id=user.id, address=address)
        audit.record(actor, "user.created", now=now, kind="user", id=user.id, name=user.username, role="admin")
        token = _open_session(user, address=address, now=now)
    return user, token


def create_user(bus: EventBus, *, username: str, password: str, role: str, now: datetime, offload: Offload) -> User:
    """A user made on the server's command line; raises Invalid or Conflict."""
    if role not in ROLES:
        raise Invalid({"role": f"Choose one of {', '.join(ROLES)}."})
    password_hash = hash_password(username=username, password=password, offload=offload)
    with changes():
        user = _create(username=username, role=role, password_hash=password_hash, now=now)
        SetupLink.delete().execute()
        audit.record(SERVER, "user.created", now=now, kind="user", id=user.id, name=user.username, role=role)
    return user


def log_in(
    bus: EventBus, *, username: str, password: str, address: str, now: datetime, limits: Tries, offload: Offload
) -> str:
    """A session token; raises Unauthorised with the tries that are left, or TooMany."""
    account = username.casefold()[:64]
    limits.check("login.address", address, LOGIN_PER_ADDRESS, now)
    limits.check("login.account", account, LOGIN_PER_ACCOUNT, now)
    # Counted before the slow part, so that many at once cannot slip through together.
    limits.count("login.address", address, LOGIN_PER_ADDRESS, now)
    left = limits.count("login.account", account, LOGIN_PER_ACCOUNT, now)
    user = users.find_by_name(username)
    usable = user is not None and user.is_enabled
    # An unknown name costs the same time as a wrong password.
    matches = offload(_verify, user.password_hash if usable and user else _NOBODY, password[:MAX_PASSWORD])
    if user is None or not usable or not matches:
        actor = Actor(kind="user", name=user.username if user else "unknown name", address=address)
        with changes():
            audit.record(actor, "user.login_failed", now=now)
        tail = f" {left} attempts left before a pause." if left else " The next attempt is possible in 15 min."
        raise Unauthorised("Name or password is wrong." + tail, code="login_failed")
    limits.forget("login.account", account)
    # Many people behind one address come to work at the same time. Only this try: whoever also guesses still pays.
    limits.give_back("login.address", address)
    with changes():
        token = _open_session(user, address=address, now=now)
        User.update(last_login_at=now).where(User.id == user.id).execute()
        actor = Actor(kind="user", name=user.username, id=user.id, address=address)
        audit.record(actor, "user.logged_in", now=now, kind="user", id=user.id, name=user.username)
    return token


def log_out(bus: EventBus, *, session_token: str, actor: Actor, now: datetime) -> None:
    """End a session; ending one that is over is no error."""
    with changes():
        if Session.delete().where(Session.token_hash == tokens.hashed(session_token)).execute():
            audit.record(actor, "user.logged_out", now=now, kind="user", id=actor.id, name=actor.name)


def find_session(session_token: str, now: datetime) -> User | None:
    """The user whose session this is, as they are now: a disabled user has none."""
    return users.find_by_session(tokens.hashed(session_token), now) if session_token else None


def forget_expired_sessions(*, now: datetime) -> int:
    with changes():
        return Session.delete().where(Session.expires_at <= now).execute()


def hash_password(*, username: str, password: str, offload: Offload) -> str:
    """The argon2id hash, made away from the event loop; raises Invalid for a name or password that cannot be used."""
    wrong = {}
    if not _USERNAME.fullmatch(username):
        wrong["username"] = "Use 2 to 64 letters, digits or . _ @ + - and begin with a letter or digit."
    if len(password) < MIN_PASSWORD:
        wrong["password"] = f"Use at least {MIN_PASSWORD} characters; a few words in a row are good."
    elif len(password) > MAX_PASSWORD:
        wrong["password"] = f"Use at most {MAX_PASSWORD} characters."
    elif hmac.compare_digest(password.encode(), username.encode()):
        wrong["password"] = "Choose something else than the name."
    if wrong:
        raise Invalid(wrong)
    return str(offload(_hasher.hash, password))


def _create(*, username: str, role: str, password_hash: str, now: datetime) -> User:
    try:
        return User.create(
            id=new_ulid(), username=username, role=role, password_hash=password_hash, is_enabled=True, created_at=now
        )
    except IntegrityError as error:
        raise Conflict(f"There is a user named {username} already.", code="username_taken") from error


def _open_session(user: User, *, address: str, now: datetime) -> str:
    token = tokens.make("rmu")
    Session.create(
        token_hash=tokens.hashed(token),
        user=user.id,
        address=address,
        created_at=now,
        expires_at=now + SESSION_LIFETIME,
    )
    return token


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
