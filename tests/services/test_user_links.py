"""One-time links with which a person chooses their own password."""

from datetime import timedelta

import pytest

from rm.errors import Gone, Invalid, TooMany
from rm.services import sessions, user_links, users
from rm.store.models import AuditEntry, User, UserLink
from tests.cast import ALICE, BOB, NOW
from tests.services.people import ADDRESS, code_at, direct, enter_code, log_in, session_of, with_second_factor

CHOSEN = "a password of one's own"


def choose(parts, token, password=CHOSEN, now=NOW, offload=direct, **more):
    return user_links.choose_password(
        parts.bus, token=token, password=password, address=ADDRESS, user_agent="", now=now, limits=parts.limits,
        offload=offload, **more,
    )  # fmt: skip


@pytest.fixture
def token(parts):
    return users.new_link(parts.bus, user_id="bob", actor=ALICE, now=NOW)


def test_the_link_of_a_new_person_lets_them_choose_and_signs_them_in(parts):
    user, token = users.invite(parts.bus, username="dora", role="viewer", actor=ALICE, now=NOW)

    done = choose(parts, token)

    assert sessions.find(done.token, NOW).method == "setup"
    assert log_in(parts, username="dora", password=CHOSEN).token
    assert User.get_by_id(user.id).password_changed_at == NOW
    chosen = AuditEntry.get(AuditEntry.action == "user.password_chosen")
    assert (chosen.actor_name, chosen.payload) == ("dora", {"purpose": "setup"})


def test_a_link_works_once(parts, token):
    choose(parts, token)

    with pytest.raises(Gone):
        choose(parts, token, password="another one of mine")


def test_a_link_lapses_after_seven_days(parts, token):
    user_links.find(token, NOW + timedelta(days=6, hours=23))

    with pytest.raises(Gone):
        choose(parts, token, now=NOW + timedelta(days=7))
    assert user_links.forget_expired(now=NOW + timedelta(days=7)) == 1


@pytest.mark.parametrize("wrong", ["", "rml_invented", "x" * 10_000])
def test_what_is_no_link_opens_nothing(parts, token, wrong):
    with pytest.raises(Gone):
        choose(parts, wrong)


def test_a_password_that_cannot_be_used_leaves_the_link_open(parts, token):
    with pytest.raises(Invalid):
        choose(parts, token, password="short")

    assert choose(parts, token).token


def test_all_sessions_of_before_end(parts, token):
    before = session_of("bob")

    choose(parts, token)

    assert sessions.find(before, NOW) is None


def test_a_link_does_not_get_around_the_second_factor(parts):
    secret, _ = with_second_factor(parts, BOB)
    token = users.new_link(parts.bus, user_id="bob", actor=ALICE, now=NOW)
    later = NOW + timedelta(minutes=2)

    done = choose(parts, token, now=later)

    assert done.waits_for_code
    assert sessions.find(done.token, later) is None
    assert enter_code(parts, done.token, code_at(secret, later), now=later).token


def test_a_link_that_is_withdrawn_while_the_password_is_hashed_sets_none(parts, token):
    before = User.get_by_id("bob").password_hash

    def withdraw_meanwhile(function, *args):
        UserLink.delete().execute()
        return function(*args)

    with pytest.raises(Gone):
        choose(parts, token, offload=withdraw_meanwhile)
    assert User.get_by_id("bob").password_hash == before


def test_guessing_links_is_bounded_for_an_address(parts):
    for _ in range(20):
        with pytest.raises(Gone):
            choose(parts, "rml_guess")

    with pytest.raises(TooMany):
        choose(parts, "rml_guess")
