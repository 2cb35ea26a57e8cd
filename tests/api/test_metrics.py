"""/metrics: who may read it, and what it says."""

import dataclasses
import ipaddress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rm.services import updates
from tests.cast import BOB, NOW
from tests.updating import MINUTE, SECOND, at_target, ends, give_release, reports, says_hello, takes_orders


@pytest.fixture
def open_to(parts):
    """open_to(token=…, cidr=…) sets who may read the metrics."""

    def open_to(token="", cidr=()):
        networks = tuple(ipaddress.ip_network(one) for one in cidr)
        parts.settings = dataclasses.replace(parts.settings, metrics_token=token, metrics_trusted_cidr=networks)

    return open_to


def read(client, token=None):
    return client.get("/metrics", headers={"Authorization": f"Bearer {token}"} if token else {})


def figures(client):
    """{(name, *label values in the order of their names): value}"""
    text = read(client, "s3cret").text
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_there_are_no_metrics_until_somebody_may_read_them(client, alice):
    assert (read(client).status_code, read(alice).status_code) == (404, 404)


@pytest.mark.parametrize(
    ("token", "cidr", "given", "status"),
    [
        ("s3cret", (), "s3cret", 200),
        ("s3cret", (), "s3cre", 401),
        ("s3cret", (), "ünïcode", 401),
        ("s3cret", (), None, 401),
        ("", ("127.0.0.0/8",), None, 200),
        ("", ("192.0.2.0/24",), None, 403),
        ("s3cret", ("127.0.0.0/8",), "s3cret", 200),
        ("s3cret", ("127.0.0.0/8",), None, 401),
        ("s3cret", ("192.0.2.0/24",), "s3cret", 403),
    ],
)
def test_token_and_network_are_asked_for_as_they_are_set(client, open_to, token, cidr, given, status):
    open_to(token, cidr)

    headers = {"Authorization": f"Bearer {given}".encode().decode("latin-1")} if given else {}

    assert client.get("/metrics", headers=headers).status_code == status


def test_figures_of_updates_are_read_from_the_database(client, open_to, bus, web1, db1):
    open_to("s3cret")
    release = give_release()
    for host, outcome in ((web1, "committed"), (db1, "")):
        says_hello(bus, host)
        attempt = updates.order(bus, host_id=host.id, actor=BOB, now=NOW)
        takes_orders(bus, host)
        reports(bus, host, attempt, "downloading", now=NOW + SECOND)
        reports(bus, host, attempt, "swapping", now=NOW + 5 * SECOND)
        if outcome:
            says_hello(bus, host, now=NOW + 9 * SECOND, **at_target(release))
            ends(bus, host, attempt, outcome, now=NOW + MINUTE)
    updates.sweep(bus, now=NOW + 2 * MINUTE)

    before = figures(client)
    says_hello(bus, db1, now=NOW + 3 * MINUTE, **at_target(release))
    after = figures(client)

    name = "restic_manager_update_attempts_total"
    assert before[name, "update", "committed", "succeeded"] == 1
    assert before[name, "update", "no_hello", "failed"] == 1
    assert before["restic_manager_update_provisional_verdicts_total",] == 1
    assert before["restic_manager_update_corrections_total",] == 0
    assert before["restic_manager_agents", "1", "0.1.0"] == 1
    assert before["restic_manager_update_phase_seconds", "downloading", "0.5"] == 4
    assert (name, "update", "no_hello", "failed") not in after
    assert after[name, "update", "late_hello", "succeeded"] == 1
    assert after["restic_manager_update_corrections_total",] == 1
    assert after["restic_manager_agents", "2", "0.2.0"] == 2


def test_every_figure_carries_the_products_prefix(client, open_to, web1):
    open_to("s3cret")

    assert {name[0].startswith("restic_manager_") for name in figures(client)} == {True}


def test_a_host_that_makes_up_reasons_does_not_make_up_series(client, open_to, bus, web1):
    open_to("s3cret")
    give_release()
    says_hello(bus, web1)
    for n in range(120):
        attempt = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)
        takes_orders(bus, web1)
        ends(bus, web1, attempt, "failed", phase="downloading", reason=f"reason {n}")

    found = [name for name in figures(client) if name[0] == "restic_manager_update_attempts_total"]

    assert len(found) == 101
    assert figures(client)["restic_manager_update_attempts_total", "update", "other", "failed"] == 20
