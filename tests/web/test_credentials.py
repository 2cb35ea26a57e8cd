"""Renewing a credential and enrolling a host again, on the host's own page."""

from rm.events import EventBus, HostChanged, HostEnrolled
from rm.services import enrolments, hosts, presence, tokens
from rm.services.enrolments import Applicant
from rm.shared.protocol import Hello
from rm.store.models import EnrolmentToken, Host, HostCredential
from rm.web.enrolment_view import EnrolmentView
from tests import cast
from tests.cast import EnrolledHost
from tests.web.conftest import Browser


def say_hello(bus: EventBus, host_id: str, credential: str) -> None:
    hello = Hello(protocol_version=1, agent_version="0.1.0", hostname="web1")
    presence.hello(
        bus, host_id=host_id, credential_hash=tokens.hashed(credential), hello=hello, address="", now=cast.NOW
    )


def test_renewing_shows_state_since_and_what_happens_next(alice: Browser, bus: EventBus, web1: EnrolledHost) -> None:
    say_hello(bus, web1.id, web1.credential)
    before = alice.get(f"/hosts/{web1.id}/settings")

    done = alice.post(f"/hosts/{web1.id}/renew-credential")

    assert before.text("#credential form button") == "Renew"
    assert done.response.headers["Location"] == f"/hosts/{web1.id}/settings"
    page = alice.get(f"/hosts/{web1.id}/settings")
    terms = [term.get_text() for term in page.soup.select("#credential dt")]
    assert terms == ["State", "Since", "Deadline", "What happens next"]
    assert not page.has("#credential form")


def test_a_host_that_never_connected_offers_no_renewal(alice: Browser, web1: EnrolledHost) -> None:
    assert not alice.get(f"/hosts/{web1.id}/settings").has("#credential form")
    assert alice.post(f"/hosts/{web1.id}/renew-credential").status == 409


def test_operators_may_neither_renew_nor_enrol_again(bob: Browser, web1: EnrolledHost) -> None:
    page = bob.get(f"/hosts/{web1.id}/settings")

    assert not page.has("#credential form, #credential a.button")
    assert bob.post(f"/hosts/{web1.id}/renew-credential").status == 403
    assert bob.post(f"/hosts/{web1.id}/re-enrol").status == 403
    assert EnrolmentToken.select().where(EnrolmentToken.host.is_null(False)).count() == 0


def test_enrolling_again_shows_the_line_once_waits_and_turns_green(
    alice: Browser, bus: EventBus, web1: EnrolledHost
) -> None:
    say_hello(bus, web1.id, web1.credential)
    hosts.revoke_credential(bus, host_id=web1.id, actor=cast.ALICE, now=cast.NOW)
    asked = alice.get(f"/hosts/{web1.id}/re-enrol")
    path = alice.post(f"/hosts/{web1.id}/re-enrol").response.headers["Location"]
    shown = alice.get(path)
    token = shown.find("#again-line").get_text().split("RM_TOKEN=")[1].split()[0]
    app = alice.client.application
    view = EnrolmentView(app, path.rsplit("/", 1)[1], base_url="http://localhost")
    view.everything(cast.NOW)

    applicant = Applicant("web1", "linux", "amd64", "0.1.0", 1, "new")
    admission = enrolments.enrol(bus, token=token, applicant=applicant, address="192.0.2.7", now=cast.NOW)
    enrolled = view.changed([HostEnrolled(web1.id, view._token_id)], cast.NOW)[0].html
    say_hello(bus, admission.host_id, admission.credential)
    connected = view.changed([HostChanged(web1.id)], cast.NOW)[0].html

    assert asked.has("form[method=post] button")
    assert shown.text("#waiting-title") == "Waiting for the host"
    assert token not in alice.get(path).response.text
    assert alice.get(path).find("form[action$='re-enrol'] button")
    assert "enrolled and about to connect" in enrolled
    assert "card--ok" in connected
    assert (Host.select().count(), Host.get().revoked_at) == (1, None)
    assert HostCredential.select().where(HostCredential.revoked_at.is_null()).count() == 1


def test_an_unknown_host_cannot_be_enrolled_again(alice: Browser) -> None:
    assert alice.get("/hosts/nobody/re-enrol").status == 404
    assert alice.post("/hosts/nobody/re-enrol").status == 404
