"""Announced hosts: the pages show what to compare, and only an administrator decides."""

import base64
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask

from rm.events import EventBus, HostChanged
from rm.services import enrolments, pending_hosts
from rm.services.enrolments import Applicant
from rm.store.models import AuditEntry, Host, PendingHost
from rm.web import live
from rm.web.pending_view import PendingView
from tests import cast
from tests.cast import EnrolledHost
from tests.conftest import Clock
from tests.web.conftest import Browser
from tests.web.test_live import Tab, part


def announce(bus: EventBus, hostname: str = "web9", machine_id: str = "m9") -> PendingHost:
    key = base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    applicant = Applicant(hostname, "linux", "amd64", "0.1.0", 1, machine_id)
    return pending_hosts.announce(bus, applicant=applicant, public_key=key, address="192.0.2.44", now=cast.NOW)


@pytest.fixture
def web9(bus: EventBus, app: Flask) -> PendingHost:
    return announce(bus)


def enter(bus: EventBus, pending: PendingHost) -> Host:
    """What a claim does to an approved row."""
    applicant = Applicant(pending.hostname, "linux", "amd64", "0.1.0", 1, pending.machine_id)
    host = enrolments.create_host(applicant=applicant, by="alice", address="192.0.2.44", now=cast.NOW)
    PendingHost.update(host=host.id, claimed_at=cast.NOW).where(PendingHost.id == pending.id).execute()
    bus.publish(HostChanged(host.id))
    return host


def test_needs_you_shows_each_announced_host_with_its_fingerprint_since_and_until(
    charlie: Browser, web9: PendingHost
) -> None:
    page = charlie.get("/")

    card = page.find(f"#needs #pending-{web9.id}")
    assert card.select_one(".fingerprint").get_text().replace(" ", "").split(":")[1] == web9.fingerprint.split(":")[1]
    assert "192.0.2.44" in card.get_text()
    assert len(card.select("time")) == 2
    assert card.select_one("a.button")["href"] == f"/pending-hosts/{web9.id}"
    assert not page.find("#needs").has_attr("hidden")


