"""People as an administrator cares for them."""

import threading
from datetime import timedelta

import pytest

from rm.domain.actors import SERVER
from rm.errors import Conflict, Invalid, NotFound, Unauthorised
from rm.events import AccessChanged
from rm.services import second_factor, sessions, user_links, users
from rm.store import database
from rm.store.models import ApiToken, AuditEntry, RecoveryCode, Session, User, UserLink
from tests.cast import ALICE, BOB, NOW
from tests.services.people import log_in, session_of, with_second_factor


def audited():
    return [(entry.action, entry.target_name) for entry in AuditEntry.select().order_by(AuditEntry.id)]


def invite(parts, username="dora", role="viewer", actor=ALICE):
    return users.invite(parts.bus, username=username, role=role, actor=actor, now=NOW)


def test_who_is_added_has_a_link_and_no_password(parts):
    user, token = invite(parts)

    assert (user.role, user.password_hash, user.created_by) == ("viewer", "", "alice")
    link = user_links.find(token, NOW)
    assert (link.user.id, link.purpose) == (user.id, "setup")
    assert token not in str([entry.payload for entry in AuditEntry.select()])
    assert audited() == [("user.created", "dora")]


def test_the_link_is_stored_as_a_hash(parts, settings):
    _, token = invite(parts)

    stored = b"".join(path.read_bytes() for path in settings.data_dir.glob("restic-manager.db*"))
    assert token.encode() not in stored


def test_who_has_no_password_yet_cannot_sign_in_with_an_empty_one(parts):
    invite(parts)

    with pytest.raises(Unauthorised):
        log_in(parts, username="dora", password="")


@pytest.mark.parametrize(("field", "values"), [("username", {"username": "x" * 200}), ("role", {"role": "root"})])
def test_a_name_or_role_that_cannot_be_used_is_named(parts, field, values):
    with pytest.raises(Invalid) as caught:
        invite(parts, **values)

    assert list(caught.value.fields) == [field]


def test_a_name_is_taken_in_upper_and_lower_case(parts):
    with pytest.raises(Conflict, match="already"):
        invite(parts, username="BOB")


def test_a_new_link_ends_the_one_before(parts):
    user, first = invite(parts)

    second = users.new_link(parts.bus, user_id=user.id, actor=ALICE, now=NOW)

    with pytest.raises(Exception, match="replaced"):
        user_links.find(first, NOW)
    assert user_links.find(second, NOW)
    assert UserLink.select().count() == 1


def test_a_disabled_user_gets_no_link_and_an_open_one_ends(parts):
    user, token = invite(parts)

    users.disable(parts.bus, user_id=user.id, actor=ALICE, now=NOW)

    with pytest.raises(Exception, match="used, has expired"):
        user_links.find(token, NOW)
    with pytest.raises(Conflict, match="Enable"):
        users.new_link(parts.bus, user_id=user.id, actor=ALICE, now=NOW)


def test_an_administrator_changes_their_own_password_with_the_present_one_not_with_a_link(parts):
    with pytest.raises(Conflict, match="your own account"):
        users.new_link(parts.bus, user_id="alice", actor=ALICE, now=NOW)


def test_less_than_before_counts_at_once_and_the_session_goes_on(parts):
    token = session_of("bob")
    with parts.bus.subscribe() as listener:
        users.set_role(parts.bus, user_id="bob", role="viewer", actor=ALICE, now=NOW)
        events = listener.take(0)

    assert sessions.find_user(token, NOW).role == "viewer"
    assert AccessChanged("bob") in events
    assert AuditEntry.get().payload == {"before": "operator", "after": "viewer"}


def test_more_than_before_asks_to_sign_in_again(parts):
    token = session_of("bob")

    users.set_role(parts.bus, user_id="bob", role="admin", actor=ALICE, now=NOW)

    assert sessions.find(token, NOW) is None


def test_the_same_role_again_changes_nothing(parts):
    token = session_of("bob")

    users.set_role(parts.bus, user_id="bob", role="operator", actor=ALICE, now=NOW)

    assert sessions.find(token, NOW)
    assert audited() == []


LOSING = {
    "demote": lambda parts, user_id, actor: users.set_role(
        parts.bus, user_id=user_id, role="viewer", typed_name=user_id, actor=actor, now=NOW
    ),
    "disable": lambda parts, user_id, actor: users.disable(
        parts.bus, user_id=user_id, typed_name=user_id, actor=actor, now=NOW
    ),
    "remove": lambda parts, user_id, actor: users.remove(
        parts.bus, user_id=user_id, typed_name=user_id, actor=actor, now=NOW
    ),
}


@pytest.mark.parametrize("how", LOSING)
def test_the_last_administrator_stays(parts, how):
    with pytest.raises(Conflict) as caught:
        LOSING[how](parts, "alice", ALICE)

    assert caught.value.code == "last_admin"
    assert User.get_by_id("alice").role == "admin"
    assert audited() == []


