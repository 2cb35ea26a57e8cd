"""What can be done about a fleet update, by whom, and how it is asked."""

from typing import Any

import pytest

from rm.events import EventBus
from rm.store.models import FleetUpdate, FleetUpdateHost, Host
from tests import cast, update_rows
from tests.cast import EnrolledHost
from tests.update_rows import NEW
from tests.web.conftest import Browser
from tests.web.fleet_updates.moving import PATH, fail_first, state_of


def settle(host_id: str, state: str, **fields: Any) -> None:
    made = update_rows.attempt(host_id, "succeeded", cast.NOW, phase="committed", is_proven=True, **fields)
    FleetUpdateHost.update(state=state, attempt_id=made.job_id).where(FleetUpdateHost.host == host_id).execute()
    update_rows.run(host_id, NEW, cast.NOW)


def test_pause_and_resume(alice: Browser, started: FleetUpdate) -> None:
    path = f"{PATH}/{started.id}"
    page = alice.get(path)
    pause = next(form for form in page.soup.select("#fleet-update-head form"))

    assert alice.post(str(pause["action"])).response.headers["Location"] == path
    paused = alice.get(path)
    assert paused.text("h1").startswith("Paused: 0 of 2 hosts")
    assert "it waits for you" in paused.text("#fleet-update-state")
    assert "waits because the fleet update is paused" in paused.text("#fleet-update-hosts")
    assert alice.post(f"{path}/resume").status == 303
    assert state_of(started) == "running"


@pytest.mark.parametrize(("mode", "hard"), [("soft", False), ("hard", True)])
def test_cancelling_asks_how_and_keeps_the_reason(
    alice: Browser, started: FleetUpdate, mode: str, hard: bool
) -> None:  # fmt: skip
    path = f"{PATH}/{started.id}"
    question = alice.get(f"{path}/cancel?mode={mode}")

    assert question.find(f"input[name=mode][value={mode}]").has_attr("checked")
    # nobody is updated yet, so that nobody stays as it is
    assert "0 hosts" not in question.text("main")
    answer = alice.post(f"{path}/cancel", {"mode": mode, "reason": "wrong release"})

    assert answer.status == 303
    assert state_of(started) == "cancelling"
    assert "wrong release" in FleetUpdate.get_by_id(started.id).reason
    assert FleetUpdate.get_by_id(started.id).options["is_hard_cancel"] is hard
    assert ("Stop at once" in alice.get(path).text("#fleet-update-head")) is not hard


