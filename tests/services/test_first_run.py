"""The first run: the setup link, and the first administrator."""

from datetime import timedelta

import pytest

from rm.errors import Conflict, Gone, Invalid
from rm.services import first_run, sessions
from rm.store.models import User
from tests.cast import NOW, PASSWORD
from tests.services.people import ADDRESS, direct


@pytest.fixture
def nobody(app):
    User.delete().execute()


def set_up(parts, token, **changes):
    arguments = {"username": "alice", "password": PASSWORD, "now": NOW} | changes
    return first_run.create_first_admin(
        parts.bus, setup_token=token, address=ADDRESS, limits=parts.limits, offload=direct, **arguments
    )


def test_the_setup_link_makes_the_first_administrator_and_signs_them_in(parts, nobody):
    token = first_run.open_setup(fixed_token="", now=NOW)

    user, session = set_up(parts, token)

    assert (user.username, user.role) == ("alice", "admin")
    assert sessions.find_user(session, NOW).id == user.id


def test_the_setup_link_works_once(parts, nobody):
    token = first_run.open_setup(fixed_token="", now=NOW)
    set_up(parts, token)

    with pytest.raises(Gone):
        set_up(parts, token, username="mallory")


def test_a_wrong_or_expired_setup_link_is_refused(parts, nobody):
    token = first_run.open_setup(fixed_token="", now=NOW)

    with pytest.raises(Gone):
        set_up(parts, "rms_invented")
    with pytest.raises(Gone):
        set_up(parts, token, now=NOW + timedelta(days=8))


def test_there_is_no_setup_link_once_a_user_exists(app):
    assert first_run.open_setup(fixed_token="fixed", now=NOW) is None
    assert not first_run.setup_is_open("fixed", NOW)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("password", {"password": "short"}),
        ("password", {"password": "x" * 2000}),
        ("password", {"username": "twelve-letters", "password": "Twelve-Letters"}),
        ("username", {"username": "a"}),
        ("username", {"username": "<script>"}),
        ("username", {"username": "x" * 200}),
        ("username", {"username": "аlice"}),  # begins with a Cyrillic letter
        ("username", {"username": "alice\n"}),
    ],
)
def test_a_name_or_password_that_cannot_be_used_is_named(parts, nobody, field, changes):
    token = first_run.open_setup(fixed_token="", now=NOW)

    with pytest.raises(Invalid) as caught:
        set_up(parts, token, **changes)

    assert field in caught.value.fields


def test_two_users_cannot_have_one_name(parts):
    with pytest.raises(Conflict):
        first_run.create_user(
            parts.bus, username="Alice", password="another password", role="viewer", now=NOW, offload=direct
        )
