"""The repository form and the test button."""

from rm.events import EventBus
from rm.runtime import Runtime
from rm.shared.protocol import BrowseResult, CommandBrowse
from rm.store import repositories
from rm.store.models import Repository
from rm.store.vault import Vault
from tests import cast
from tests.cast import EnrolledHost
from tests.web.conftest import Browser

FORM = {
    "name": "attic", "location": "rest:https://backup.example.net/web1", "password": "sesame-one",
    "username": "web1", "secret": "sesame-two",
}  # fmt: skip


class AnsweringAgents:
    """Agents that are connected and answer each question alike."""

    def __init__(self, *, ok: bool, message: str = "") -> None:
        self._ok = ok
        self._message = message

    def is_connected(self, host_id: str) -> bool:
        return True

    def ask(self, host_id: str, question: CommandBrowse, *, timeout_seconds: float) -> BrowseResult:
        reason = "" if self._ok else "wrong_password"
        return BrowseResult(request_id=question.request_id, ok=self._ok, reason=reason, message=self._message)


def test_a_repository_is_saved_and_no_secret_comes_back(alice: Browser, web1: EnrolledHost) -> None:
    answer = alice.post(f"/hosts/{web1.id}/repository", FORM)

    assert answer.response.headers["Location"] == f"/hosts/{web1.id}"
    for path in (f"/hosts/{web1.id}", f"/hosts/{web1.id}/repository", "/audit"):
        text = alice.get(path).response.text
        assert "sesame" not in text
    assert alice.get(f"/hosts/{web1.id}/repository").find("#username")["value"] == "web1"


def test_blank_secrets_keep_the_stored_ones(alice: Browser, web1: EnrolledHost) -> None:
    alice.post(f"/hosts/{web1.id}/repository", FORM)
    before = Repository.get().password_sealed

    alice.post(f"/hosts/{web1.id}/repository", FORM | {"password": "", "secret": "", "name": "cellar"})

    assert Repository.get().name == "cellar"
    assert bytes(Repository.get().password_sealed) == bytes(before)
    assert repositories.credential(Repository.get().id) is not None


def test_what_is_wrong_stands_beside_its_field_and_secrets_are_not_sent_back(
    alice: Browser, web1: EnrolledHost
) -> None:
    answer = alice.post(f"/hosts/{web1.id}/repository", FORM | {"location": "nowhere", "name": ""})

    assert answer.status == 422
    assert answer.has("#location-error")
    assert answer.has("#name-error")
    assert answer.find("#location")["value"] == "nowhere"
    assert "sesame" not in answer.response.text


def test_a_host_may_use_a_repository_that_is_here_already(
    alice: Browser, bus: EventBus, vault: Vault, web1: EnrolledHost, db1: EnrolledHost
) -> None:
    cast.give_repository(bus, vault, web1)
    shared = cast.host_row(web1).repository_id
    offered = alice.get(f"/hosts/{db1.id}/repository").find("#repository_id option")["value"]

    alice.post(f"/hosts/{db1.id}/repository", {"repository_id": str(offered)})

    assert cast.host_row(db1).repository_id == shared
    assert "Also used by web1" in alice.get(f"/hosts/{db1.id}/repository").text("main")


def test_a_good_test_is_shown_with_the_repository(
    bob: Browser, parts: Runtime, bus: EventBus, vault: Vault, web1: EnrolledHost
) -> None:
    cast.give_repository(bus, vault, web1)
    parts.agents = AnsweringAgents(ok=True)  # type: ignore[assignment]

    bob.post(f"/hosts/{web1.id}/repository/test")
    page = bob.get(f"/hosts/{web1.id}")

    assert page.has("#repository .flash--ok")
    assert page.text("#flash") == "The host opened the repository."


def test_a_failed_test_shows_the_hosts_own_words(
    bob: Browser, parts: Runtime, bus: EventBus, vault: Vault, web1: EnrolledHost
) -> None:
    cast.give_repository(bus, vault, web1)
    parts.agents = AnsweringAgents(ok=False, message="The password <is> wrong.")  # type: ignore[assignment]

    bob.post(f"/hosts/{web1.id}/repository/test")

    assert "The password <is> wrong." in bob.get(f"/hosts/{web1.id}").text("#repository .flash--failed")


def test_testing_on_a_silent_host_explains_itself_to_htmx_too(
    bob: Browser, bus: EventBus, vault: Vault, web1: EnrolledHost
) -> None:
    cast.give_repository(bus, vault, web1)

    plain = bob.post(f"/hosts/{web1.id}/repository/test")
    htmx = bob.post(f"/hosts/{web1.id}/repository/test", headers={"HX-Request": "true"})

    assert plain.status == 409
    assert "not connected" in plain.text("#error")
    assert htmx.response.headers["HX-Retarget"] == "#flash"
    assert "not connected" in htmx.text(".flash--failed")
    assert not htmx.has("html")
