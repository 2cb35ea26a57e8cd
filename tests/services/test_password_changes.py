"""Changing a password: one's own, or from the server's command line."""

import pytest

from rm.errors import Conflict, Invalid, NotFound, TooMany, Unauthorised
from rm.services import api_tokens, password_changes, sessions, user_links, users
from rm.store.models import AuditEntry, User
from tests.cast import ALICE, BOB, NOW, PASSWORD
from tests.services.people import direct, log_in, session_of, with_second_factor

NEW = "another password of mine"


def change(parts, session, current=PASSWORD, new=NEW, actor=ALICE, offload=direct, **more):
    return password_changes.change_own(
        parts.bus, session_token=session, current=current, new=new, actor=actor, user_agent="", now=NOW,
        limits=parts.limits, offload=offload, **more,
    )  # fmt: skip


def token_of(parts, actor):
    _, plain = api_tokens.create(
        parts.bus, name="backup script", role="viewer", tags=(), days=30, actor=actor, now=NOW
    )  # fmt: skip
    return plain


def is_good(parts, plain):
    try:
        return bool(api_tokens.authenticate(plain, address="192.0.2.9", limits=parts.limits, now=NOW))
    except Unauthorised:
        return False


def test_tokens_of_programs_stay_good_unless_they_are_to_be_revoked_too(parts):
    mine, bobs = token_of(parts, ALICE), token_of(parts, BOB)

    session = change(parts, session_of("alice"))
    kept = is_good(parts, mine)
    change(parts, session, current=NEW, new="a third password of mine", revokes_tokens=True)

    assert (kept, is_good(parts, mine), is_good(parts, bobs)) == (True, False, True)
    changed = AuditEntry.select().where(AuditEntry.action == "user.password_changed").order_by(AuditEntry.id)
    assert [entry.payload["revoked"] for entry in changed] == [0, 1]
    assert AuditEntry.select().where(AuditEntry.action == "token.revoked").count() == 1


def test_the_tokens_of_a_disabled_account_stop_at_once(parts):
    bobs = token_of(parts, BOB)

    users.disable(parts.bus, user_id="bob", actor=ALICE, now=NOW)

    assert not is_good(parts, bobs)


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
