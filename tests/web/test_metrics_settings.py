"""Settings → Metrics."""

import dataclasses
import ipaddress
import json

from rm.domain.figures import FIGURES
from rm.services import metrics_access
from rm.store import kept_settings
from rm.store.models import AuditEntry
from tests.cast import ALICE, NOW

PATH = "/settings/metrics"


def make(browser):
    """Make a token as a person does; the token that the page shows."""
    answer = browser.post(f"{PATH}/token")
    assert (answer.status, answer.response.headers["Location"]) == (303, PATH)
    return browser.get(PATH).text("#metrics-token")


def test_while_nobody_may_read_the_page_says_so_and_what_to_do(alice):
    page = alice.get(PATH)

    assert "Off" in page.text("#access") and "404" in page.text("#access")
    assert page.find("#access button").get_text() == "Make token"
    assert "authorization" not in page.text("#scrape-config")


def test_a_made_token_is_shown_once_and_works_without_a_restart(alice, client):
    token = make(alice)

    assert client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    again = alice.get(PATH)
    assert token not in again.response.text
    assert not again.has("#metrics-token")
    assert "by alice" in again.text("#access") and "On" in again.text("#access")
    assert "credentials_file: /etc/prometheus/restic-manager.token" in again.text("#scrape-config")


def test_only_the_hash_is_kept_and_no_log_or_entry_has_the_token(alice, caplog):
    token = make(alice)

    assert token not in json.dumps(kept_settings.get(metrics_access.NAME, {}))
    assert token not in caplog.text
    entries = list(AuditEntry.select().where(AuditEntry.action == "settings.changed"))
    assert [(entry.target_name, entry.payload) for entry in entries] == [
        ("metrics", {"before": {"token": "none"}, "after": {"token": "set"}})
    ]
    assert token not in alice.get("/audit").response.text


def test_the_cookie_that_carries_it_is_for_this_page_only(alice):
    answer = alice.post(f"{PATH}/token").response

    [cookie] = [one for one in answer.headers.getlist("Set-Cookie") if one.startswith("rm_new_metrics_token=rmm_")]
    assert f"Path={PATH}" in cookie and "HttpOnly" in cookie and "SameSite=Lax" in cookie


def test_replacing_ends_the_token_before(alice, client):
    first, second = make(alice), make(alice)

    statuses = [
        client.get("/metrics", headers={"Authorization": f"Bearer {one}"}).status_code for one in (first, second)
    ]
    assert statuses == [401, 200]


def test_ending_the_token_is_asked_about_audited_and_bites_at_once(alice, client):
    token = make(alice)
    assert "refused from the next scrape" in alice.get(f"{PATH}/token/end").text("main")

    alice.post(f"{PATH}/token/end")

    assert client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 404
    assert AuditEntry.select().order_by(AuditEntry.id.desc()).first().payload["after"] == {"token": "none"}
    assert alice.post(f"{PATH}/token/end").status == 303
    assert AuditEntry.select().where(AuditEntry.action == "settings.changed").count() == 2


def test_only_administrators_see_and_change_it(alice, bob, charlie):
    for browser in (bob, charlie):
        statuses = [browser.get(PATH).status, browser.post(f"{PATH}/token").status]
        assert [*statuses, browser.post(f"{PATH}/token/end").status] == [403, 403, 403]
    assert kept_settings.get(metrics_access.NAME, None) is None


def test_what_the_environment_sets_is_shown_without_the_secret(alice, parts):
    parts.settings = dataclasses.replace(
        parts.settings,
        metrics_token="from-the-environment",
        metrics_trusted_cidr=(ipaddress.ip_network("10.9.0.0/16"),),
    )

    page = alice.get(PATH)

    assert "10.9.0.0/16" in page.text("#access") and "Both are asked for" in page.text("#access")
    assert "from-the-environment" not in page.response.text


def test_the_last_scrape_and_the_last_refusal_are_told(alice, client):
    token = metrics_access.make_token(actor=ALICE, now=NOW)
    before = alice.get(PATH).text("#scrapes")
    client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    client.get("/metrics", headers={"Authorization": "Bearer wrong"}, environ_base={"REMOTE_ADDR": "192.0.2.77"})

    after = alice.get(PATH).text("#scrapes")

    assert before.count("none since the server started") == 2
    assert "127.0.0.1" in after and "192.0.2.77" in after and "A bearer token is needed." in after


def test_every_figure_is_explained(alice):
    page = alice.get(PATH)

    assert [name for name, one in FIGURES.items() if one.help not in page.text(f"#figure-{name}")] == []


def test_the_configuration_names_this_server(alice, parts):
    parts.settings = dataclasses.replace(parts.settings, base_url="https://backup.example.net:8443")

    assert 'targets: ["backup.example.net:8443"]' in alice.get(PATH).text("#scrape-config")
