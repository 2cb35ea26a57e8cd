"""Signing in: the password, the second factor, and what stands in the way of guessing."""

from datetime import timedelta

import pytest

from rm.domain.actors import SERVER
from rm.errors import Gone, TooMany, Unauthorised
from rm.services import passwords, second_factor, sessions, sign_in
from rm.store.models import AuditEntry, Session, SignInStep, User
from tests.cast import NOW, PASSWORD
from tests.conftest import QUICK_HASH
from tests.services.people import code_at, enter_code, log_in, session_of, with_second_factor

SOON = NOW + timedelta(minutes=2)


@pytest.fixture(autouse=True)
def quick_nobody(monkeypatch):
    """Unknown names cost a real hash, as slow as it must be; here it is as quick as the cast's."""
    monkeypatch.setattr(passwords, "_NOBODY", QUICK_HASH)


def actions():
    return [entry.action for entry in AuditEntry.select().order_by(AuditEntry.id)]


def test_a_right_password_gives_a_session(parts):
    done = log_in(parts)

    assert not done.waits_for_code
    assert sessions.find_user(done.token, NOW).username == "alice"


def test_passwords_and_sessions_are_stored_as_hashes(parts, settings):
    session = log_in(parts).token

    stored = b"".join(path.read_bytes() for path in settings.data_dir.glob("restic-manager.db*"))
    assert PASSWORD.encode() not in stored
    assert session.encode() not in stored


def test_names_are_the_same_in_upper_and_lower_case(parts):
    assert log_in(parts, username="ALICE").token


def test_a_wrong_password_is_refused_and_says_how_many_tries_are_left(parts):
    with pytest.raises(Unauthorised, match="4 attempts left"):
        log_in(parts, password="wrong")


def test_an_unknown_name_is_answered_like_a_wrong_password(parts):
    with pytest.raises(Unauthorised) as unknown:
        log_in(parts, username="mallory", password="wrong")
    with pytest.raises(Unauthorised) as wrong:
        log_in(parts, password="wrong")

    assert str(unknown.value) == str(wrong.value)


def test_unknown_names_disabled_users_and_users_without_a_password_cost_one_hash_each(parts, monkeypatch):
    checked = []
    verify = passwords._verify
    monkeypatch.setattr(passwords, "_verify", lambda stored, given: checked.append(stored) or verify(stored, given))
    User.update(is_enabled=False).where(User.id == "bob").execute()
    User.update(password_hash="").where(User.id == "charlie").execute()

    for name, password in (("nobody", "wrong"), ("bob", PASSWORD), ("charlie", ""), ("charlie", "wrong")):
        with pytest.raises(Unauthorised):
            log_in(parts, username=name, password=password)

    assert checked == [passwords._NOBODY] * 4


def test_an_account_pauses_after_five_wrong_passwords_even_for_the_right_one(parts):
    for number in range(5):
        with pytest.raises(Unauthorised):
            log_in(parts, password="wrong", address=f"192.0.2.{number}")

    with pytest.raises(TooMany) as caught:
        log_in(parts)
    assert caught.value.retry_after_seconds > 800
    assert log_in(parts, now=NOW + timedelta(minutes=16)).token
    assert actions().count("user.login_failed") == 5
    assert actions().count("user.sign_in_paused") == 1


def test_an_address_pauses_after_many_names(parts):
    for number in range(20):
        with pytest.raises(Unauthorised):
            log_in(parts, username=f"guess{number}", password="wrong")

    with pytest.raises(TooMany):
        log_in(parts)


def test_all_addresses_of_one_ipv6_network_are_one(parts):
    for number in range(20):
        with pytest.raises(Unauthorised):
            log_in(parts, username=f"guess{number}", password="wrong", address=f"2001:db8:0:1::{number:x}")

    with pytest.raises(TooMany):
        log_in(parts, address="2001:db8:0:1:ffff::1")
    assert log_in(parts, address="2001:db8:0:2::1").token


def test_an_address_does_not_pause_because_many_people_sign_in_there(parts):
    for _ in range(21):
        assert log_in(parts).token