@pytest.mark.parametrize("how", LOSING)
@pytest.mark.parametrize("other", [{"password_hash": ""}, {"is_enabled": False}, {"role": "operator"}])
def test_another_administrator_who_cannot_get_in_does_not_count(parts, how, other):
    User.update({"role": "admin"} | other).where(User.id == "bob").execute()

    with pytest.raises(Conflict):
        LOSING[how](parts, "alice", ALICE)


@pytest.mark.parametrize("how", LOSING)
def test_with_another_administrator_one_may_go(parts, how):
    User.update(role="admin").where(User.id == "bob").execute()

    LOSING[how](parts, "alice", BOB)

    left = User.select().where(User.role == "admin", User.is_enabled)
    assert [user.username for user in left] == ["bob"]


@pytest.mark.parametrize("how", LOSING)
def test_two_administrators_who_oust_each_other_at_once_do_not_both_succeed(parts, how):
    User.update(role="admin").where(User.id == "bob").execute()
    together = threading.Barrier(2)
    refused = []

    def oust(user_id, actor):
        with database.connection():
            together.wait(30)
            try:
                LOSING[how](parts, user_id, actor)
            except Conflict:
                refused.append(user_id)

    threads = [threading.Thread(target=oust, args=arguments) for arguments in (("alice", BOB), ("bob", ALICE))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    left = User.select().where(User.role == "admin", User.is_enabled).count()
    assert (left, len(refused)) == (1, 1)


@pytest.mark.parametrize(
    "act",
    [
        lambda parts: users.set_role(parts.bus, user_id="alice", role="viewer", actor=ALICE, now=NOW),
        lambda parts: users.disable(parts.bus, user_id="alice", actor=ALICE, now=NOW),
    ],
)
def test_acting_on_oneself_asks_for_ones_name(parts, act):
    User.update(role="admin").where(User.id == "bob").execute()

    with pytest.raises(Invalid) as caught:
        act(parts)

    assert "your own account" in caught.value.fields["typed_name"]
    assert User.get_by_id("alice").is_enabled


def test_disabling_ends_sessions_at_once_and_enabling_brings_none_back(parts):
    token = session_of("bob")

    users.disable(parts.bus, user_id="bob", actor=ALICE, now=NOW)
    assert sessions.find(token, NOW) is None
    assert Session.select().where(Session.user == "bob").count() == 0
    users.enable(parts.bus, user_id="bob", actor=ALICE, now=NOW)

    assert sessions.find(token, NOW) is None
    assert log_in(parts, username="bob").token
    assert [action for action, _ in audited()][:2] == ["user.disabled", "user.enabled"]


def test_disabling_twice_is_one_entry(parts):
    users.disable(parts.bus, user_id="bob", actor=ALICE, now=NOW)
    users.disable(parts.bus, user_id="bob", actor=ALICE, now=NOW)

    assert audited() == [("user.disabled", "bob")]


def test_who_is_removed_takes_all_that_signs_them_in_along(parts):
    with_second_factor(parts, BOB)
    session_of("bob")
    ApiToken.create(
        id="t", name="of bob", token_hash="h", role="viewer", user_id="bob", created_by="bob", created_at=NOW
    )

    users.remove(parts.bus, user_id="bob", typed_name="bob", actor=ALICE, now=NOW)

    for table in (Session, RecoveryCode, UserLink, ApiToken):
        assert table.select().count() == 0, table
    assert audited()[-1] == ("user.removed", "bob")


def test_removing_needs_the_name(parts):
    with pytest.raises(Invalid):
        users.remove(parts.bus, user_id="bob", typed_name="alice", actor=ALICE, now=NOW)

    assert User.get_by_id("bob")


def test_there_is_an_end_to_how_many(parts, monkeypatch):
    monkeypatch.setattr(users, "MOST_USERS", 3)

    with pytest.raises(Conflict, match="3 users"):
        invite(parts)


def test_nobody_is_cared_for_who_is_not_there(parts):
    for act in (users.enable, users.disable, users.new_link, users.withdraw_link):
        with pytest.raises(NotFound):
            act(parts.bus, user_id="nobody", actor=ALICE, now=NOW)


def test_a_lost_second_factor_is_taken_away_and_sessions_end(parts):
    with_second_factor(parts, BOB)
    token = session_of("bob")

    second_factor.reset(parts.bus, user_id="bob", actor=ALICE, now=NOW)

    assert not log_in(parts, username="bob", now=NOW + timedelta(minutes=1)).waits_for_code
    assert sessions.find(token, NOW) is None
    assert RecoveryCode.select().count() == 0
    assert ("second_factor.reset", "bob") in audited()


def test_nobody_takes_their_own_second_factor_away_without_password_and_code(parts):
    with_second_factor(parts)

    with pytest.raises(Conflict, match="your own account"):
        second_factor.reset(parts.bus, user_id="alice", actor=ALICE, now=NOW)
    second_factor.reset(parts.bus, user_id="alice", actor=SERVER, now=NOW)
