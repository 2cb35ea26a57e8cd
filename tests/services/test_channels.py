"""Channels: sealed, masked, audited; what a form may say; how a message reads."""

import json
import logging
from datetime import timedelta

import pytest

from rm.domain.notices import Notice
from rm.errors import Conflict, Invalid, NotFound
from rm.services import channels, sending
from rm.services.channel_forms import ChannelForm
from rm.store.models import AuditEntry, Channel, Delivery
from tests.cast import ALICE, NOW
from tests.notifiers.servers import http_server

HOOK = "https://user:hunter2@hooks.example.net/very-secret-path?token=abcdef"


def hook(name="hook", **values):
    return ChannelForm(name=name, kind="webhook", **{"url": HOOK} | values)


@pytest.fixture
def made(bus, vault):
    return channels.create(bus, vault, form=hook(), actor=ALICE, now=NOW)


def test_url_and_secret_lie_sealed_and_appear_nowhere_else(bus, vault, made, parts, caplog):
    channel, secret = made
    caplog.set_level(logging.DEBUG)
    channels.change(bus, vault, channel_id=channel.id, form=hook("other"), actor=ALICE, now=NOW)
    channels.remove(bus, channel_id=channel.id, actor=ALICE, now=NOW)

    stored = parts.settings.database_file.read_bytes() + (
        parts.settings.database_file.with_name(parts.settings.database_file.name + "-wal").read_bytes()
    )
    audited = json.dumps([entry.payload for entry in AuditEntry.select()])
    for word in ("hunter2", "very-secret-path", "abcdef", secret):
        assert word.encode() not in stored
        assert word not in audited
        assert word not in caplog.text
    assert channel.url_shown == "https://hooks.example.net/…"
    assert [entry.action for entry in AuditEntry.select().where(AuditEntry.target_kind == "channel")] == [
        "channel.created", "channel.changed", "channel.removed",
    ]  # fmt: skip


def test_a_sealed_url_opens_only_for_its_own_channel(bus, vault, made):
    channel, _ = made
    other, _ = channels.create(bus, vault, form=hook("other"), actor=ALICE, now=NOW)
    Channel.update(url_sealed=channel.url_sealed).where(Channel.id == other.id).execute()

    outcome = sending.send(
        vault, channel=Channel.get_by_id(other.id), delivery_id="x", notice=Notice("test", "warning", "t"), now=NOW
    )

    assert not outcome.is_ok
    assert "key file" in outcome.reason


def test_a_blank_url_keeps_url_and_secret_and_another_replaces_only_the_url(bus, vault, made):
    before, secret = made
    changed = channels.change(
        bus, vault, channel_id=before.id, form=hook("night", url="", tags=["db", " db "]), actor=ALICE, now=NOW
    )
    assert (changed.name, changed.tags, bytes(changed.url_sealed)) == ("night", ["db"], bytes(before.url_sealed))
    entry = AuditEntry.select().order_by(AuditEntry.id.desc()).get()
    assert entry.payload == {
        "before": {"name": "hook", "tags": []}, "after": {"name": "night", "tags": ["db"]}, "url_replaced": False,
    }  # fmt: skip

    moved = channels.change(
        bus, vault, channel_id=before.id, form=hook("night", url="http://10.0.0.1/x"), actor=ALICE, now=NOW
    )
    assert moved.url_shown == "http://10.0.0.1/…"
    assert vault.unseal(moved.secret_sealed, place=sending.secret_place(moved.id)) == secret


def test_a_secret_is_replaced_by_another_and_only_a_webhook_has_one(bus, vault, made):
    channel, secret = made
    assert channels.replace_secret(bus, vault, channel_id=channel.id, actor=ALICE, now=NOW) != secret

    mail, none = channels.create(
        bus, vault, form=ChannelForm(name="chat", url="ntfys://ntfy.example.net/topic"), actor=ALICE, now=NOW
    )
    assert none == ""
    with pytest.raises(Conflict):
        channels.replace_secret(bus, vault, channel_id=mail.id, actor=ALICE, now=NOW)


@pytest.mark.parametrize(
    ("form", "field"),
    [
        (hook(""), "name"),
        (hook("a\nb"), "name"),
        (hook("x" * 101), "name"),
        (hook("HOOK"), "name"),
        (hook("b", url=""), "url"),
        (hook("b", url="http://169.254.169.254/latest"), "url"),
        (hook("b", url="http://[fe80::1]/"), "url"),
        (hook("b", url="ftp://example.net/"), "url"),
        (hook("b", url="http://a/\r\nX: y"), "url"),
        (hook("b", min_severity="all"), "min_severity"),
        (hook("b", kinds=["nonsense"]), "kinds"),
        (hook("b", tags=["x" * 101]), "tags"),
        (ChannelForm(name="b", kind="carrier pigeon", url=HOOK), "kind"),
        (ChannelForm(name="b", url=HOOK), "url"),
        (ChannelForm(name="b", url="syslog://"), "url"),
        (ChannelForm(name="b", url="ntfy://169.254.169.254/t"), "url"),
    ],
)
def test_what_could_not_be_used_is_refused_at_its_field(bus, vault, made, form, field):
    with pytest.raises(Invalid) as refused:
        channels.create(bus, vault, form=form, actor=ALICE, now=NOW)

    assert list(refused.value.fields) == [field]
    assert "hunter2" not in str(refused.value.fields)
    assert Channel.select().count() == 1


def test_a_removed_channel_takes_its_log_along_and_is_not_found(bus, made):
    channel, _ = made
    channels.keep_test(
        bus, channel_id=channel.id, delivery_id="d", is_ok=False, reason="no", actor=ALICE, now=NOW
    )  # fmt: skip
    channels.remove(bus, channel_id=channel.id, actor=ALICE, now=NOW)

    assert Delivery.select().count() == 0
    with pytest.raises(NotFound):
        channels.remove(bus, channel_id=channel.id, actor=ALICE, now=NOW)


def test_a_webhook_carries_event_facts_and_link_as_json(bus, vault):
    notice = Notice(
        event="raised", severity="critical", title="Backup failed: web1", message="No space.", advice="Free some.",
        kinds=("backup_failed",), host_count=1, hosts=("web1",), since=NOW, at=NOW + timedelta(seconds=1),
        link="https://rm.example.net/alerts/x", incident_id="x",
    )  # fmt: skip
    with http_server() as server:
        channel, _ = channels.create(bus, vault, form=hook(url=server.url), actor=ALICE, now=NOW)
        assert sending.send(vault, channel=channel, delivery_id="d1", notice=notice, now=NOW).is_ok

    assert json.loads(server.requests[0].body) == {
        "schema": 1, "id": "d1", "event": "raised", "severity": "critical", "subject": "[critical] Backup failed: web1",
        "title": "Backup failed: web1", "message": "No space.", "next_step": "Free some.", "server": "restic-manager",
        "actor": "", "kinds": ["backup_failed"], "hosts": {"count": 1, "names": ["web1"]},
        "since": "2026-11-23T12:00:00.000000Z", "at": "2026-11-23T12:00:01.000000Z",
        "incident": {"id": "x", "url": "https://rm.example.net/alerts/x"},
    }  # fmt: skip
