"""A host is sent what it is to have, and is sent away once it may have nothing."""

import threading

import pytest
from peewee import OperationalError

from rm.services import hosts, jobs
from rm.services.repositories import RepositoryForm, save_for_host
from rm.shared.protocol import (
    BrowseResult,
    Heartbeat,
    ScheduleAck,
)
from rm.store import database
from tests import cast
from tests.agent_link.conftest import WAIT, wait_until
from tests.agent_link.reporting import AT, try_repository
from tests.cast import ALICE, BOB, NOW


def test_the_configuration_is_sent_and_its_application_noted(connect, web1, group):
    ws = connect(web1)

    config = ws.wait_for("config.set")
    ws.wait_for("ack", id=ws.say(ScheduleAck(config_version=config.version)))

    host = cast.host_row(web1)
    assert (config.repositories[0].password, config.repositories[0].secret) == ("repo-secret", "backend-secret")
    assert host.config_applied == host.config_version


def test_an_agent_that_has_the_configuration_is_not_sent_it_again(connect, web1, group):
    ws = connect(web1, config_version=cast.host_row(web1).config_version)

    ws.wait_for("ack", id=ws.say(Heartbeat(sent_at=AT)))

    assert not [m for m in ws.sent if m.type == "config.set"]


def test_a_changed_password_reaches_the_connected_agent(connect, bus, vault, web1, group):
    ws = connect(web1)
    before = ws.wait_for("config.set").version
    form = RepositoryForm(name="store of web1", location="rest:http://127.0.0.1:8000/repo", password="new-secret")

    save_for_host(bus, vault, host_id=web1.id, form=form, actor=ALICE, now=NOW)

    assert ws.wait_for("config.set", version=before + 1).repositories[0].password == "new-secret"


def test_a_revoked_hosts_open_connection_closes_at_once(connect, bus, web1):
    ws = connect(web1)

    hosts.revoke_credential(bus, host_id=web1.id, actor=ALICE, now=NOW)

    assert ws.wait_closed() == 4403


def test_a_removed_hosts_open_connection_closes_at_once(connect, bus, web1):
    ws = connect(web1)

    hosts.remove(bus, host_id=web1.id, typed_name="web1", actor=ALICE, now=NOW)

    assert ws.wait_closed() == 4403


@pytest.mark.parametrize("end", [hosts.remove, hosts.revoke_credential], ids=["removed", "revoked"])
def test_a_host_that_goes_between_its_hello_and_its_place_is_refused(connect, bus, web1, registry, monkeypatch, end):
    named = {"typed_name": "web1"} if end is hosts.remove else {}
    join = registry.join

    def too_late(session):
        with database.connection():
            end(bus, host_id=web1.id, actor=ALICE, now=NOW, **named)
        return join(session)

    monkeypatch.setattr(registry, "join", too_late)

    assert connect(web1).wait_closed() == 4403


def test_news_that_could_not_be_read_are_told_later(connect, bus, web1, group, registry, monkeypatch):
    ws = connect(web1)
    ws.wait_for("config.set")
    real = jobs.next_orders
    failures = iter([OperationalError("database is locked")])

    def locked_once(**arguments):
        for failure in failures:
            failed.set()
            raise failure
        return real(**arguments)

    failed = threading.Event()
    monkeypatch.setattr(jobs, "next_orders", locked_once)
    job = jobs.order(bus, host_id=web1.id, kind="init", actor=BOB, now=NOW)
    assert failed.wait(WAIT)
    wait_until(lambda: registry._sessions[web1.id]._news_failed)
    registry.cut_stuck()

    ws.wait_for("command.run", job_id=job.id)


def test_a_question_never_overtakes_the_configuration_it_is_about(connect, bus, vault, parts, web1, group):
    ws = connect(web1)
    ws.wait_for("config.set")
    form = RepositoryForm(name="store of web1", location="rest:http://127.0.0.1:8000/repo", password="new-secret")
    gate = threading.Event()
    real_send = ws.send
    ws.send = lambda frame: (gate.wait(WAIT), real_send(frame))
    ws.say(Heartbeat(sent_at=AT))

    save_for_host(bus, vault, host_id=web1.id, form=form, actor=ALICE, now=NOW)
    asking = threading.Thread(target=lambda: ask_and_forget(bus, parts, web1))
    asking.start()
    gate.set()
    question = ws.wait_for("command.browse")
    ws.say(BrowseResult(request_id=question.request_id, ok=True))
    asking.join(WAIT)

    order = [m.type for m in ws.sent if m.type in ("config.set", "command.browse")]
    assert order == ["config.set", "config.set", "command.browse"]


def ask_and_forget(bus, parts, host):
    try_repository(bus, parts, host)
