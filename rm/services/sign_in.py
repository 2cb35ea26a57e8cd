"""Signing in: the password, then the second factor where one is set, then a session."""

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from rm.domain.actors import Actor
from rm.domain.limits import CODE_PER_ACCOUNT, CODE_PER_ADDRESS, LOGIN_PER_ACCOUNT, LOGIN_PER_ADDRESS
from rm.errors import Gone, Unauthorised
from rm.events import EventBus
from rm.services import audit, passwords, refusals, second_factor, sessions, tokens
from rm.services.passwords import Offload
from rm.services.tries import Tries
from rm.store import sessions as stored_sessions
from rm.store import users as stored
from rm.store.database import changes
from rm.store.models import SignInStep, User
from rm.store.vault import Vault

STEP_LIFETIME = timedelta(minutes=5)
TRIES_PER_STEP = 5
_MOST_STEPS = 5


@dataclass(frozen=True)
class SignedIn:
    """A session's token, or, while `waits_for_code`, the token of the step that asks for the second factor."""

    token: str
    waits_for_code: bool
    user: User


def log_in(
    bus: EventBus, *, username: str, password: str, address: str, now: datetime, limits: Tries, offload: Offload,
    user_agent: str = "", replaces: str = "",
) -> SignedIn:  # fmt: skip
    """What a right password gives; raises Unauthorised with the tries that are left, or TooMany.

    `replaces` is the session that came with the request; it ends, so that no session outlives a sign-in.
    """
    account = username.casefold()[:64]
    limits.check("login.address", address, LOGIN_PER_ADDRESS, now)
    limits.check("login.account", account, LOGIN_PER_ACCOUNT, now)
    # Counted before the slow part, so that many at once cannot slip through together.
    limits.count("login.address", address, LOGIN_PER_ADDRESS, now)
    left = limits.count("login.account", account, LOGIN_PER_ACCOUNT, now)
    found = stored.find_by_name(username)
    password_hash = found.password_hash if found is not None and found.is_enabled else ""
    # An unknown name costs the same time as a wrong password.
    is_right = passwords.matches(password_hash, password, offload=offload)
    if found is None or not is_right:
        raise _refused(limits, found, address, left, now)
    limits.forget("login.account", account)
    # Many people behind one address come to work at the same time. Only this try: whoever also guesses still pays.
    limits.give_back("login.address", address)
    with changes():
        user = stored.find_enabled(found.id)
        # Disabled, removed, or given another password while this one was checked.
        if user is None or not hmac.compare_digest(user.password_hash.encode(), password_hash.encode()):
            raise Unauthorised("Name or password is wrong.", code="login_failed")
        return admit(user, method="password", address=address, user_agent=user_agent, now=now, replaces=replaces)


def admit(user: User, *, method: str, address: str, user_agent: str, now: datetime, replaces: str = "") -> SignedIn:
    """A session for who proved to be this user, or the step that asks for their second factor. Needs a transaction."""
    sessions.replace(replaces)
    if user.totp_confirmed_at is None:
        token = _open(user, method=method, address=address, user_agent=user_agent, now=now)
        return SignedIn(token=token, waits_for_code=False, user=user)
    token = tokens.make("rmc")
    SignInStep.create(
        token_hash=tokens.hashed(token), user=user.id, address=address, created_at=now, expires_at=now + STEP_LIFETIME
    )
    stored_sessions.delete_oldest_steps(user.id, keep=_MOST_STEPS)
    return SignedIn(token=token, waits_for_code=True, user=user)


def find_step(step_token: str, now: datetime) -> SignInStep:
    """The step that waits for a code; raises Gone when its five minutes or its tries are over."""
    step = stored_sessions.find_step(tokens.hashed(step_token), now) if step_token else None
    if step is None or step.tries >= TRIES_PER_STEP:
        raise Gone("Signing in took too long, or too many codes were wrong.", help="Begin again with your password.")
    return step


def enter_code(
    bus: EventBus, vault: Vault, *, step_token: str, code: str, address: str, user_agent: str, now: datetime,
    limits: Tries,
) -> SignedIn:  # fmt: skip
    """A session for a right code or recovery code; raises Unauthorised, Gone (begin again) or TooMany."""
    step = find_step(step_token, now)
    user = step.user
    limits.take("code.address", address, CODE_PER_ADDRESS, now)
    limits.take("code.account", user.id, CODE_PER_ACCOUNT, now)
    actor = Actor(kind="user", name=user.username, id=user.id, address=address)
    with changes():
        # By condition, so that many at once cannot try more often than one after the other.
        is_counted = (
            SignInStep.update(tries=SignInStep.tries + 1)
            .where(SignInStep.token_hash == step.token_hash, SignInStep.tries < TRIES_PER_STEP)
            .execute()
        )
        if not is_counted:
            raise Gone("Too many codes were wrong.", help="Begin again with your password.")
        user = stored.get(user.id)
        kind = second_factor.take(vault, user, code, now=now)
        if kind:
            SignInStep.delete().where(SignInStep.user == user.id).execute()
            token = _open(
                user, method="totp", address=address, user_agent=user_agent, now=now, second_factor=kind
            )  # fmt: skip
    if kind:
        limits.forget("code.account", user.id)
        limits.give_back("code.address", address)
        return SignedIn(token=token, waits_for_code=False, user=user)
    refusals.record(limits, actor, "user.code_refused", now=now)
    left = TRIES_PER_STEP - step.tries - 1
    tail = f" {left} attempts left." if left > 0 else " Begin again with your password."
    raise Unauthorised("This code is wrong, too old, or was used already." + tail, code="code_refused")


def _open(user: User, *, method: str, address: str, user_agent: str, now: datetime, **payload: str) -> str:
    token = sessions.open_session(user, method=method, address=address, user_agent=user_agent, now=now)
    User.update(last_login_at=now).where(User.id == user.id).execute()
    actor = Actor(kind="user", name=user.username, id=user.id, address=address)
    audit.record(actor, "user.logged_in", now=now, kind="user", id=user.id, name=user.username, **payload)
    return token


def _refused(limits: Tries, user: User | None, address: str, left: int, now: datetime) -> Unauthorised:
    actor = Actor(
        kind="user", name=user.username if user else "unknown name", id=user.id if user else "", address=address
    )
    refusals.record(limits, actor, "user.login_failed", now=now)
    if not left:
        refusals.record(limits, actor, "user.sign_in_paused", now=now)
    tail = f" {left} attempts left before a pause." if left else " The next attempt is possible in 15 min."
    return Unauthorised("Name or password is wrong." + tail, code="login_failed")
