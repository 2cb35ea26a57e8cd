"""The second factor: one-time codes of an authenticator app (TOTP), and recovery codes."""

import base64
import hashlib
import hmac
import re
import secrets
from datetime import datetime

import pyotp

from rm.domain.actors import Actor
from rm.domain.limits import CODE_PER_ACCOUNT
from rm.errors import Conflict, Invalid
from rm.events import EventBus
from rm.services import audit, passwords, refusals, sessions
from rm.services.passwords import Offload
from rm.services.tries import Tries
from rm.store import users as stored
from rm.store.database import changes
from rm.store.models import RecoveryCode, User
from rm.store.vault import Vault

STEP_SECONDS = 30
DRIFT_STEPS = 1
RECOVERY_CODES = 10
ISSUER = "restic-manager"
_WRONG = "This code is wrong, too old, or was used already. Check that the clock of your phone is right."


def begin(
    vault: Vault, *, user_id: str, password: str, actor: Actor, now: datetime, limits: Tries, offload: Offload
) -> None:
    """Make a secret, which counts once a code of it was entered; one that was begun before ends.

    Raises Invalid (password), Conflict (there is one already, or no password to go with it) or TooMany.
    """
    user = stored.get(user_id)
    if user.totp_confirmed_at is not None:
        raise Conflict("A second factor is set already. Switch it off first to set up another.")
    if not user.password_hash:
        raise Conflict("You sign in through your provider, which asks for its own second factor. There is none here.")
    passwords.confirm(user, password, actor=actor, now=now, limits=limits, offload=offload)
    sealed = vault.seal(pyotp.random_base32(), place=_place(user_id))
    with changes():
        User.update(totp_sealed=sealed, totp_last_step=0).where(
            User.id == user_id, User.totp_confirmed_at.is_null()
        ).execute()
        audit.record(actor, "second_factor.begun", now=now, kind="user", id=user_id, name=user.username)


def pending_secret(vault: Vault, user: User) -> str:
    """The secret that waits for its first code, to be shown to its user; raises Conflict when none does."""
    if user.totp_sealed is None or user.totp_confirmed_at is not None:
        raise Conflict("No second factor is being set up.", help="Begin on the page of your account.")
    return vault.unseal(user.totp_sealed, place=_place(user.id))


def address_of(secret: str, *, username: str, server: str) -> str:
    """What the QR code says to an authenticator app."""
    return pyotp.TOTP(secret).provisioning_uri(name=f"{username} at {server}", issuer_name=ISSUER)


def confirm(
    bus: EventBus, vault: Vault, *, user_id: str, code: str, session_token: str, actor: Actor, now: datetime,
    limits: Tries,
) -> list[str]:  # fmt: skip
    """Switch the second factor on with its first code; the recovery codes, to be shown once.

    The user's other sessions end: they began without it. Raises Invalid, Conflict or TooMany.
    """
    limits.take("code.account", user_id, CODE_PER_ACCOUNT, now)
    plain = _make_codes()
    with changes():
        user = stored.get(user_id)
        step = _step_of(pending_secret(vault, user), code, after=user.totp_last_step, now=now)
        if step is not None:
            User.update(totp_confirmed_at=now, totp_last_step=step).where(User.id == user_id).execute()
            _keep_codes(user_id, plain)
            sessions.end_all(bus, user_id=user_id, but=session_token)
            audit.record(actor, "second_factor.on", now=now, kind="user", id=user_id, name=user.username)
    if step is None:
        refusals.record(limits, actor, "user.code_refused", now=now)
        raise Invalid({"code": _WRONG})
    limits.forget("code.account", user_id)
    return plain


def renew_codes(
    vault: Vault, *, user_id: str, code: str, actor: Actor, now: datetime, limits: Tries
) -> list[str]:  # fmt: skip
    """Fresh recovery codes, to be shown once; all earlier ones end. Raises Invalid, Conflict or TooMany."""
    limits.take("code.account", user_id, CODE_PER_ACCOUNT, now)
    plain = _make_codes()
    with changes():
        user = _with_factor(user_id)
        is_right = take(vault, user, code, now=now)
        if is_right:
            _keep_codes(user_id, plain)
            audit.record(actor, "second_factor.codes_renewed", now=now, kind="user", id=user_id, name=user.username)
    if not is_right:
        refusals.record(limits, actor, "user.code_refused", now=now)
        raise Invalid({"code": _WRONG})
    limits.forget("code.account", user_id)
    return plain


