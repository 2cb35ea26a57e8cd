"""People: the first administrator, signing in and out."""

from datetime import timedelta

import pytest

from rm.errors import Conflict, Gone, Invalid, TooMany, Unauthorised
from rm.services import accounts
from rm.store.models import AuditEntry, Session, User
from tests.cast import ALICE, NOW, PASSWORD

ADDRESS = "192.0.2.50"


def direct(function, *args):
    return function(*args)


@pytest.fixture
def nobody(app):
    User.delete().execute()


def set_up(parts, token, **changes):
    arguments = {"username": "alice", "password": PASSWORD, "now": NOW} | changes
    return accounts.create_first_admin(
        parts.bus, setup_token=token, address=ADDRESS, limits=parts.limits, offload=direct, **arguments
    )


def log_in(parts, username="alice", password=PASSWORD, now=NOW, address=ADDRESS):
    return accounts.log_in(
        parts.bus,
        username=username,
        password=password,
        address=address,
        now=now,
        limits=parts.limits,
        offload=direct,
    )


def test_the_setup_link_makes_the_first_administrator_and_signs_them_in(parts, nobody):
    token = accounts.open_setup(fixed_token="", now=NOW)

    user, session = set_up(parts, token)

    assert (user.username, user.role) == ("alice", "admin")
    assert accounts.find_session(session, NOW).id == user.id


def test_the_setup_link_works_once(parts, nobody):
    token = accounts.open_setup(fixed_token="", now=NOW)
    set_up(parts, token)

    with pytest.raises(Gone):
        set_up(parts, token, username="mallory")


def test_a_wrong_or_expired_setup_link_is_refused(parts, nobody):
    token = accounts.open_setup(fixed_token="", now=NOW)

    with pytest.raises(Gone):
        set_up(parts, "rms_invented")
    with pytest.raises(Gone):
        set_up(parts, token, now=NOW + timedelta(days=8))


def test_there_is_no_setup_link_once_a_user_exists(app):
    assert accounts.open_setup(fixed_token="fixed", now=NOW) is None
    assert not accounts.setup_is_open("fixed", NOW)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("password", {"password": "short"}),
        ("password", {"password": "x" * 2000}),
        ("password", {"username": "twelve-letters", "password": "twelve-letters"}),
        ("username", {"username": "a"}),
        ("username", {"username": "<script>"}),
    ],
)
def test_a_name_or_password_that_cannot_be_used_is_named(parts, nobody, field, changes):
    token = accounts.open_setup(fixed_token="", now=NOW)

    with pytest.raises(Invalid) as caught:
        set_up(parts, token, **changes)

    assert field in caught.value.fields


def test_passwords_and_sessions_are_stored_as_hashes(parts, settings):
    session = log_in(parts)

    stored = b"".join(path.read_bytes() for path in settings.data_dir.glob("restic-manager.db*"))
    assert PASSWORD.encode() not in stored
    assert session.encode() not in stored


def test_names_are_the_same_in_upper_and_lower_case(parts):
    assert log_in(parts, username="ALICE")


def test_a_wrong_password_is_refused_and_says_how_many_tries_are_left(parts):
    with pytest.raises(Unauthorised, match="4 attempts left"):
        log_in(parts, password="wrong")


def test_an_unknown_name_is_answered_like_a_wrong_password(parts):
    with pytest.raises(Unauthorised) as unknown:
        log_in(parts, username="mallory", password="wrong")
    with pytest.raises(Unauthorised) as wrong:
        log_in(parts, password="wrong")

    assert str(unknown.value) == str(wrong.value)


def test_an_account_pauses_after_five_wrong_passwords_even_for_the_right_one(parts):
    for number in range(5):
        with pytest.raises(Unauthorised):
            log_in(parts, password="wrong", address=f"192.0.2.{number}")

    with pytest.raises(TooMany) as caught:
        log_in(parts)
    assert caught.value.retry_after_seconds > 800
    assert log_in(parts, now=NOW + timedelta(minutes=16))


def test_an_address_pauses_after_many_names(parts):
    for number in range(20):
        with pytest.raises(Unauthorised):
            log_in(parts, username=f"guess{number}", password="wrong")

    with pytest.raises(TooMany):
        log_in(parts)


def test_an_address_does_not_pause_because_many_people_sign_in_there(parts):
    for _ in range(21):
        assert log_in(parts)


def test_signing_in_oneself_pays_for_no_guess(parts):
    for number in range(20):
        log_in(parts)
        with pytest.raises(Unauthorised):
            log_in(parts, username=f"guess{number}", password="wrong")

    with pytest.raises(TooMany):
        log_in(parts)


def test_a_disabled_user_cannot_sign_in_and_their_session_ends(parts):
    session = log_in(parts)
    User.update(is_enabled=False).where(User.username == "alice").execute()

    assert accounts.find_session(session, NOW) is None
    with pytest.raises(Unauthorised):
        log_in(parts)


def test_a_session_ends_after_twelve_hours_and_when_signing_out(parts):
    session = log_in(parts)

    assert accounts.find_session(session, NOW + timedelta(hours=11))
    assert accounts.find_session(session, NOW + timedelta(hours=13)) is None
    accounts.log_out(parts.bus, session_token=session, actor=ALICE, now=NOW)
    assert accounts.find_session(session, NOW) is None


def test_expired_sessions_are_forgotten(parts):
    log_in(parts)

    accounts.forget_expired_sessions(now=NOW + timedelta(hours=13))

    assert Session.select().count() == 0


def test_signing_in_and_failing_to_is_in_the_audit_without_the_password(parts):
    log_in(parts)
    with pytest.raises(Unauthorised):
        log_in(parts, username="hunter2 typed as name", password="wrong")

    actions = [(entry.action, entry.actor_name) for entry in AuditEntry.select()]
    assert actions == [("user.logged_in", "alice"), ("user.login_failed", "unknown name")]


def test_two_users_cannot_have_one_name(parts):
    with pytest.raises(Conflict):
        accounts.create_user(
            parts.bus, username="Alice", password="another password", role="viewer", now=NOW, offload=direct
        )
