"""Changing a password: one's own, or from the server's command line."""

import pytest

from rm.errors import Conflict, Invalid, NotFound, TooMany, Unauthorised
from rm.services import password_changes, sessions, user_links, users
from rm.store.models import AuditEntry, User
from tests.cast import ALICE, BOB, NOW, PASSWORD
from tests.services.people import direct, log_in, session_of, with_second_factor

NEW = "another password of mine"


def change(parts, session, current=PASSWORD, new=NEW, actor=ALICE, offload=direct):
    return password_changes.change_own(
        parts.bus, session_token=session, current=current, new=new, actor=actor, user_agent="", now=NOW,
        limits=parts.limits, offload=offload,
    )  # fmt: skip


def test_the_new_password_signs_in_and_the_old_one_does_not(parts):
    change(parts, session_of("alice"))

    assert log_in(parts, password=NEW).token
    with pytest.raises(Unauthorised):
        log_in(parts)


def test_all_sessions_end_and_the_present_one_gets_another_token(parts):
    mine, other, bobs = session_of("alice", method="totp"), session_of("alice"), session_of("bob")

    fresh = change(parts, mine)

    assert sessions.find(mine, NOW) is None
    assert sessions.find(other, NOW) is None
    assert sessions.find(bobs, NOW)
    assert sessions.find(fresh, NOW).method == "totp"


def test_the_present_password_is_asked_for(parts):
    mine = session_of("alice")

    with pytest.raises(Invalid) as caught:
        change(parts, mine, current="wrong")

    assert list(caught.value.fields) == ["current"]
    assert AuditEntry.get().action == "user.password_refused"


def test_guessing_it_at_an_open_page_is_bounded(parts):
    mine = session_of("alice")
    for _ in range(5):
        with pytest.raises(Invalid):
            change(parts, mine, current="wrong")

    with pytest.raises(TooMany):
        change(parts, mine)


@pytest.mark.parametrize("new", ["short", PASSWORD, "x" * 2000])
def test_a_new_password_that_cannot_be_used_is_named(parts, new):
    with pytest.raises(Invalid) as caught:
        change(parts, session_of("alice"), new=new)

    assert list(caught.value.fields) == ["password"]


def test_an_open_link_ends_with_it(parts):
    token = users.new_link(parts.bus, user_id="bob", actor=ALICE, now=NOW)

    change(parts, session_of("bob"), actor=BOB)

    with pytest.raises(Exception, match="replaced"):
        user_links.find(token, NOW)


def test_a_session_that_ended_meanwhile_changes_nothing(parts):
    mine = session_of("alice")

    def end_meanwhile(function, *args):
        sessions.revoke_others(parts.bus, user=User.get_by_id("alice"), session_token="", actor=ALICE, now=NOW)
        return function(*args)

    with pytest.raises(Unauthorised):
        change(parts, mine, offload=end_meanwhile)
    assert log_in(parts).token


def test_who_has_no_password_here_changes_none(parts):
    User.update(password_hash="").where(User.id == "alice").execute()

    with pytest.raises(Conflict, match="provider"):
        change(parts, session_of("alice"), current="")


def set_by_server(parts, username="ALICE", password=NEW):
    return password_changes.set_by_server(
        parts.bus, username=username, password=password, now=NOW, offload=direct
    )  # fmt: skip


def test_the_command_line_lets_a_locked_out_person_in_again(parts):
    with_second_factor(parts)
    mine = session_of("alice")
    User.update(is_enabled=False).where(User.id == "alice").execute()

    set_by_server(parts)

    assert sessions.find(mine, NOW) is None
    assert log_in(parts, password=NEW).waits_for_code
    entry = AuditEntry.get(AuditEntry.action == "user.password_set")
    assert (entry.actor_kind, entry.payload) == ("server", {"was_enabled": False})


def test_the_command_line_knows_who_is_not_there(parts):
    with pytest.raises(NotFound, match="mallory"):
        set_by_server(parts, username="mallory")
