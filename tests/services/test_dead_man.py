"""The outgoing sign of life."""

from datetime import timedelta

import pytest

from rm.errors import Conflict, Invalid
from rm.notifiers.outcome import OK, failed
from rm.services import dead_man
from rm.store.models import AuditEntry, Setting
from tests.cast import ALICE, NOW

URL = "https://watchdog.example.net/ping/secret-uuid"


def save(vault, url=URL, minutes="5"):
    return dead_man.save(vault, url=url, minutes=minutes, actor=ALICE, now=NOW)


def test_the_url_is_sealed_masked_and_audited_without_it(app, vault):
    saved = save(vault)

    assert saved.url_shown == "https://watchdog.example.net/…"
    assert dead_man.url_to_ping(vault) == URL
    assert all("secret-uuid" not in setting.value for setting in Setting.select())
    entry = AuditEntry.select().order_by(AuditEntry.id.desc()).get()
    assert (entry.action, entry.payload["after"]["url"]) == ("settings.changed", "https://watchdog.example.net/…")


def test_a_blank_url_keeps_the_stored_one(app, vault):
    save(vault)
    assert save(vault, url="", minutes="10").minutes == 10
    assert dead_man.url_to_ping(vault) == URL


@pytest.mark.parametrize(
    ("url", "minutes", "field"),
    [("", "5", "ping_url"), ("http://169.254.169.254/", "5", "ping_url"), ("ntfy://x/y", "5", "ping_url"),
     (URL, "0", "minutes"), (URL, "", "minutes"), (URL, "1441", "minutes"), (URL, "٣", "minutes"),
     (URL, "-1", "minutes")],
)  # fmt: skip
def test_what_could_not_be_used_is_refused_at_its_field(app, vault, url, minutes, field):
    with pytest.raises(Invalid) as refused:
        save(vault, url=url, minutes=minutes)
    assert list(refused.value.fields) == [field]


def test_one_sent_by_hand_is_kept_and_audited_without_its_url(app, vault, monkeypatch):
    save(vault)
    monkeypatch.setattr(dead_man, "ping", lambda url: failed("it answered 500") if url == URL else OK)

    outcome = dead_man.ping_now(vault, actor=ALICE, clock=lambda: NOW)

    entry = AuditEntry.select().order_by(AuditEntry.id.desc()).get()
    assert (outcome.is_ok, dead_man.read().last_reason) == (False, "it answered 500")
    assert (entry.action, entry.actor_name, entry.payload["is_ok"]) == ("sign_of_life.sent", "alice", False)
    assert "secret-uuid" not in str(entry.payload)


def test_none_is_sent_by_hand_while_none_is_set(app, vault):
    with pytest.raises(Conflict):
        dead_man.ping_now(vault, actor=ALICE, clock=lambda: NOW)
    assert dead_man.read().last_at is None


def test_it_is_due_at_once_then_every_so_many_minutes_also_after_a_failure(app, vault):
    assert not dead_man.read().is_due(NOW)
    save(vault)
    assert dead_man.read().is_due(NOW)

    dead_man.keep(failed("it answered 500"), now=NOW)
    found = dead_man.read()
    assert (found.last_ok, found.last_reason) == (False, "it answered 500")
    assert not found.is_due(NOW + timedelta(minutes=4))
    assert found.is_due(NOW + timedelta(minutes=5))
    assert found.is_due(NOW - timedelta(hours=1)), "a clock that was set back does not silence it"

    dead_man.keep(OK, now=NOW)
    dead_man.remove(actor=ALICE, now=NOW)
    assert dead_man.read() == dead_man.DeadMan()
    assert dead_man.url_to_ping(vault) is None


def test_a_url_that_the_key_file_does_not_open_is_said_to_be_that(app, vault):
    save(vault)
    from rm.store.vault import Vault

    url = dead_man.url_to_ping(Vault(b"x" * 32))

    assert "key file" in dead_man.ping(url).reason