def test_a_host_that_announces_itself_appears_without_reloading(
    charlie: Browser, bus: EventBus, web1: EnrolledHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr("rm.web.fleet_view.SUMMARY_SECONDS", 0.0)
    tab = Tab(charlie, "/live/fleet")
    tab.next()

    pending = announce(bus)

    assert part(tab.next(), "#needs").select_one(f"#pending-{pending.id}")


def test_the_list_of_announced_hosts_moves_by_itself(
    charlie: Browser, bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "FLUSH_SECONDS", 0.01)
    address = charlie.get("/pending-hosts").soup.select_one("[hx-sse\\:connect]")["hx-sse:connect"]
    tab = Tab(charlie, address)
    assert "Nobody waits" in part(tab.next(), "#pending-hosts").text

    pending = announce(bus)

    assert part(tab.next(), "#pending-hosts").select_one(f"a[href='/pending-hosts/{pending.id}']")


def test_the_fingerprint_is_shown_in_the_rows_that_the_machine_prints(alice: Browser, web9: PendingHost) -> None:
    fingerprint = alice.get(f"/pending-hosts/{web9.id}").find("#decision .fingerprint")

    digits = web9.fingerprint.removeprefix("SHA256:")
    fingerprint.select_one(".visually-hidden").extract()
    rows = [row.split() for row in fingerprint.get_text("\n").splitlines()]
    assert ["".join(row) for row in rows] == [digits[at : at + 16] for at in range(0, 64, 16)]


def test_the_page_says_state_since_deadline_and_what_happens_next(alice: Browser, web9: PendingHost) -> None:
    page = alice.get(f"/pending-hosts/{web9.id}")

    assert [term.get_text() for term in page.soup.select("#decision dt")] == [
        "State", "Since", "Deadline", "What happens next",
    ]  # fmt: skip


def test_only_an_administrator_decides(bob: Browser, web9: PendingHost) -> None:
    page = bob.get(f"/pending-hosts/{web9.id}")

    assert not page.has("#decision form")
    for verb in ("approve", "reject"):
        assert bob.post(f"/pending-hosts/{web9.id}/{verb}").status == 403
    assert bob.post("/pending-hosts/announcing", {"announcing": "off"}).status == 403
    assert PendingHost.get_by_id(web9.id).state == "waiting"


def test_approving_waits_for_the_machine_and_turns_green(
    alice: Browser, bus: EventBus, web9: PendingHost, app: Flask
) -> None:
    done = alice.post(f"/pending-hosts/{web9.id}/approve")
    approved = alice.get(f"/pending-hosts/{web9.id}")
    host = enter(bus, web9)
    view = PendingView(app, web9.id, role="admin")
    enrolled = view.everything(cast.NOW)[0].html
    Host.update(first_hello_at=cast.NOW).execute()

    [green] = view.changed([HostChanged(host.id)], cast.NOW)

    assert done.response.headers["Location"] == f"/pending-hosts/{web9.id}"
    assert approved.text("#decision-title") == "Approved, about to come in"
    assert approved.text("#decision form button") == "Take the approval back"
    assert "about to connect" in enrolled
    assert "card--ok" in green.html
    assert f"/hosts/{host.id}" in green.html
    assert AuditEntry.get(AuditEntry.action == "pending_host.approved").payload["fingerprint"] == web9.fingerprint


def test_a_rejected_host_leaves_needs_you(alice: Browser, web9: PendingHost) -> None:
    alice.post(f"/pending-hosts/{web9.id}/reject")

    assert not alice.get("/").has(f"#pending-{web9.id}")
    page = alice.get(f"/pending-hosts/{web9.id}")
    assert page.text("#decision-title") == "Rejected"
    assert not page.has("#decision form")


def test_a_lapsed_host_leaves_needs_you_and_cannot_be_approved(alice: Browser, web9: PendingHost, clock: Clock) -> None:
    clock.now += timedelta(hours=1)

    assert not alice.get("/").has(f"#pending-{web9.id}")
    assert alice.get(f"/pending-hosts/{web9.id}").text("#decision-title") == "Lapsed"
    assert alice.post(f"/pending-hosts/{web9.id}/approve").status == 410


def test_a_namesake_is_flagged_whether_host_or_announced(alice: Browser, bus: EventBus, web1: EnrolledHost) -> None:
    first, second = announce(bus, "WEB1", "other"), announce(bus, "web1", "another")

    page = alice.get(f"/pending-hosts/{first.id}")

    assert page.has(f"#decision a[href='/hosts/{web1.id}']")
    assert page.has(f"#decision a[href='/pending-hosts/{second.id}']")
    assert "Another host has this name" in alice.get("/").text(f"#pending-{first.id}")


def test_a_machine_that_looks_like_a_host_is_flagged(alice: Browser, bus: EventBus, web1: EnrolledHost) -> None:
    Host.update(machine_id="twin").where(Host.id == web1.id).execute()

    pending = announce(bus, "copy", "twin")

    assert "Looks like the machine of web1" in alice.get(f"/pending-hosts/{pending.id}").text("#decision")


def test_a_hostname_is_text_and_never_markup(alice: Browser, bus: EventBus, app: Flask) -> None:
    pending = announce(bus, "<img src=x onerror=alert(1)>")

    for path in ("/", "/pending-hosts", f"/pending-hosts/{pending.id}"):
        page = alice.get(path)
        assert not page.has("img")
        assert "<img src=x" in page.text()


def test_the_list_keeps_what_became_of_them(alice: Browser, bus: EventBus, web9: PendingHost) -> None:
    pending_hosts.reject(bus, pending_id=announce(bus, "db9").id, actor=cast.ALICE, now=cast.NOW)

    page = alice.get("/pending-hosts")

    assert [row.get_text(" ", strip=True) for row in page.soup.select("tbody th .table__main")] == ["web9", "db9"]
    assert "Rejected" in page.text("tbody")


def test_announcing_is_switched_off_and_on_again(alice: Browser, app: Flask) -> None:
    alice.post("/pending-hosts/announcing", {"announcing": "off"})
    off = alice.get("/pending-hosts")
    alice.post("/pending-hosts/announcing", {"announcing": "on"})

    assert "Announcing is off" in off.text()
    assert not off.has("#announce-line")
    assert alice.get("/pending-hosts").has("#announce-line")
    assert [entry.target_name for entry in AuditEntry.select()] == ["off", "on"]


def test_an_empty_fleet_shows_who_wants_to_join(alice: Browser, web9: PendingHost) -> None:
    assert alice.get("/").has(f"#pending-{web9.id}")


def test_an_unknown_announced_host_is_a_404(alice: Browser) -> None:
    assert alice.get("/pending-hosts/nothing").status == 404
