"""Names and passwords: what can be used, hashing and checking away from the event loop."""

import hmac
import re
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from rm.domain.actors import Actor
from rm.domain.limits import PASSWORD_PER_ACCOUNT
from rm.errors import Invalid, Unavailable
from rm.services import refusals
from rm.services.tries import Tries
from rm.store.models import User

MIN_PASSWORD = 12
MAX_PASSWORD = 1024
# SQLite folds case for ASCII only, and letters that look alike make two people of one name.
_USERNAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{1,63}")

# argon2id with 64 MiB; the library's defaults, which follow RFC 9106's second choice
_hasher = PasswordHasher()
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$H58oNkZjknhY6YHkhmYPVQ$u8NRHntfCNaC6bsX7hWJfI6ffQ5K4HxNHZxvjm+wS/Q"

# Each takes 64 MiB and a real thread, and strangers may ask for it: many at once must not starve the rest.
_AT_ONCE = 4
_WAIT_SECONDS = 20.0
_turns = threading.BoundedSemaphore(_AT_ONCE)

Offload = Callable[..., Any]


def check_username(username: str) -> dict[str, str]:
    """What is wrong with a name, by field; empty for one that can be used."""
    if _USERNAME.fullmatch(username):
        return {}
    return {"username": "Use 2 to 64 letters a-z, digits or . _ @ + - and begin with a letter or digit."}


def check_password(*, username: str, password: str) -> dict[str, str]:
    """What is wrong with a password, by field; empty for one that can be used."""
    if len(password) < MIN_PASSWORD:
        return {"password": f"Use at least {MIN_PASSWORD} characters; a few words in a row are good."}
    if len(password) > MAX_PASSWORD:
        return {"password": f"Use at most {MAX_PASSWORD} characters."}
    if hmac.compare_digest(_encoded(password.casefold()), _encoded(username.casefold())):
        return {"password": "Choose something else than the name."}
    return {}


def hash_new(*, username: str, password: str, offload: Offload) -> str:
    """The argon2id hash of a password that can be used; raises Invalid for one that cannot. Not in a transaction."""
    wrong = check_password(username=username, password=password)
    if wrong:
        raise Invalid(wrong)
    return str(_in_turn(offload, _hash, password))


def matches(stored_hash: str, password: str, *, offload: Offload) -> bool:
    """Whether a password is the right one. No hash (no such user, or one without a password) matches nothing.

    That takes as long as a wrong password does, so that time tells nobody who exists. Not in a transaction.
    """
    is_right = bool(_in_turn(offload, _verify, stored_hash or _NOBODY, password[:MAX_PASSWORD]))
    return is_right and bool(stored_hash)


def confirm(
    user: User, password: str, *, actor: Actor, now: datetime, limits: Tries, offload: Offload, field: str = "password"
) -> None:
    """Ask somebody who is signed in for their password again; raises Invalid or TooMany. Not in a transaction."""
    limits.take("password.account", user.id, PASSWORD_PER_ACCOUNT, now)
    if not matches(user.password_hash, password, offload=offload):
        refusals.record(limits, actor, "user.password_refused", now=now)
        raise Invalid({field: "This is not your present password."})
    limits.forget("password.account", user.id)


def _in_turn(offload: Offload, function: Callable[..., Any], *args: str) -> Any:
    if not _turns.acquire(timeout=_WAIT_SECONDS):
        raise Unavailable("Too many people sign in just now.", code="busy", help="Try again in a moment.")
    try:
        return offload(function, *args)
    finally:
        _turns.release()


def _hash(password: str) -> str:
    return _hasher.hash(_encoded(password))


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, _encoded(password))
    except (VerificationError, InvalidHashError):
        return False


def _encoded(text: str) -> bytes:
    # A lone surrogate, which JSON can carry, has no UTF-8.
    return text.encode("utf-8", "replace")