def test_signing_in_oneself_pays_for_no_guess(parts):
    for number in range(20):
        log_in(parts)
        with pytest.raises(Unauthorised):
            log_in(parts, username=f"guess{number}", password="wrong")

    with pytest.raises(TooMany):
        log_in(parts)


def test_a_disabled_user_cannot_sign_in_and_their_session_ends(parts):
    session = log_in(parts).token
    User.update(is_enabled=False).where(User.username == "alice").execute()

    assert sessions.find_user(session, NOW) is None
    with pytest.raises(Unauthorised):
        log_in(parts)


def test_who_is_disabled_while_the_password_is_checked_gets_no_session(parts):
    def disable_meanwhile(function, *args):
        User.update(is_enabled=False).where(User.id == "alice").execute()
        return function(*args)

    with pytest.raises(Unauthorised):
        sign_in.log_in(
            parts.bus, username="alice", password=PASSWORD, address="192.0.2.9", now=NOW, limits=parts.limits,
            offload=disable_meanwhile,
        )  # fmt: skip
    assert Session.select().count() == 0


def test_the_session_that_a_browser_had_before_ends_with_the_sign_in(parts):
    before = session_of("bob")

    log_in(parts, replaces=before)

    assert sessions.find_user(before, NOW) is None


def test_signing_in_and_failing_to_is_in_the_audit_without_the_password(parts):
    log_in(parts)
    with pytest.raises(Unauthorised):
        log_in(parts, username="hunter2 typed as name", password="wrong")

    found = [(entry.action, entry.actor_name) for entry in AuditEntry.select()]
    assert found == [("user.logged_in", "alice"), ("user.login_failed", "unknown name")]
    assert "hunter2" not in str([entry.payload for entry in AuditEntry.select()])


def test_a_flood_of_guesses_is_counted_and_not_written_down_one_by_one(parts):
    for number in range(1100):
        with pytest.raises(Unauthorised):
            log_in(parts, username=f"guess{number}", password="wrong", address=f"198.51.{number // 20}.1")

    assert actions().count("user.login_failed") == 100
    sums = [entry.payload["count"] for entry in AuditEntry.select() if entry.action == "user.refusals_counted"]
    assert sums == [1, 10, 100, 1000]

    with pytest.raises(Unauthorised):
        log_in(parts, username="guess", password="wrong", now=NOW + timedelta(hours=2))
    last = AuditEntry.select().order_by(AuditEntry.id.desc()).get()
    assert last.payload["not_listed_before"] == 1000


def test_a_flood_with_unknown_names_hides_no_guess_at_an_account(parts):
    for number in range(150):
        with pytest.raises(Unauthorised):
            log_in(parts, username=f"guess{number}", password="wrong", address=f"198.51.{number // 20}.1")

    with pytest.raises(Unauthorised):
        log_in(parts, password="wrong")

    assert AuditEntry.select().where(AuditEntry.actor_name == "alice").count() == 1


def test_with_a_second_factor_the_password_alone_gives_no_session(parts):
    with_second_factor(parts)
    Session.delete().execute()

    done = log_in(parts, now=SOON)

    assert done.waits_for_code
    assert Session.select().count() == 0
    assert sessions.find_user(done.token, SOON) is None


def test_a_right_code_gives_the_session(parts):
    secret, _ = with_second_factor(parts)

    done = enter_code(parts, log_in(parts, now=SOON).token, code_at(secret, SOON), now=SOON)

    session = sessions.find(done.token, SOON)
    assert (session.user.username, session.method) == ("alice", "totp")
    assert SignInStep.select().count() == 0


@pytest.mark.parametrize("seconds", [-30, 0, 30])
def test_a_code_of_the_step_before_or_after_is_right_too(parts, seconds):
    secret, _ = with_second_factor(parts)

    code = code_at(secret, SOON + timedelta(seconds=seconds))

    assert enter_code(parts, log_in(parts, now=SOON).token, code, now=SOON).token


