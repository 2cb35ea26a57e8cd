"""The repository form and the test button."""

from datetime import timedelta

import pytest

from rm.events import EventBus
from rm.runtime import Runtime
from rm.services import repositories as service
from rm.shared.ids import new_ulid
from rm.shared.protocol import BrowseResult, CommandBrowse
from rm.store import repositories
from rm.store.models import Host, Job, Repository, Snapshot
from rm.store.vault import Vault
from tests import cast
from tests.cast import EnrolledHost
from tests.web.conftest import Browser
from tests.web.statements import statements

FORM = {
    "name": "attic", "location": "rest:https://backup.example.net/web1", "password": "sesame-one",
    "username": "web1", "secret": "sesame-two",
}  # fmt: skip


class AnsweringAgents:
    """Agents that are connected and answer each question alike."""

    def __init__(self, *, ok: bool, message: str = "", restic_id: str | None = None) -> None:
        self._ok = ok
        self._message = message
        self._data = {"restic_repository_id": restic_id} if restic_id else {}

    def is_connected(self, host_id: str) -> bool:
        return True

    def ask(self, host_id: str, question: CommandBrowse, *, timeout_seconds: float) -> BrowseResult:
        reason = "" if self._ok else "wrong_password"
        return BrowseResult(
            request_id=question.request_id, ok=self._ok, reason=reason, message=self._message, data=self._data
        )


def test_a_repository_is_saved_and_no_secret_comes_back(alice: Browser, web1: EnrolledHost) -> None:
    answer = alice.post(f"/hosts/{web1.id}/repository", FORM)

    assert answer.response.headers["Location"] == f"/hosts/{web1.id}"
    for path in (f"/hosts/{web1.id}", f"/hosts/{web1.id}/repository", "/audit"):
        text = alice.get(path).response.text
        assert "sesame" not in text
    settings = alice.get(f"/repositories/{Repository.get().id}/edit")
    assert "sesame" not in settings.response.text
    assert settings.find("#username")["value"] == "web1"


def test_blank_secrets_keep_the_stored_ones(alice: Browser, web1: EnrolledHost) -> None:
    alice.post(f"/hosts/{web1.id}/repository", FORM)
    before = Repository.get().password_sealed

    alice.post(f"/repositories/{Repository.get().id}/edit", FORM | {"password": "", "secret": "", "name": "cellar"})

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
    assert alice.get(f"/repositories/{shared}").text("#repository-hosts").startswith("Hosts that use it 2")


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


@pytest.fixture
def shared(bus: EventBus, vault: Vault, web1: EnrolledHost) -> str:
    """The id of web1's repository."""
    cast.give_repository(bus, vault, web1)
    return str(cast.host_row(web1).repository_id)


def stored(repository_id: str) -> dict[str, str]:
    """The form as the page shows it, ready to be sent back."""
    found = Repository.get_by_id(repository_id)
    return {"name": found.name, "location": found.location, "username": "web1", "is_same": "yes"}


def test_the_list_shows_where_who_and_what_is_open(
    charlie: Browser, bob: Browser, web1: EnrolledHost, shared: str
) -> None:
    Repository.update(total_bytes=2048, snapshot_count=7, is_append_only=True).execute()
    bob.post(f"/repositories/{shared}/jobs", {"kind": "check", "host_id": web1.id})

    row = charlie.get("/repositories").text(f"#repository-{shared}")

    for words in ("store of web1", "rest:http://127.0.0.1:8000/repo", "append-only", "2.0 KiB", "7", "Check", "Queued"):
        assert words in row


def add_repositories(count: int) -> None:
    for n in range(count):
        Repository.insert(
            id=new_ulid(), name=f"store {n:03}", location=f"/srv/{n}", password_sealed=b"x", created_at=cast.NOW,
            changed_at=cast.NOW,
        ).execute()  # fmt: skip


def test_the_list_is_read_a_page_at_a_time_by_a_fixed_number_of_queries(charlie: Browser, shared: str) -> None:
    with statements() as few:
        charlie.get("/repositories")
    add_repositories(119)

    with statements() as many:
        first = charlie.get("/repositories")
    last = charlie.get("/repositories?page=3")

    assert len(many) == len(few)
    assert "1 to 50 of 120 repositories, by name" in first.text("#pager")
    assert first.find("#pager a[rel=next]")["href"] == "/repositories?page=2"
    assert len(last.soup.select("#repositories tbody tr")) == 20 and not last.has("#pager a[rel=next]")


def test_behind_the_last_page_of_the_list_is_the_last_page(charlie: Browser, shared: str) -> None:
    assert "store of web1" in charlie.get("/repositories?page=7").text("#repositories")


def test_the_list_is_in_the_navigation_and_teaches_when_it_is_empty(charlie: Browser) -> None:
    page = charlie.get("/repositories")

    assert page.find('.nav__link[href="/repositories"]')["aria-current"] == "page"
    assert "No repositories yet" in page.text("#repositories")