def switch_off(
    bus: EventBus, vault: Vault, *, user_id: str, password: str, code: str, actor: Actor, now: datetime, limits: Tries,
    offload: Offload,
) -> None:  # fmt: skip
    """Sign in with the password alone from now on; asks for it and for a code. Raises Invalid, Conflict or TooMany."""
    user = _with_factor(user_id)
    passwords.confirm(user, password, actor=actor, now=now, limits=limits, offload=offload)
    limits.take("code.account", user_id, CODE_PER_ACCOUNT, now)
    with changes():
        user = _with_factor(user_id)
        is_right = take(vault, user, code, now=now)
        if is_right:
            _forget(user_id)
            audit.record(actor, "second_factor.off", now=now, kind="user", id=user_id, name=user.username)
    if not is_right:
        refusals.record(limits, actor, "user.code_refused", now=now)
        raise Invalid({"code": _WRONG})
    limits.forget("code.account", user_id)


def reset(bus: EventBus, *, user_id: str, actor: Actor, now: datetime) -> None:
    """Take another's second factor away, who lost it; their sessions end. Raises Conflict when there is none.

    One's own is switched off with password and code: who sits down at an open page must not get around both.
    """
    if user_id == actor.id:
        raise Conflict("This is your own account. Switch the second factor off on the page of your account.")
    with changes():
        user = stored.get(user_id)
        if user.totp_sealed is None:
            raise Conflict(f"{user.username} has no second factor.")
        _forget(user_id)
        sessions.end_all(bus, user_id=user_id)
        audit.record(actor, "second_factor.reset", now=now, kind="user", id=user_id, name=user.username)


def take(vault: Vault, user: User, code: str, *, now: datetime) -> str:
    """ "code" or "recovery code" for one that is right, which is spent with that, else "". Needs a transaction."""
    if user.totp_sealed is None or user.totp_confirmed_at is None:
        return ""
    secret = vault.unseal(user.totp_sealed, place=_place(user.id))
    step = _step_of(secret, code, after=user.totp_last_step, now=now)
    if step is not None:
        spent = User.update(totp_last_step=step).where(User.id == user.id, User.totp_last_step < step).execute()
        return "code" if spent else ""
    spent = (
        RecoveryCode.update(used_at=now)
        .where(
            RecoveryCode.user == user.id,
            RecoveryCode.code_hash == _hashed(user.id, code),
            RecoveryCode.used_at.is_null(),
        )
        .execute()
    )
    return "recovery code" if spent else ""


def _step_of(secret: str, code: str, *, after: int, now: datetime) -> int | None:
    digits = "".join(code.split())
    if not re.fullmatch(r"[0-9]{6}", digits):
        return None
    totp = pyotp.TOTP(secret, interval=STEP_SECONDS)
    present = int(now.timestamp()) // STEP_SECONDS
    found = None
    # All of them each time: how long it takes tells nothing.
    for step in range(present - DRIFT_STEPS, present + DRIFT_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(step), digits) and step > after:
            found = step
    return found


def _make_codes() -> list[str]:
    made = [base64.b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES)]
    return ["-".join(code[at : at + 4] for at in range(0, 16, 4)) for code in made]


def _keep_codes(user_id: str, plain: list[str]) -> None:
    RecoveryCode.delete().where(RecoveryCode.user == user_id).execute()
    for code in plain:
        RecoveryCode.create(user=user_id, code_hash=_hashed(user_id, code))


def _hashed(user_id: str, code: str) -> str:
    # 80 random bits: plain sha256 is enough. What people copy by hand has spaces, capitals, other dashes.
    letters = re.sub(r"[^a-z2-7]", "", code.lower()[:100])
    return hashlib.sha256(f"{user_id}:{letters}".encode()).hexdigest()


def _forget(user_id: str) -> None:
    RecoveryCode.delete().where(RecoveryCode.user == user_id).execute()
    User.update(totp_sealed=None, totp_confirmed_at=None, totp_last_step=0).where(User.id == user_id).execute()


def _with_factor(user_id: str) -> User:
    user = stored.get(user_id)
    if user.totp_confirmed_at is None:
        raise Conflict("There is no second factor to change.")
    return user


def _place(user_id: str) -> str:
    return f"users:{user_id}:totp_sealed"
