"""Sessions: how they begin, what is known of them, how they end."""

from datetime import timedelta

import pytest

from rm.errors import NotFound
from rm.events import AccessChanged
from rm.services import sessions
from rm.store import sessions as stored
from rm.store.database import changes
from rm.store.models import AuditEntry, Session, User
from tests.cast import ALICE, BOB, NOW
from tests.services.people import session_of


def test_a_session_knows_where_and_how_it_began(parts):
    token = session_of("alice", user_agent="x" * 5000, method="oidc")

    session = sessions.find(token, NOW)

    assert (session.address, session.method, len(session.user_agent)) == ("192.0.2.50", "oidc", 300)
    assert session.id and session.id not in token


def test_a_way_to_sign_in_that_is_not_known_opens_nothing(parts):
    with pytest.raises(ValueError, match="no such way"):
        session_of("alice", method="magic")


def test_a_session_ends_after_twelve_hours_and_when_signing_out(parts):
    session = session_of("alice")

    assert sessions.find_user(session, NOW + timedelta(hours=11))
    assert sessions.find_user(session, NOW + timedelta(hours=13)) is None
    sessions.log_out(parts.bus, session_token=session, actor=ALICE, now=NOW)
    assert sessions.find_user(session, NOW) is None


def test_when_it_was_last_seen_is_written_at_most_once_a_minute(parts):
    token = session_of("alice")

    def seen(seconds):
        sessions.note_seen(sessions.find(token, NOW), now=NOW + timedelta(seconds=seconds))
        return (sessions.find(token, NOW).last_seen_at - NOW).total_seconds()

    assert [seen(at) for at in (10, 59, 60, 90, 119, 120)] == [0, 0, 60, 60, 60, 120]


def test_a_database_that_is_busy_does_not_fail_the_page_that_was_seen(parts, monkeypatch):
    token = session_of("alice")

    def full():
        raise sessions.Unavailable("The disk is full.")

    monkeypatch.setattr(sessions, "changes", full)

    sessions.note_seen(sessions.find(token, NOW), now=NOW + timedelta(hours=1))


def test_a_user_has_at_most_fifty_sessions_and_the_oldest_end(parts):
    tokens = [session_of("alice", now=NOW + timedelta(seconds=number)) for number in range(52)]
    others = session_of("bob")

    found = [sessions.find(token, NOW) is not None for token in tokens]

    assert found == [False] * 2 + [True] * 50
    assert sessions.find(others, NOW)


def test_one_session_is_revoked_and_the_others_go_on(parts):
    one, other = session_of("alice"), session_of("alice")

    sessions.revoke(
        parts.bus, user_id="alice", session_id=sessions.find(one, NOW).id, actor=ALICE, now=NOW
    )  # fmt: skip

    assert sessions.find(one, NOW) is None
    assert sessions.find(other, NOW)
    assert AuditEntry.get().action == "session.revoked"


def test_nobody_revokes_the_session_of_another(parts):
    theirs = session_of("alice")

    with pytest.raises(NotFound):
        sessions.revoke(parts.bus, user_id="bob", session_id=sessions.find(theirs, NOW).id, actor=BOB, now=NOW)

    assert sessions.find(theirs, NOW)


def test_a_session_from_before_it_had_an_id_is_revoked_by_no_empty_id(parts):
    token = session_of("alice")
    Session.update(id="").execute()

    with pytest.raises(NotFound):
        sessions.revoke(parts.bus, user_id="alice", session_id="", actor=ALICE, now=NOW)

    assert sessions.find(token, NOW)


def test_all_others_are_revoked_at_once(parts):
    mine, others, bobs = session_of("alice"), [session_of("alice") for _ in range(3)], session_of("bob")

    ended = sessions.revoke_others(
        parts.bus, user=User.get_by_id("alice"), session_token=mine, actor=ALICE, now=NOW
    )  # fmt: skip

    assert ended == 3
    assert [sessions.find(token, NOW) for token in others] == [None] * 3
    assert sessions.find(mine, NOW) and sessions.find(bobs, NOW)


def test_whoever_watches_is_told_that_a_session_ended(parts):
    session_of("alice")
    with parts.bus.subscribe() as listener:
        with changes():
            sessions.end_all(parts.bus, user_id="alice")

        assert listener.take(0) == [AccessChanged("alice")]


def test_expired_sessions_are_forgotten(parts):
    session_of("alice")

    sessions.forget_expired(now=NOW + timedelta(hours=13))

    assert Session.select().count() == 0


def test_the_list_holds_only_what_is_open(parts):
    session_of("alice")
    session_of("alice", now=NOW - timedelta(hours=13))

    assert len(stored.list_of_user("alice", NOW)) == 1