def test_another_location_wants_the_name_typed(alice: Browser, shared: str) -> None:
    form = stored(shared) | {"location": "/srv/moved"}

    refused = alice.post(f"/repositories/{shared}/edit", form)
    taken = alice.post(f"/repositories/{shared}/edit", form | {"typed_name": "store of web1"})

    assert (refused.status, refused.has("#typed_name-error")) == (422, True)
    assert taken.status == 303
    assert Repository.get_by_id(shared).location == "/srv/moved"


def test_a_rename_needs_no_typing_and_tells_the_hosts(alice: Browser, web1: EnrolledHost, shared: str) -> None:
    before = cast.host_row(web1).config_version

    alice.post(f"/repositories/{shared}/edit", stored(shared) | {"name": "cellar"})

    assert Repository.get_by_id(shared).name == "cellar"
    assert cast.host_row(web1).config_version == before + 1


@pytest.mark.parametrize(("is_same", "known"), [("yes", "a" * 64), ("no", None)])
def test_a_moved_repository_keeps_its_id_and_another_one_is_learned_anew(
    alice: Browser, shared: str, is_same: str, known: str | None
) -> None:
    Repository.update(restic_repository_id="a" * 64).execute()
    Snapshot.create(repository=shared, id="s1", time=cast.NOW, hostname="web1", listing_id="l")

    form = stored(shared) | {"location": "/srv/moved", "typed_name": "store of web1", "is_same": is_same}
    alice.post(f"/repositories/{shared}/edit", form)

    assert Repository.get_by_id(shared).restic_repository_id == known
    assert Snapshot.select().count() == (1 if known else 0)


def test_the_maintenance_credential_reaches_the_host_and_never_a_page(
    alice: Browser, vault: Vault, web1: EnrolledHost, shared: str
) -> None:
    form = {
        "username": "keeper", "secret": "sesame-three", "location": "rest:http://127.0.0.1:8001/repo",
        "is_append_only": "yes",
    }  # fmt: skip
    alice.post(f"/repositories/{shared}/maintenance", form)
    alice.post(f"/repositories/{shared}/maintenance", form | {"secret": ""})

    config = service.config_for_host(vault, host_id=web1.id).repositories[0]
    kept = (config.maintenance_username, config.maintenance_secret, config.maintenance_location)
    assert kept == ("keeper", "sesame-three", "rest:http://127.0.0.1:8001/repo")
    assert Repository.get_by_id(shared).is_append_only
    for path in (f"/repositories/{shared}", f"/repositories/{shared}/maintenance", "/audit"):
        assert "sesame" not in alice.get(path).response.text


def test_a_maintenance_credential_is_forgotten_when_its_user_is_blank(
    alice: Browser, vault: Vault, web1: EnrolledHost, shared: str
) -> None:
    alice.post(f"/repositories/{shared}/maintenance", {"username": "keeper", "secret": "sesame"})

    alice.post(f"/repositories/{shared}/maintenance", {})

    assert repositories.credential(shared, repositories.MAINTENANCE) is None
    assert service.config_for_host(vault, host_id=web1.id).repositories[0].maintenance_secret == ""


@pytest.mark.parametrize(
    ("field", "form"),
    [
        ("username", {"secret": "s"}),
        ("location", {"username": "u", "location": "nowhere"}),
        ("secret", {"username": "u", "secret": "two\nlines"}),
    ],
)
def test_a_maintenance_credential_that_cannot_work_is_refused_beside_its_field(
    alice: Browser, shared: str, field: str, form: dict[str, str]
) -> None:
    answer = alice.post(f"/repositories/{shared}/maintenance", form)

    assert (answer.status, answer.has(f"#{field}-error")) == (422, True)


def test_a_repository_that_exists_is_adopted_by_its_first_test(
    alice: Browser, bob: Browser, parts: Runtime, web1: EnrolledHost
) -> None:
    alice.post("/repositories/new", FORM)
    made = Repository.get().id
    alice.post(f"/repositories/{made}/hosts", {"host_id": web1.id})
    parts.agents = AnsweringAgents(ok=True, restic_id="ab" * 32)  # type: ignore[assignment]

    bob.post(f"/repositories/{made}/hosts/{web1.id}/test")

    page = bob.get(f"/repositories/{made}")
    assert "abababab" in page.text("#repository-facts")
    assert page.text("#repository-verdict").startswith("In use by 1 host.")


