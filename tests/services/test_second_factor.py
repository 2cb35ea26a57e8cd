"""One's own second factor: setting up, recovery codes, switching off."""

import sqlite3
from datetime import timedelta

import pytest

from rm.errors import Conflict, Invalid, TooMany
from rm.services import second_factor, sessions
from rm.store.models import AuditEntry, RecoveryCode, User
from rm.store.vault import UnsealError
from tests.cast import ALICE, BOB, NOW, PASSWORD
from tests.services.people import code_at, direct, enter_code, log_in, session_of, with_second_factor

LATER = NOW + timedelta(minutes=2)


def begin(parts, password=PASSWORD):
    second_factor.begin(
        parts.vault, user_id="alice", password=password, actor=ALICE, now=NOW, limits=parts.limits, offload=direct
    )


def confirm(parts, code, session_token="", now=NOW):
    return second_factor.confirm(
        parts.bus, parts.vault, user_id="alice", code=code, session_token=session_token, actor=ALICE, now=now,
        limits=parts.limits,
    )  # fmt: skip


def renew(parts, code, now=LATER):
    return second_factor.renew_codes(
        parts.vault, user_id="alice", code=code, actor=ALICE, now=now, limits=parts.limits
    )  # fmt: skip


def switch_off(parts, code, password=PASSWORD, now=LATER):
    second_factor.switch_off(
        parts.bus, parts.vault, user_id="alice", password=password, code=code, actor=ALICE, now=now,
        limits=parts.limits, offload=direct,
    )  # fmt: skip


def pending(parts):
    return second_factor.pending_secret(parts.vault, User.get_by_id("alice"))


def test_it_is_asked_for_only_once_a_first_code_was_right(parts):
    begin(parts)

    assert not log_in(parts).waits_for_code
    with pytest.raises(Invalid):
        confirm(parts, "000000")
    assert not log_in(parts).waits_for_code
    confirm(parts, code_at(pending(parts), NOW))
    assert log_in(parts).waits_for_code


def test_setting_it_up_asks_for_the_password(parts):
    with pytest.raises(Invalid) as caught:
        begin(parts, password="wrong")

    assert list(caught.value.fields) == ["password"]
    assert User.get_by_id("alice").totp_sealed is None


def test_beginning_again_makes_another_secret(parts):
    begin(parts)
    first = pending(parts)

    begin(parts)

    assert pending(parts) != first


def test_the_secret_is_sealed_and_opens_in_its_own_row_only(parts, settings):
    begin(parts)
    secret = pending(parts)

    assert secret.encode() not in b"".join(p.read_bytes() for p in settings.data_dir.glob("restic-manager.db*"))
    User.update(totp_sealed=User.get_by_id("alice").totp_sealed).where(User.id == "bob").execute()
    with pytest.raises(UnsealError):
        second_factor.pending_secret(parts.vault, User.get_by_id("bob"))


def test_the_secret_is_not_shown_again_once_it_counts(parts):
    with_second_factor(parts)

    with pytest.raises(Conflict):
        pending(parts)
    with pytest.raises(Conflict):
        begin(parts)


def test_sessions_that_began_without_it_end_and_the_present_one_goes_on(parts):
    mine, other = session_of("alice"), session_of("alice")
    begin(parts)

    confirm(parts, code_at(pending(parts), NOW), session_token=mine)

    assert sessions.find(mine, NOW)
    assert sessions.find(other, NOW) is None


def test_ten_recovery_codes_are_kept_as_hashes(parts, settings):
    _, codes = with_second_factor(parts)

    assert len(set(codes)) == 10
    assert all(len(code) == 19 for code in codes)
    stored = b"".join(p.read_bytes() for p in settings.data_dir.glob("restic-manager.db*"))
    assert not any(code.encode() in stored or code.replace("-", "").encode() in stored for code in codes)


def test_the_recovery_codes_of_another_are_worth_nothing(parts):
    with_second_factor(parts)
    _, bobs = with_second_factor(parts, BOB)

    with pytest.raises(Exception, match="wrong"):
        enter_code(parts, log_in(parts).token, bobs[0])


def test_new_recovery_codes_end_the_old_ones(parts):
    secret, old = with_second_factor(parts)

    new = renew(parts, code_at(secret, LATER))

    assert RecoveryCode.select().count() == 10
    with pytest.raises(Exception, match="wrong"):
        enter_code(parts, log_in(parts, now=LATER).token, old[0], now=LATER)
    assert enter_code(parts, log_in(parts, now=LATER).token, new[0], now=LATER).token


def test_switching_off_needs_password_and_code(parts):
    secret, codes = with_second_factor(parts)

    with pytest.raises(Invalid) as caught:
        switch_off(parts, code_at(secret, LATER), password="wrong")
    assert list(caught.value.fields) == ["password"]
    with pytest.raises(Invalid) as caught:
        switch_off(parts, "000000")
    assert list(caught.value.fields) == ["code"]
    assert log_in(parts, now=LATER).waits_for_code

    switch_off(parts, codes[3])

    assert not log_in(parts, now=LATER).waits_for_code
    assert RecoveryCode.select().count() == 0


def test_codes_are_bounded_for_who_is_signed_in_too(parts):
    secret, _ = with_second_factor(parts)
    for _ in range(10):
        with pytest.raises(Invalid):
            renew(parts, "000000")

    with pytest.raises(TooMany):
        renew(parts, code_at(secret, LATER))
    with pytest.raises(TooMany):
        switch_off(parts, code_at(secret, LATER))


def test_who_has_no_password_here_sets_up_none(parts):
    User.update(password_hash="").where(User.id == "alice").execute()

    with pytest.raises(Conflict, match="provider"):
        begin(parts, password="")


def test_each_step_is_in_the_audit_without_a_secret(parts):
    secret, codes = with_second_factor(parts)
    renewed = renew(parts, code_at(secret, LATER))
    switch_off(parts, renewed[0])

    found = list(AuditEntry.select().order_by(AuditEntry.id))
    assert [entry.action for entry in found] == [
        "second_factor.begun", "second_factor.on", "second_factor.codes_renewed", "second_factor.off",
    ]  # fmt: skip
    assert not any(text in str([entry.payload for entry in found]) for text in (secret, *codes, *renewed))


def test_the_key_file_is_missed_where_only_a_second_factor_was_sealed(parts, settings):
    with_second_factor(parts)
    with sqlite3.connect(settings.database_file) as file:
        sealed = file.execute("SELECT count(*) FROM users WHERE totp_sealed IS NOT NULL").fetchone()[0]

    from rm.store import vault

    assert sealed == 1
    assert vault._holds_secrets()