@pytest.mark.parametrize("seconds", [-90, -60, 60, 90])
def test_a_code_further_away_is_wrong(parts, seconds):
    secret, _ = with_second_factor(parts)

    code = code_at(secret, SOON + timedelta(seconds=seconds))

    with pytest.raises(Unauthorised):
        enter_code(parts, log_in(parts, now=SOON).token, code, now=SOON)


def test_a_code_is_good_once(parts):
    secret, _ = with_second_factor(parts)
    code = code_at(secret, SOON)
    enter_code(parts, log_in(parts, now=SOON).token, code, now=SOON)

    with pytest.raises(Unauthorised):
        enter_code(parts, log_in(parts, now=SOON).token, code, now=SOON + timedelta(seconds=5))


def test_the_code_that_switched_it_on_signs_nobody_in(parts):
    secret, _ = with_second_factor(parts)

    with pytest.raises(Unauthorised):
        enter_code(parts, log_in(parts).token, code_at(secret, NOW))


def test_a_recovery_code_is_good_once_however_it_is_typed(parts):
    _, codes = with_second_factor(parts)

    assert enter_code(parts, log_in(parts).token, f" {codes[0].upper().replace('-', ' ')} ").token
    with pytest.raises(Unauthorised):
        enter_code(parts, log_in(parts).token, codes[0])
    assert enter_code(parts, log_in(parts).token, codes[1]).token


@pytest.mark.parametrize("code", ["", "0", "------", "000000000000", "🔢🔢🔢🔢🔢🔢", "١٢٣٤٥٦", "x" * 5000, "\ud800"])
def test_what_is_no_code_is_refused(parts, code):
    with_second_factor(parts)

    with pytest.raises(Unauthorised):
        enter_code(parts, log_in(parts).token, code)


def test_a_step_takes_five_codes_and_then_one_begins_again(parts):
    secret, _ = with_second_factor(parts)
    step = log_in(parts, now=SOON).token
    for _ in range(5):
        with pytest.raises(Unauthorised):
            enter_code(parts, step, "000000", now=SOON)

    with pytest.raises(Gone):
        enter_code(parts, step, code_at(secret, SOON), now=SOON)


def test_codes_are_bounded_for_the_account_however_often_the_password_is_entered(parts):
    secret, _ = with_second_factor(parts)
    tried = 0
    with pytest.raises(TooMany):
        for number in range(30):
            step = log_in(parts, now=SOON).token
            for _ in range(4):
                with pytest.raises(Unauthorised):
                    enter_code(parts, step, "000000", now=SOON, address=f"198.51.100.{number}")
                tried += 1

    assert tried <= 10
    with pytest.raises(TooMany):
        enter_code(parts, log_in(parts, now=SOON).token, code_at(secret, SOON), now=SOON)


def test_a_step_ends_after_five_minutes(parts):
    secret, _ = with_second_factor(parts)
    step = log_in(parts, now=SOON).token
    late = SOON + timedelta(minutes=5, seconds=1)

    with pytest.raises(Gone):
        enter_code(parts, step, code_at(secret, late), now=late)


def test_a_step_ends_when_the_user_is_disabled_or_reset(parts):
    secret, _ = with_second_factor(parts)
    step = log_in(parts, now=SOON).token
    User.update(is_enabled=False).where(User.id == "alice").execute()
    with pytest.raises(Gone):
        enter_code(parts, step, code_at(secret, SOON), now=SOON)
    User.update(is_enabled=True).where(User.id == "alice").execute()

    second_factor.reset(parts.bus, user_id="alice", actor=SERVER, now=SOON)

    with pytest.raises(Gone):
        enter_code(parts, step, code_at(secret, SOON), now=SOON)


def test_steps_do_not_pile_up(parts):
    with_second_factor(parts)

    for _ in range(9):
        log_in(parts, now=SOON)

    assert SignInStep.select().count() == 5


def test_wrong_codes_are_in_the_audit(parts):
    with_second_factor(parts)

    with pytest.raises(Unauthorised):
        enter_code(parts, log_in(parts).token, "000000")

    assert "user.code_refused" in actions()
