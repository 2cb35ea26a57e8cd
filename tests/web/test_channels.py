"""Settings → Notifications."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from rm.services import alerts, channels, dead_man
from rm.services.channel_forms import ChannelForm
from rm.store.database import changes
from rm.store.models import AuditEntry, Channel, Delivery
from tests.cast import ALICE, NOW
from tests.notifiers.servers import HttpServer, free_port, http_server

PATH = "/settings/notifications"
HOOK = "https://user:hunter2@hooks.example.net/secret-path"


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server() as found:
        yield found


@pytest.fixture
def channel(bus, vault):
    def make(url: str = HOOK, name: str = "hook", **values) -> Channel:
        form = ChannelForm(name=name, kind="webhook", url=url, **values)
        return channels.create(bus, vault, form=form, actor=ALICE, now=NOW)[0]

    return make


def typed(**values):
    form = {
        "name": "Night shift", "kind": "webhook", "url": HOOK, "is_enabled": "yes", "min_severity": "critical",
        "tags": "prod, db", "tells_resolved": "yes",
    }  # fmt: skip
    return form | values


def test_the_list_says_that_nobody_is_told_while_there_is_no_channel(alice):
    page = alice.get(PATH)

    assert "Nobody is told yet" in page.text("#channels")
    assert page.find("a[href='/settings/notifications/new']")


def test_a_webhook_is_added_and_its_secret_shown_this_once(alice):
    made = alice.post(f"{PATH}/new", typed(kinds="backup_failed"))
    channel = Channel.get()
    path = f"{PATH}/{channel.id}"
    assert (made.status, made.response.location) == (303, path)
    assert "whsec_" not in made.response.location

    page = alice.get(path)
    secret = page.text("#webhook-secret")
    assert secret.startswith("whsec_")
    assert page.response.headers["Cache-Control"] == "no-store"
    assert "https://hooks.example.net/…" in page.text()
    assert "Critical alerts: backup failed on hosts tagged db, prod; no acknowledgements" in page.text()
    assert not alice.get(path).has("#secret")
    assert "hunter2" not in alice.get(PATH).response.get_data(as_text=True)


def test_a_form_with_a_mistake_comes_back_with_what_was_typed_but_without_the_url(alice):
    page = alice.post(f"{PATH}/new", typed(name="", url="http://169.254.169.254/secret"))

    assert page.status == 422
    assert "1 to 100" in page.text("#name-error")
    page = alice.post(f"{PATH}/new", typed(url="http://169.254.169.254/secret"))
    assert "link-local" in page.text("#url-error")
    assert page.find("#name")["value"] == "Night shift"
    assert page.find("#tags")["value"] == "prod, db"
    assert "169.254.169.254/secret" not in page.response.get_data(as_text=True)
    assert Channel.select().count() == 0


def test_editing_with_a_blank_url_keeps_it_and_never_shows_it(alice, channel, vault):
    found = channel()
    page = alice.get(f"{PATH}/{found.id}/edit")
    assert page.find("#url").get("value") in (None, "")
    assert "hunter2" not in page.response.get_data(as_text=True)

    assert alice.post(f"{PATH}/{found.id}/edit", typed(name="Day shift", url="")).status == 303

    after = Channel.get()
    assert (after.name, after.kind, bytes(after.url_sealed)) == ("Day shift", "webhook", bytes(found.url_sealed))


def test_a_test_is_sent_at_once_and_the_log_says_that_it_arrived(alice, channel, server):
    found = channel(server.url)

    assert alice.post(f"{PATH}/{found.id}/test").status == 303

    assert server.requests[0].headers["Restic-Manager-Event"] == "test"
    page = alice.get(f"{PATH}/{found.id}")
    assert "The test was taken" in page.text("main")
    assert "Arrived" in page.text("#log")
    assert "Works" in alice.get(PATH).text(f"#channel-{found.id}")


def test_a_test_that_fails_shows_the_reason_and_no_secret(alice, channel):
    found = channel(f"http://user:hunter2@127.0.0.1:{free_port()}/secret-path")

    alice.post(f"{PATH}/{found.id}/test")

    page = alice.get(f"{PATH}/{found.id}")
    assert "the connection was refused" in page.text("#log")
    assert "hunter2" not in page.response.get_data(as_text=True)
    assert "secret-path" not in page.response.get_data(as_text=True)


def test_one_person_cannot_make_the_server_call_out_without_end(alice, channel, server):
    found = channel(server.url)

    answers = [alice.post(f"{PATH}/{found.id}/test").status for _ in range(21)]

    assert answers.count(303) == 20
    assert answers[-1] == 429


def test_tries_again_signs_of_life_and_checks_of_the_base_url_count_as_calls_too(alice, bus, channel, web1, server):
    channel()
    with changes():
        alerts.raise_alert(bus, kind="backup_failed", condition="x", message="No.", now=NOW, host_id=web1.id)
    delivery = Delivery.get()
    alice.post(f"{PATH}/sign-of-life", {"ping_url": f"{server.url}/ping/uuid", "minutes": "7"})

    answers = [alice.post(f"{PATH}/deliveries/{delivery.id}/retry").status for _ in range(20)]
    refused = [
        alice.post(f"{PATH}/deliveries/{delivery.id}/retry").status, alice.post(f"{PATH}/sign-of-life/ping").status,
        alice.post("/settings/general/check-base-url").status,
    ]  # fmt: skip

    assert (answers, refused) == ([303] * 20, [429] * 3)
    assert AuditEntry.select().where(AuditEntry.action == "delivery.retried").count() == 20
    assert server.requests == []


def test_the_log_shows_reason_tries_and_when_next_and_tries_again_on_request(alice, bus, channel, web1):
    found = channel()
    with changes():
        alerts.raise_alert(bus, kind="backup_failed", condition="x", message="No.", now=NOW, host_id=web1.id)
    delivery = Delivery.get()
    Delivery.update(tries=3, reason="it answered 500", next_try_at=NOW + timedelta(minutes=10)).execute()
    Channel.update(failing_since=NOW, failures=3, paused_until=NOW + timedelta(minutes=2)).execute()

    row = alice.get(f"{PATH}/{found.id}").text(f"#delivery-{delivery.id}")
    assert "Raised" in row
    assert "Retrying it answered 500 3" in row
    assert "Failing" in alice.get(PATH).text(f"#channel-{found.id}")

    assert alice.post(f"{PATH}/deliveries/{delivery.id}/retry").status == 303
    assert Delivery.get().next_try_at == NOW
    assert Channel.get().paused_until is None


def test_a_secret_is_replaced_after_a_question_and_shown_once(alice, channel):
    found = channel()
    assert "Replace the secret of hook" in alice.get(f"{PATH}/{found.id}/secret").text("h1")

    alice.post(f"{PATH}/{found.id}/secret")

    assert alice.get(f"{PATH}/{found.id}").text("#webhook-secret").startswith("whsec_")


def test_a_channel_is_removed_after_a_question(alice, channel):
    found = channel()
    assert "delivery log goes with it" in alice.get(f"{PATH}/{found.id}/remove").text("main")

    assert alice.post(f"{PATH}/{found.id}/remove").status == 303
    assert Channel.select().count() == 0
    assert alice.get(f"{PATH}/{found.id}").status == 404


def test_names_of_channels_are_text(alice, channel):
    channel(name="<script>alert(1)</script> {{ 7*7 }}")

    page = alice.get(PATH)

    assert "<script>alert(1)</script> {{ 7*7 }}" in page.text("#channels")
    assert not page.soup.select("#channels script")


def test_the_sign_of_life_is_set_called_and_removed(alice, server):
    assert "Not sent" in alice.get(PATH).text("#sign-of-life")
    bad = alice.post(f"{PATH}/sign-of-life", {"ping_url": "ftp://x", "minutes": "0"})
    assert bad.status == 422
    assert "https://" in bad.text("#ping_url-error")
    assert "whole number" in bad.text("#minutes-error")

    alice.post(f"{PATH}/sign-of-life", {"ping_url": f"{server.url}/ping/uuid", "minutes": "7"})
    alice.post(f"{PATH}/sign-of-life/ping")

    page = alice.get(PATH)
    assert server.requests[0].path == "/ping/uuid"
    assert f"{server.url}/…" in page.text("#sign-of-life .mono")
    assert "every 7 minutes" in page.text("#sign-of-life")
    assert "answered" in page.text("#sign-of-life")
    assert "uuid" not in page.response.get_data(as_text=True)

    alice.post(f"{PATH}/sign-of-life/remove")
    assert dead_man.read().url_shown == ""


def test_only_administrators_reach_any_of_it(bob, charlie, stranger, channel):
    found = channel()
    for browser, status in ((bob, 403), (charlie, 403), (stranger, 303)):
        for path in (PATH, f"{PATH}/new", f"{PATH}/{found.id}", f"{PATH}/{found.id}/edit"):
            assert browser.get(path).status == status
    assert bob.post(f"{PATH}/{found.id}/remove").status == 403
    assert Channel.select().count() == 1
