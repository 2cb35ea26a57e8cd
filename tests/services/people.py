"""Signing in and out as tests of the services do it."""

from datetime import datetime

import pyotp

from rm.services import second_factor, sessions, sign_in
from rm.store.database import changes
from rm.store.models import User
from tests.cast import ALICE, NOW, PASSWORD

ADDRESS = "192.0.2.50"


def direct(function, *args):
    """What `offload` does, in this thread."""
    return function(*args)


def log_in(parts, username="alice", password=PASSWORD, now=NOW, address=ADDRESS, **more):
    return sign_in.log_in(
        parts.bus, username=username, password=password, address=address, now=now, limits=parts.limits,
        offload=direct, **more,
    )  # fmt: skip


def enter_code(parts, step, code, now=NOW, address=ADDRESS):
    return sign_in.enter_code(
        parts.bus, parts.vault, step_token=step, code=code, address=address, user_agent="", now=now,
        limits=parts.limits,
    )  # fmt: skip


def session_of(user_id, now=NOW, **changes_):
    values = {"method": "password", "address": ADDRESS, "user_agent": "curl/8"} | changes_
    with changes():
        return sessions.open_session(User.get_by_id(user_id), now=now, **values)


def code_at(secret: str, at: datetime) -> str:
    return pyotp.TOTP(secret).at(at)


def with_second_factor(parts, actor=ALICE, now=NOW):
    """Set one up for somebody; the secret and the recovery codes."""
    second_factor.begin(
        parts.vault, user_id=actor.id, password=PASSWORD, actor=actor, now=now, limits=parts.limits, offload=direct
    )
    secret = second_factor.pending_secret(parts.vault, User.get_by_id(actor.id))
    codes = second_factor.confirm(
        parts.bus, parts.vault, user_id=actor.id, code=code_at(secret, now), session_token="", actor=actor, now=now,
        limits=parts.limits,
    )  # fmt: skip
    return secret, codes
