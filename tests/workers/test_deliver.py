"""The worker that delivers: real servers, lanes, and what a kill between send and mark leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from rm.services import alerts, channels, dead_man
from rm.services.channel_forms import ChannelForm
from rm.store.database import changes
from rm.store.models import Channel, Delivery
from rm.workers.deliver import DeliveryDriver
from tests.cast import ALICE, NOW
from tests.notifiers.servers import HttpServer, drips, http_server, smtp_server

ROOT = Path(__file__).parents[2]
SETTLED = NOW + timedelta(seconds=15)
ONE_SENDER = """
import sys
from datetime import datetime
from pathlib import Path
from rm.config import Settings
from rm.factory import create_app
from rm.runtime import runtime
from rm.workers.deliver import DeliveryDriver
parts = runtime(create_app(Settings(data_dir=Path(sys.argv[1]), base_url="http://localhost").checked()))
parts.clock = lambda: datetime.fromisoformat(sys.argv[3])
DeliveryDriver(parts).send_next(sys.argv[2])
"""


def until(fact: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server() as found:
        yield found


@pytest.fixture
def driver(parts, clock) -> Iterator[DeliveryDriver]:
    found = DeliveryDriver(parts)
    clock.now = SETTLED
    yield found
    parts.is_stopping = True
    found.stop()


@pytest.fixture
def hook(bus, vault):
    def make(url: str, name: str = "hook", **values) -> Channel:
        kind = values.pop("kind", "webhook")
        return channels.create(
            bus, vault, form=ChannelForm(name=name, kind=kind, url=url, **values), actor=ALICE, now=NOW
        )[0]

    return make


def fail(bus, host, condition="files"):
    with changes():
        alerts.raise_alert(
            bus, kind="backup_failed", condition=f"host:{host.id}:{condition}", now=NOW, host_id=host.id,
            message="restic ended with 1: no space left",
        )  # fmt: skip


def test_a_failure_reaches_a_webhook_an_ntfy_and_a_mailbox(bus, driver, hook, server, web1):
    with smtp_server() as mailbox, http_server() as ntfy:
        hook(server.url, "hook")
        hook(f"ntfy://127.0.0.1:{ntfy.port}/backups", "ntfy", kind="apprise")
        hook(f"mailto://127.0.0.1:{mailbox.port}?from=rm@a.net&to=ops@a.net&mode=insecure", "mail", kind="apprise")
        fail(bus, web1)

        driver.drive()
        until(lambda: Delivery.select().where(Delivery.state == "sent").count() == 3)

    told = json.loads(server.requests[0].body)
    assert (told["event"], told["hosts"]) == ("raised", {"count": 1, "names": ["web1"]})
    assert told["incident"]["url"].startswith("http://localhost/alerts/")
    assert server.requests[0].headers["Restic-Manager-Delivery"] == told["id"]
    assert b"no space left" in ntfy.requests[0].body
    assert "[critical]" in mailbox.messages[0]["Subject"]
    assert all(channel.last_ok_at == SETTLED for channel in Channel.select())


def test_a_failed_try_is_kept_with_its_reason_and_tried_again_when_due(bus, driver, hook, server, web1, clock):
    hook(server.url)
    fail(bus, web1)
    server.says(429)
    driver.drive()
    until(lambda: Delivery.get().reason == "it answered 429")
    driver.drive()
    assert len(server.requests) == 1, "the channel rests"

    server.says(200)
    clock.now += timedelta(seconds=31)

    def is_sent() -> bool:
        driver.drive()
        return Delivery.get().state == "sent"

    until(is_sent)
    first, second = (request.headers["Restic-Manager-Delivery"] for request in server.requests)
    assert first == second


def test_a_slow_channel_holds_up_no_other_and_not_the_worker(bus, driver, hook, server, web1):
    with http_server() as slow:
        slow.answer = drips(60)
        hook(slow.url, "a slow one")
        hook(server.url, "quick")
        fail(bus, web1)

        began = time.monotonic()
        driver.drive()
        assert time.monotonic() - began < 10
        until(lambda: len(slow.requests) == 1 and Delivery.select().where(Delivery.state == "sent").count() == 1)

        driver.drive()
        assert len(slow.requests) == 1, "what is under way is not begun once more"
        until(lambda: Delivery.select().where(Delivery.reason != "").count() == 1)


def test_messages_of_one_channel_go_one_after_the_other_in_order(bus, driver, hook, server, web1):
    hook(server.url)
    for number in range(5):
        fail(bus, web1, f"group{number}")

    driver.drive()
    until(lambda: Delivery.select().where(Delivery.state == "sent").count() == 5)

    sent = [request.headers["Restic-Manager-Delivery"] for request in server.requests]
    assert sent == [one.id for one in Delivery.select().order_by(Delivery.event_id)]


def test_a_kill_between_send_and_mark_repeats_under_the_same_id_and_loses_nothing(app, parts, bus, hook, server, web1):
    channel = hook(server.url)
    fail(bus, web1)
    senders: list[subprocess.Popen] = []

    def kill_the_sender(request, handler):
        os.kill(senders[-1].pid, signal.SIGKILL)
        return 200, {}, b""

    def start() -> subprocess.Popen:
        senders.append(
            subprocess.Popen(
                [sys.executable, "-c", ONE_SENDER, str(parts.settings.data_dir), channel.id, SETTLED.isoformat()],
                cwd=ROOT,
            )
        )
        return senders[-1]

    server.answer = kill_the_sender
    assert start().wait(110) == -signal.SIGKILL
    assert (len(server.requests), Delivery.get().state, Delivery.get().tries) == (1, "queued", 1)

    server.says(200)
    assert start().wait(110) == 0

    assert Delivery.get().state == "sent"
    first, second = server.requests
    assert first.headers["Restic-Manager-Delivery"] == second.headers["Restic-Manager-Delivery"]
    assert first.body == second.body


def test_the_sign_of_life_goes_out_only_while_the_server_is_well(app, parts, vault, server, clock):
    scheduler = app.extensions["rm_scheduler"]
    dead_man.save(vault, url=f"{server.url}/ping/uuid", minutes="5", actor=ALICE, now=NOW)

    scheduler.send_sign_of_life()
    assert server.requests == [], "its scheduler does not run"

    scheduler.trouble = lambda: None
    parts.writer.trouble = lambda: None
    scheduler.send_sign_of_life()
    scheduler.send_sign_of_life()
    assert [(request.method, request.path) for request in server.requests] == [("GET", "/ping/uuid")]
    assert dead_man.read().last_ok

    server.says(500)
    clock.now += timedelta(minutes=5)
    scheduler.send_sign_of_life()
    assert dead_man.read().last_reason == "it answered 500"

    parts.is_stopping = True
    clock.now += timedelta(minutes=5)
    scheduler.send_sign_of_life()
    assert len(server.requests) == 2
