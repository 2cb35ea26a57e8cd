"""Agents that do not read are cut, and the others go on."""

import threading

from rm.agent_link import session as module
from rm.shared.ids import new_ulid
from rm.shared.protocol import (
    Heartbeat,
)
from tests.agent_link.conftest import WAIT, wait_until
from tests.agent_link.reporting import AT


def test_an_agent_that_does_not_read_is_closed_and_others_go_on(connect, bus, web1, db1, registry):
    slow = connect(web1)
    gate = threading.Event()
    real_send = slow.send
    slow.send = lambda frame: (gate.wait(WAIT), real_send(frame))
    wait_until(lambda: registry.is_connected(web1.id))
    session = registry._sessions[web1.id]

    for _ in range(600):
        session.ack_later(new_ulid())
    gate.set()

    assert slow.wait_closed() == 1013
    other = connect(db1)
    other.wait_for("ack", id=other.say(Heartbeat(sent_at=AT)))


def test_a_peer_that_stopped_reading_or_fell_silent_is_cut(connect, web1, db1, registry, monkeypatch):
    reading, stuck = connect(web1), connect(db1)
    stuck.sock.sending_since = module.time.monotonic() - module.SEND_SECONDS - 1

    assert registry.cut_stuck() == 1
    stuck.thread.join(WAIT)
    assert (registry.is_connected(web1.id), registry.is_connected(db1.id)) == (True, False)

    silent_until = module.time.monotonic() + module.SILENT_SECONDS + 1
    monkeypatch.setattr("rm.agent_link.registry.time.monotonic", lambda: silent_until)
    assert registry.cut_stuck() == 1
    reading.thread.join(WAIT)
    assert registry.count() == 0


def test_a_replaced_connection_whose_peer_stopped_reading_is_cut_too(connect, web1, registry, monkeypatch):
    replaced, is_over = connect(web1), threading.Event()
    replaced.wait_for("config.set")
    # the close frame finds no room, as in the buffer of a peer that does not read
    monkeypatch.setattr(replaced, "close", lambda code, reason: is_over.wait(WAIT))
    replaced.sock.sending_since = module.time.monotonic() - module.SEND_SECONDS - 1
    newer = connect(web1)

    assert registry.cut_stuck() == 1

    is_over.set()
    replaced.thread.join(WAIT)
    assert not replaced.thread.is_alive()
    assert newer.thread.is_alive() and registry.cut_stuck() == 0
