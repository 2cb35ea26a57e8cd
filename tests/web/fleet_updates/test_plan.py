"""Settings, Fleet update: planning, and starting what was planned."""

import pytest

from rm.store.models import FleetUpdate, Host, HostTag, Release
from tests.cast import EnrolledHost
from tests.web.conftest import Browser
from tests.web.fleet_updates.moving import PATH, add_many, row_texts, state_of


def test_without_a_release_the_page_says_what_is_missing_and_where(alice: Browser, charlie: Browser) -> None:
    page = alice.get(PATH)

    assert "No release is current" in page.text("main")
    assert page.find('main a.button[href="/settings/updates"]')
    assert "An administrator can do that." in charlie.get(PATH).text("main")


def test_without_hosts_the_plan_is_empty_and_cannot_be_taken(alice: Browser, release: Release) -> None:
    page = alice.get(PATH)

    assert "There is no host to update." in page.text("main")
    assert page.find("#keep-plan button").has_attr("disabled")


def test_the_dry_run_names_each_host_with_verdict_and_reason_and_starts_nothing(
    charlie: Browser, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    web1, db1 = pair
    Host.update(held_reason="new kernel first").where(Host.id == db1.id).execute()

    page = charlie.get(PATH)

    assert "1 of 2 hosts can move to agent 1.5.0. Nothing has started." in page.text("h1")
    assert "Will update" in page.text(f"#plan-{web1.id}")
    assert "Held" in page.text(f"#plan-{db1.id}")
    assert "new kernel first" in page.text(f"#plan-{db1.id}")
    assert "1 update · 1 left out · about 1 min 5 s" in page.text("#plan")
    assert FleetUpdate.select().count() == 0
    assert "An administrator can start it." in page.text("#keep-plan")
    assert not page.has("#keep-plan button")


def test_the_options_are_a_plain_form_whose_address_can_be_shared(
    alice: Browser, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    web1, db1 = pair
    HostTag.create(host=web1.id, tag="canary")

    narrowed = alice.get(f"{PATH}?tags=canary&soak_seconds=120&policy=budget&budget=5%25")
    waves = alice.get(f"{PATH}?canaries=1&waves=1")

    assert narrowed.find("#options")["method"] == "get"
    assert narrowed.has(f"#plan-{web1.id}") and not narrowed.has(f"#plan-{db1.id}")
    assert narrowed.find("#soak_seconds")["value"] == "120"
    assert narrowed.find("#options input[type=radio][value=budget]").has_attr("checked")
    kept = {one["name"]: one["value"] for one in narrowed.soup.select("#keep-plan input")}
    assert kept == {"tags": "canary", "soak_seconds": "120", "policy": "budget", "budget": "5%"}
    assert row_texts(waves, "#plan .table__group") == ["Canary: 1 host", "Wave 1: 1 host"]
    assert len(waves.soup.select("#plan .waves__wave")) == 2


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("waves=all", "waves"), ("max_in_flight=0", "max_in_flight"), ("soak_seconds=x", "soak_seconds"),
        ("policy=budget&budget=most", "budget"), ("canaries=-1", "canaries"), ("tags=nobody-has-it", "tags"),
    ],
)  # fmt: skip
def test_an_option_that_does_not_fit_is_marked_in_the_form(
    alice: Browser, pair: tuple[EnrolledHost, EnrolledHost], query: str, field: str
) -> None:
    page = alice.get(f"{PATH}?{query}")

    assert page.status == 200
    assert page.has(f"#{field}-error")
    data = dict(one.split("=") for one in query.split("&"))
    refused = alice.post(PATH, data)
    assert (refused.status, refused.has(f"#{field}-error")) == (422, True)
    assert FleetUpdate.select().count() == 0


def test_a_long_rollout_comes_with_a_suggestion_that_can_be_taken(alice: Browser, release: Release) -> None:
    add_many(80)

    page = alice.get(PATH)
    suggested = alice.get(str(page.find("#plan .split a")["href"]))

    assert "about" in page.text("#plan .split") and "instead of" in page.text("#plan .split")
    assert suggested.find("#waves")["value"] == "10%, 50%"
    assert suggested.find("#canaries option[selected]")["value"] == "per_platform"


def test_a_plan_is_taken_looked_at_and_started(alice: Browser, pair: tuple[EnrolledHost, EnrolledHost]) -> None:
    taken = alice.post(PATH, {"max_in_flight": "2"})
    path = taken.response.headers["Location"]
    planned = alice.get(path)

    assert state_of(FleetUpdate.get()) == "planned"
    assert "2 at a time" in planned.text("#start")
    assert planned.text("#start button") == "Start with db1"
    done = alice.post(str(planned.find("#start form")["action"]), {"accepts": ""})
    assert done.response.headers["Location"] == path
    assert state_of(FleetUpdate.get()) == "running"
    assert "0 of 2 hosts run agent 1.5.0." in alice.get(path).text("h1")


def test_what_changed_between_plan_and_start_is_shown_before_it_starts(
    alice: Browser, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    path = alice.post(PATH).response.headers["Location"]
    before = alice.get(path)
    Host.update(held_reason="new kernel first").where(Host.id == pair[0].id).execute()

    refused = alice.post(f"{path}/start", {"accepts": before.find("input[name=accepts]")["value"]})

    assert refused.status == 409
    assert "web1: to be updated then, held now." in refused.text("#changes")
    assert state_of(FleetUpdate.get()) == "planned"
    assert refused.text("#start button") == "Start with these changes"
    accepted = {"accepts": str(refused.find("input[name=accepts]")["value"])}
    assert alice.post(f"{path}/start", accepted).status == 303
    assert state_of(FleetUpdate.get()) == "running"


def test_only_the_changes_that_were_shown_are_accepted(
    alice: Browser, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:  # fmt: skip
    path = alice.post(PATH).response.headers["Location"]
    Host.update(held_reason="one").where(Host.id == pair[0].id).execute()
    seen = {"accepts": str(alice.get(path).find("input[name=accepts]")["value"])}
    Host.update(is_pinned=True).where(Host.id == pair[1].id).execute()

    assert alice.post(f"{path}/start", seen).status == 409
    assert state_of(FleetUpdate.get()) == "planned"


def test_while_one_goes_another_can_be_planned_and_not_started(alice: Browser, started: FleetUpdate) -> None:
    page = alice.get(PATH)
    path = alice.post(PATH).response.headers["Location"]

    assert "One goes at a time" in page.text("main")
    assert page.find(f'main a[href="{PATH}/{started.id}"]')
    assert not alice.get(path).has("#start form")
    assert alice.post(f"{path}/start").status == 409