def test_a_halt_says_why_and_offers_the_decisions(
    alice: Browser, bus: EventBus, started: FleetUpdate, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    fail_first(bus, started)

    page = alice.get(f"{PATH}/{started.id}")

    assert page.text("h1") == "Halted. db1 did not come to run 1.5.0."
    why = page.text("#fleet-update-why")
    assert "db1 tried 1.5.0 and returned to 1.4.0." in why
    assert "boots" in why and "A fault of the release." in why
    assert "candidate: imports fine" in why
    assert page.text("#why-fix").startswith("sudo journalctl")
    decisions = [str(one["id"]).removeprefix("decide-") for one in page.soup.select("#fleet-update-decide article")]
    assert decisions == ["retry", "skip", "cancel"]
    for link in page.soup.select("#fleet-update-decide a.button"):
        assert page.find(f"#{link['data-dialog']} form")["action"] == str(link["href"])


def test_retrying_what_failed_goes_on(alice: Browser, bus: EventBus, started: FleetUpdate) -> None:
    host_id = fail_first(bus, started)

    assert alice.post(f"{PATH}/{started.id}/retry-failed", {"reason": "RAM replaced"}).status == 303

    assert state_of(started) == "running"
    assert FleetUpdateHost.get(FleetUpdateHost.host == host_id).state == "waiting"


def test_skipping_wants_a_reason_and_goes_on(alice: Browser, bus: EventBus, started: FleetUpdate) -> None:
    host_id = fail_first(bus, started)
    path = f"{PATH}/{started.id}"

    silent = alice.post(f"{path}/skip", {"reason": " "})
    assert (silent.status, silent.has("#confirm-reason-error")) == (422, True)
    assert alice.post(f"{path}/skip", {"reason": "to be reinstalled"}).status == 303

    assert state_of(started) == "running"
    assert "to be reinstalled" in alice.get(path).text(f"#update-host-{host_id}")


def test_one_waiting_host_can_be_skipped_from_its_row(
    alice: Browser, started: FleetUpdate, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    path, web1 = f"{PATH}/{started.id}", pair[0]
    link = alice.get(path).find(f"#update-host-{web1.id} a[href*=skip]")

    question = alice.get(str(link["href"]))
    assert question.text("h1") == "Continue without web1"
    hidden = {one["name"]: one["value"] for one in question.soup.select("form.dialog input[type=hidden]")}
    assert alice.post(f"{path}/skip", hidden | {"reason": "being moved"}).status == 303

    states = {row.host_id: row.state for row in FleetUpdateHost.select()}
    assert states == {web1.id: "skipped", pair[1].id: "waiting"}


def test_rolling_back_wants_its_number_typed_and_a_reason(
    alice: Browser, bus: EventBus, started: FleetUpdate, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    path = f"{PATH}/{started.id}"
    fail_first(bus, started)
    settle(pair[0].id, "succeeded")
    assert "decide-rollback" in str(alice.get(path).find("#fleet-update-decide"))

    wrong = alice.post(f"{path}/rollback", {"typed_name": "roll back 7", "reason": "slow"})
    silent = alice.post(f"{path}/rollback", {"typed_name": "roll back 1", "reason": ""})
    assert (wrong.status, wrong.has("#confirm-name-error")) == (422, True)
    assert (silent.status, silent.has("#confirm-reason-error")) == (422, True)
    assert state_of(started) == "halted"

    assert alice.post(f"{path}/rollback", {"typed_name": "roll back 1", "reason": "slow"}).status == 303
    assert "The updated hosts go back one at a time" in alice.get(path).text("#fleet-update-state")


def test_a_run_that_only_waits_for_offline_hosts_can_be_closed(
    alice: Browser, started: FleetUpdate, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    path = f"{PATH}/{started.id}"
    assert "Close now" not in alice.get(path).text("#fleet-update-head")
    Host.update(connected_at=None).execute()

    assert "Close now" in alice.get(path).text("#fleet-update-head")
    assert alice.post(f"{path}/close").status == 303

    page = alice.get(path)
    assert page.text("h1") == "0 of 2 hosts run agent 1.5.0. 2 hosts do not."
    assert "Plan another" in page.text("#fleet-update-head")
    assert not page.has("#fleet-update-state div")


ACTIONS = ("start", "pause", "resume", "cancel", "close", "retry-failed", "skip", "rollback")


QUESTIONS = ("resume", "cancel", "close", "retry-failed", "skip", "rollback")


@pytest.mark.parametrize("who", ["bob", "charlie"])
def test_the_fleet_is_for_admins_and_everybody_may_look(
    request: pytest.FixtureRequest, bus: EventBus, started: FleetUpdate, who: str
) -> None:
    browser: Browser = request.getfixturevalue(who)
    fail_first(bus, started)
    path = f"{PATH}/{started.id}"

    page = browser.get(path)

    assert page.status == 200
    assert not page.soup.select("main form[method=post], main dialog")
    assert not page.soup.select("#fleet-update-decide .button, #fleet-update-hosts a[href*=skip]")
    assert "an administrator can" in page.text("#fleet-update-decide")
    assert browser.post(PATH).status == 403
    assert {browser.post(f"{path}/{action}", {"reason": "x"}).status for action in ACTIONS} == {403}
    assert {browser.get(f"{path}/{question}").status for question in QUESTIONS} == {403}
    assert state_of(started) == "halted"


def test_strangers_are_sent_to_sign_in(stranger: Browser, started: FleetUpdate) -> None:
    for path in (PATH, f"{PATH}/{started.id}", f"{PATH}/{started.id}/events", "/settings"):
        assert stranger.get(path).response.headers["Location"].startswith("/login")
    assert stranger.get(f"/live/fleet-updates/{started.id}").status == 401


def test_what_is_not_there_is_not_found(alice: Browser, started: FleetUpdate) -> None:
    for path in (f"{PATH}/nope", f"{PATH}/nope/events", f"{PATH}/{started.id}/nonsense", "/live/fleet-updates/nope"):
        assert alice.get(path).status == 404
    assert alice.post(f"{PATH}/nope/pause").status == 404


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_is_also_a_page(alice: Browser, started: FleetUpdate, question: str) -> None:
    page = alice.get(f"{PATH}/{started.id}/{question}")

    assert page.find("form.dialog")["action"] == f"{PATH}/{started.id}/{question}"
    assert page.find("form.dialog a.button")["href"] == f"{PATH}/{started.id}"


def test_an_action_in_the_wrong_state_says_so(alice: Browser, started: FleetUpdate) -> None:
    answer = alice.post(f"{PATH}/{started.id}/retry-failed")

    assert answer.status == 409
    assert "No host of this fleet update has failed." in answer.text()
