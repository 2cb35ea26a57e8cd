"""How a conversation with an agent begins and ends, over a fake socket and a real database."""

import json

import pytest

from rm.agent_link import handlers
from rm.events import HostChanged
from rm.services import hosts
from rm.shared.ids import new_ulid
from rm.shared.protocol import (
    Heartbeat,
    Hello,
)
from rm.store.models import Host
from tests import cast
from tests.agent_link.conftest import WAIT
from tests.agent_link.reporting import AT
from tests.cast import ALICE, NOW

# ---- greeting ----


def test_a_hello_is_welcomed_and_noted(connect, web1):
    ws = connect(web1, restic_version="0.14.0", os_name="Debian 12", problems=["disk is nearly full"])

    welcome = ws.wait_for("welcome")
    host = cast.host_row(web1)
    assert (welcome.host_id, welcome.heartbeat_seconds) == (web1.id, 30)
    assert (host.restic_version, host.os_name, host.problems) == ("0.14.0", "Debian 12", ["disk is nearly full"])
    assert host.connected_at == NOW


def test_a_first_frame_that_is_no_hello_is_refused(connect, web1):
    ws = connect(web1, hello=False)

    ws.say(Heartbeat(sent_at=AT))

    assert ws.wait_closed() == 4400
    assert ws.wait_for("error").code == "hello_invalid"


@pytest.mark.parametrize("frame", ["garbage", "[]", '{"type":"hello","id":"x","payload":{}}', "{" * 500])
def test_a_hello_that_cannot_be_read_is_refused(connect, web1, frame):
    ws = connect(web1, hello=False)

    ws.say_raw(frame)

    assert ws.wait_closed() == 4400


def test_a_hello_that_never_comes_ends_the_connection(connect, web1, monkeypatch):
    monkeypatch.setattr("rm.shared.protocol.HELLO_WITHIN_SECONDS", 0.05)

    ws = connect(web1, hello=False)

    assert ws.wait_closed() == 4400


def test_an_agent_that_is_too_old_is_told_so(connect, web1):
    ws = connect(web1, hello=False)

    ws.say(Hello(protocol_version=0, agent_version="0.0.1"))

    assert ws.wait_closed() == 4426
    assert ws.wait_for("error").code == "protocol_too_old"


def test_a_host_that_was_revoked_during_the_handshake_is_refused(connect, bus, web1):
    hosts.revoke_credential(bus, host_id=web1.id, actor=ALICE, now=NOW)

    ws = connect(web1, hello=False)
    ws.say(Hello(protocol_version=1, agent_version="0.1.0"))

    assert ws.wait_closed() == 4403


def test_the_newest_connection_of_a_host_wins(connect, web1, registry):
    first = connect(web1)

    second = connect(web1)

    assert first.wait_closed() == 4409
    first.thread.join(WAIT)
    assert registry.is_connected(web1.id)
    assert cast.host_row(web1).connected_at is not None
    assert second.closed_with is None


def test_a_connection_that_ends_is_noted(connect, bus, web1):
    ws = connect(web1)

    ws.hang_up()
    ws.thread.join(WAIT)

    assert cast.host_row(web1).connected_at is None


# ---- bad frames ----


def test_three_bad_messages_in_a_row_end_the_connection(connect, web1):
    ws = connect(web1)

    for _ in range(3):
        ws.say_raw("not json")

    assert ws.wait_closed() == 4400


def test_a_good_message_between_bad_ones_keeps_the_connection(connect, web1):
    ws = connect(web1)

    for _ in range(3):
        ws.say_raw("not json")
        ws.wait_for("error", code="bad_message")
        ws.sent.clear()
        good = ws.say(Heartbeat(sent_at=AT))
        ws.wait_for("ack", id=good)

    assert ws.closed_with is None


def test_an_unknown_type_gets_an_error_that_names_it(connect, web1):
    ws = connect(web1)
    message_id = new_ulid()

    ws.say_raw(json.dumps({"type": "host.explode", "id": message_id, "payload": {}}))

    error = ws.wait_for("error", id=message_id)
    assert (error.code, "host.explode" in error.detail) == ("unknown_type", True)


def test_a_binary_frame_ends_the_connection(connect, web1):
    ws = connect(web1)

    ws.say_raw(b"\x00\x01")

    assert ws.wait_closed() == 1003


# ---- what else ends it, and who hears of it ----


def test_a_connection_change_is_told(connect, bus, web1):
    with bus.subscribe() as listener:
        connect(web1)

        assert HostChanged(web1.id) in listener.take(timeout=WAIT)
    assert Host.select().count() == 1


def test_a_bug_in_a_handler_ends_this_connection_with_1011(connect, web1, monkeypatch, caplog):
    ws = connect(web1)
    monkeypatch.setitem(handlers._HANDLERS, "heartbeat", lambda session, message: 1 / 0)

    ws.say(Heartbeat(sent_at=AT))

    assert ws.wait_closed() == 1011
    assert "ZeroDivisionError" in caplog.text