def test_another_repository_at_the_place_is_refused_until_it_is_accepted_by_name(
    alice: Browser, bob: Browser, parts: Runtime, web1: EnrolledHost, shared: str
) -> None:
    Repository.update(restic_repository_id="a" * 64).execute()
    parts.agents = AnsweringAgents(ok=True, restic_id="b" * 64)  # type: ignore[assignment]
    bob.post(f"/repositories/{shared}/hosts/{web1.id}/test")

    assert "Another repository is at this place." in bob.get(f"/repositories/{shared}").text("#repository-verdict")
    assert bob.post(f"/repositories/{shared}/jobs", {"kind": "prune", "host_id": web1.id}).status == 409
    wrong = alice.post(f"/repositories/{shared}/accept", {"typed_name": "store"})
    assert (wrong.status, Repository.get_by_id(shared).restic_repository_id) == (422, "a" * 64)
    assert bob.post(f"/repositories/{shared}/accept", {"typed_name": "store of web1"}).status == 403

    alice.post(f"/repositories/{shared}/accept", {"typed_name": "store of web1"})

    found = Repository.get_by_id(shared)
    assert (found.restic_repository_id, found.restic_id_seen) == ("b" * 64, None)
    assert bob.post(f"/repositories/{shared}/jobs", {"kind": "prune", "host_id": web1.id}).status == 303


def test_a_host_is_taken_off_when_it_has_nothing_to_do_there(
    alice: Browser, bob: Browser, web1: EnrolledHost, shared: str
) -> None:
    bob.post(f"/repositories/{shared}/jobs", {"kind": "check", "host_id": web1.id})
    busy = alice.post(f"/repositories/{shared}/hosts/{web1.id}/unassign")
    bob.post(f"/jobs/{Job.get().id}/cancel")

    taken = alice.post(f"/repositories/{shared}/hosts/{web1.id}/unassign")

    assert (busy.status, taken.status) == (409, 303)
    assert cast.host_row(web1).repository_id is None
    assert alice.get(f"/repositories/{shared}").has("#host_id option")


def test_a_host_of_another_repository_is_neither_assigned_nor_put_to_work_nor_tested_here(
    alice: Browser, bus: EventBus, vault: Vault, db1: EnrolledHost, shared: str
) -> None:
    cast.give_repository(bus, vault, db1)
    paths = (
        (f"/repositories/{shared}/hosts", {"host_id": db1.id}),
        (f"/repositories/{shared}/jobs", {"kind": "check", "host_id": db1.id}),
        (f"/repositories/{shared}/hosts/{db1.id}/test", {}),
    )

    assert [alice.post(path, form).status for path, form in paths] == [409, 409, 409]
    assert alice.post(f"/repositories/{shared}/hosts/{db1.id}/unassign").status == 404
    assert Job.select().count() == 0


def test_a_part_that_makes_no_sense_is_said_beside_its_field(bob: Browser, web1: EnrolledHost, shared: str) -> None:
    answer = bob.post(f"/repositories/{shared}/jobs", {"kind": "check", "host_id": web1.id, "subset": "9/1"})

    assert (answer.status, answer.find("#subset")["value"]) == (422, "9/1")
    assert answer.has("#subset-error")


def test_a_viewer_sees_the_page_without_a_single_action(charlie: Browser, shared: str) -> None:
    page = charlie.get(f"/repositories/{shared}")

    assert page.status == 200
    assert not page.has("main form")
    assert [link["href"] for link in page.soup.select("main .button")] == [f"/repositories/{shared}/snapshots"]


def test_a_job_that_is_held_back_says_for_what_since_when_and_until_when(
    bob: Browser, alice: Browser, bus: EventBus, web1: EnrolledHost, db1: EnrolledHost, shared: str
) -> None:
    alice.post(f"/repositories/{shared}/hosts", {"host_id": db1.id})
    Host.update(connected_at=cast.NOW, last_seen_at=cast.NOW).execute()
    bob.post(f"/repositories/{shared}/jobs", {"kind": "check", "host_id": web1.id})
    check = Job.get()
    Job.update(state="running", dispatched_at=cast.NOW, last_sign_at=cast.NOW, started_at=cast.NOW).execute()
    bob.post(f"/repositories/{shared}/jobs", {"kind": "prune", "host_id": db1.id})
    prune = Job.get(Job.kind == "prune")

    page = bob.get(f"/jobs/{prune.id}")

    assert "Starts after the check on web1." in page.text("#job-state")
    assert page.find(f'#job-state a[href="/jobs/{check.id}"]')
    assert (cast.NOW + timedelta(hours=24)).strftime("%Y-%m-%dT%H:%M") in str(page.find("#job-state"))


def test_a_job_of_a_host_that_is_away_says_that_it_waits_for_it_and_until_when(
    bob: Browser, web1: EnrolledHost, shared: str
) -> None:
    bob.post(f"/repositories/{shared}/jobs", {"kind": "unlock", "host_id": web1.id})

    state = bob.get(f"/jobs/{Job.get().id}")

    assert "Starts as soon as web1 connects." in state.text("#job-state")
    assert "2026-11-24T12:00" in str(state.find("#job-state"))
    assert bob.post(f"/jobs/{Job.get().id}/cancel").status == 303
    assert Job.get().outcome == "cancelled"
