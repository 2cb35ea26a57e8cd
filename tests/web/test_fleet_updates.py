"""Settings → Fleet update: plan, start, watch, decide, look back; who may, and what moves by itself."""

from typing import Any

import pytest
from bs4 import BeautifulSoup
from flask import Flask

from rm.events import EventBus, FleetUpdateChanged, UpdateChanged
from rm.services import fleet_updates as service
from rm.shared.ids import new_ulid
from rm.store.models import AuditEntry, FleetUpdate, FleetUpdateHost, Host, HostTag, Release, UpdateAttempt
from rm.web import fleet_update_reading, fleet_update_view, fleet_update_words
from rm.web.fleet_update_reading import Fleets, Query
from rm.web.fleet_update_view import FleetUpdateView
from tests import cast, update_rows
from tests.cast import EnrolledHost
from tests.update_rows import NEW, OLD
from tests.web.conftest import Browser, Page
from tests.web.test_live import Tab, part, targets

PATH = "/settings/fleet-update"


@pytest.fixture
def release(app: Flask) -> Release:
    return update_rows.add_release(cast.NOW)


@pytest.fixture
def pair(web1: EnrolledHost, db1: EnrolledHost, release: Release) -> tuple[EnrolledHost, EnrolledHost]:
    """web1 and db1, connected, one release behind."""
    for host in (web1, db1):
        update_rows.run(host.id, OLD, cast.NOW)
    return web1, db1


@pytest.fixture
def started(bus: EventBus, pair: tuple[EnrolledHost, EnrolledHost]) -> FleetUpdate:
    """A running fleet update of both, started by alice; db1 comes first, by name."""
    planned = service.plan(bus, options={}, actor=cast.ALICE, now=cast.NOW)
    return service.start(bus, fleet_update_id=planned.id, actor=cast.ALICE, now=cast.NOW)


def state_of(found: FleetUpdate) -> str:
    return str(FleetUpdate.get_by_id(found.id).state)


def fail_first(bus: EventBus, found: FleetUpdate) -> str:
    """db1 fails, and all halts; returns its id."""
    [row, *_] = FleetUpdateHost.select().order_by(FleetUpdateHost.position)
    made = update_rows.attempt(
        row.host_id, "rolled_back", cast.NOW, phase="trial", reason="boots", failure_class="release",
        message="db1 tried 1.5.0 and returned to 1.4.0.",
    )  # fmt: skip
    FleetUpdateHost.update(state="updating", attempt_id=made.job_id).where(
        FleetUpdateHost.host == row.host_id
    ).execute()
    service.step(bus, now=cast.NOW)
    assert state_of(found) == "halted"
    return str(row.host_id)


def settle(host_id: str, state: str, **fields: Any) -> None:
    made = update_rows.attempt(host_id, "succeeded", cast.NOW, phase="committed", is_proven=True, **fields)
    FleetUpdateHost.update(state=state, attempt_id=made.job_id).where(FleetUpdateHost.host == host_id).execute()
    update_rows.run(host_id, NEW, cast.NOW)


def row_texts(page: Page, selector: str) -> list[str]:
    return [" ".join(one.get_text(" ").split()) for one in page.soup.select(selector)]


# ---- the plan -------------------------------------------------------------------------------------------


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


# ---- the running page -----------------------------------------------------------------------------------


def test_every_unfinished_row_says_state_since_deadline_what_is_next_and_the_last_message(
    charlie: Browser, started: FleetUpdate, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    web1, db1 = pair
    made = update_rows.attempt(db1.id, "running", cast.NOW, phase="downloading", detail="1.2 of 2.9 MiB")
    FleetUpdateHost.update(state="updating", attempt_id=made.job_id).where(FleetUpdateHost.host == db1.id).execute()

    page = charlie.get(f"{PATH}/{started.id}")

    moving, waiting = page.text(f"#update-host-{db1.id}"), page.text(f"#update-host-{web1.id}")
    assert "Downloading" in moving and "Download, 3 of 9" in moving and "1.2 of 2.9 MiB" in moving
    assert "Then signature, sequence, size and hash are checked." in moving
    assert len(page.find(f"#update-host-{db1.id}").select("time")) == 2
    assert "Waiting" in waiting and "waits for a free slot: db1" in waiting
    assert "db1 is being updated." in page.text("h1")
    assert "db1: Downloading" in page.text("#fleet-update-state")
    assert page.text("#fleet-update-progress .stepper__step--now") == "Download"


def test_the_ticks_stand_for_the_hosts_wave_by_wave(charlie: Browser, release: Release) -> None:
    ids = add_many(6)
    states = ("succeeded", "soaking", "failed", "waiting", "passed_over", "skipped")
    made = update_rows.fleet("running", cast.NOW, [(one, state, 1) for one, state in zip(ids, states, strict=True)])
    FleetUpdateHost.update(wave=0).where(FleetUpdateHost.host == ids[0]).execute()

    page = charlie.get(f"{PATH}/{made.id}")

    cells = [
        [str(cell["class"][1]).partition("--")[2] for cell in wave.select(".tally__cell")]
        for wave in page.soup.select("#fleet-update-progress .waves__wave")
    ]
    assert cells == [["ok"], ["live", "failed", "todo", "asleep", "skip"]]
    assert row_texts(page, ".waves__name") == ["Canary , done", "Wave 1 , 0 of 5"]


def test_each_host_that_is_not_updated_says_why(
    charlie: Browser, bus: EventBus, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    web1, db1 = pair
    Host.update(is_pinned=True).where(Host.id == web1.id).execute()
    Host.update(connected_at=None).where(Host.id == db1.id).execute()
    planned = service.plan(bus, options={}, actor=cast.ALICE, now=cast.NOW)
    service.start(bus, fleet_update_id=planned.id, actor=cast.ALICE, now=cast.NOW)

    page = charlie.get(f"{PATH}/{planned.id}")

    assert "Pinned" in page.text(f"#update-host-{web1.id}")
    assert "by its owner" in page.text(f"#update-host-{web1.id}")
    assert "Offline" in page.text(f"#update-host-{db1.id}")
    assert "updated when it returns" in page.text(f"#update-host-{db1.id}")


def test_rows_can_be_narrowed_searched_and_paged(alice: Browser, release: Release) -> None:
    ids = add_many(130)
    made = update_rows.fleet(
        "running", cast.NOW, [(one, "succeeded" if n < 10 else "waiting", 1) for n, one in enumerate(ids)]
    )
    path = f"{PATH}/{made.id}"

    def shown(query: str) -> list[str]:
        return [str(row["id"]) for row in alice.get(f"{path}{query}").soup.select("tr[id^=update-host]")]

    assert [len(shown(f"?page={n}")) for n in (1, 2, 3)] == [50, 50, 30]
    assert len({row for n in (1, 2, 3) for row in shown(f"?page={n}")}) == 130
    assert len(shown("?show=done")) == 10
    assert shown("?q=host-0007") == [f"update-host-{ids[7]}"]
    nothing = alice.get(f"{path}?q=nothing")
    assert "No host matches" in nothing.text("#fleet-update-hosts")
    assert alice.get(f"{path}?show=rubbish&page=x").status == 200


def test_the_page_of_three_thousand_hosts_stays_small(alice: Browser, release: Release) -> None:
    ids = add_many(3000)
    made = update_rows.fleet("running", cast.NOW, [(one, "waiting", 1) for one in ids])

    page = alice.get(f"{PATH}/{made.id}")

    assert len(page.soup.select(".tally__cell")) <= fleet_update_words.MOST_TICKS + 10
    assert "One tick stands for 13 hosts." in page.text("#fleet-update-progress")
    assert len(page.response.data) < 120_000


# ---- what can be done -----------------------------------------------------------------------------------


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


# ---- events, history, lamp ------------------------------------------------------------------------------


def test_the_timeline_shows_the_newest_and_leads_to_all(alice: Browser, started: FleetUpdate) -> None:
    for n in range(120):
        update_rows.note(started, "host.succeeded", f"event {n}", cast.NOW)

    page = alice.get(f"{PATH}/{started.id}")
    every = alice.get(str(page.find("#fleet-update-events .card__head a")["href"]))

    assert len(page.soup.select("#fleet-update-events li")) == fleet_update_reading.EVENTS_SHOWN
    assert row_texts(page, "#fleet-update-events li")[0].endswith("event 119")
    assert len(every.soup.select(".timeline li")) == 100
    assert "event 0" in alice.get(str(every.find("a[rel=next]")["href"])).text("main")


def test_past_fleet_updates_stay_with_their_result(charlie: Browser, release: Release) -> None:
    ids = add_many(3)
    members = [(ids[0], "succeeded", 1), (ids[1], "failed", 1), (ids[2], "excluded", -1)]
    made = update_rows.fleet("completed_with_exceptions", cast.NOW, members)

    page = charlie.get(PATH)

    text = page.text(f"#past-{made.id}")
    assert "To 1.5.0" in text and "Completed with exceptions" in text
    assert "1 updated · 1 failed · 1 left out" in text
    past = charlie.get(f"{PATH}/{made.id}")
    assert past.text("h1") == "1 of 2 hosts runs agent 1.5.0. 1 host does not."
    assert not charlie.get("/").has("#lamps .lamp--news")


@pytest.mark.parametrize(
    ("state", "look", "text"),
    [
        ("running", "running", "1/2 updated"), ("paused", "warn", "update paused"),
        ("halted", "failed", "update halted"), ("cancelling", "warn", "update stopping"),
    ],
)  # fmt: skip
def test_the_bar_of_every_page_shows_the_fleet_update_that_is_under_way(
    charlie: Browser, release: Release, state: str, look: str, text: str
) -> None:
    ids = add_many(3)
    made = update_rows.fleet(
        state, cast.NOW, [(ids[0], "succeeded", 1), (ids[1], "waiting", 1), (ids[2], "excluded", -1)]
    )

    for path in ("/", "/alerts", "/repositories", f"/hosts/{ids[0]}", "/nowhere"):
        lamp = charlie.get(path).find("#lamps .lamp--news")
        assert f"lamp--{look}" in lamp["class"]
        assert " ".join(lamp.get_text(" ").split()) == text
        assert lamp["href"] == f"{PATH}/{made.id}"


def test_a_halt_needs_somebody_and_leads_to_the_decision(
    charlie: Browser, bus: EventBus, started: FleetUpdate
) -> None:  # fmt: skip
    fail_first(bus, started)

    needs = charlie.get("/").find("#needs")

    assert "Fleet update halted" in needs.get_text()
    assert needs.select_one(f'a[href="{PATH}/{started.id}"]')
    assert charlie.get("/alerts").find(f'#alerts a[href="{PATH}/{started.id}"]')


def test_settings_lead_to_what_whoever_asks_may_see(alice: Browser, charlie: Browser, release: Release) -> None:
    assert alice.get("/settings").response.headers["Location"] == "/settings/general"
    assert charlie.get("/settings").response.headers["Location"] == PATH
    assert "/settings/users" in [a["href"] for a in alice.get(PATH).soup.select(".tabs a")]
    charlies = [a["href"] for a in charlie.get(PATH).soup.select(".tabs a")]
    assert charlies == [PATH, "/settings/tokens", "/settings/account"]


def test_what_was_done_is_in_the_audit_log_in_words(alice: Browser, started: FleetUpdate) -> None:
    alice.post(f"{PATH}/{started.id}/pause", {"reason": "network"})

    assert "paused the" in alice.get("/audit").text("main")
    assert AuditEntry.select().where(AuditEntry.action == "fleet_update.paused").count() == 1


# ---- live -------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_update_view, "SUMMARY_SECONDS", 0.0)


def test_the_page_moves_by_itself_and_sends_only_what_changed(
    charlie: Browser, bus: EventBus, started: FleetUpdate, pair: tuple[EnrolledHost, EnrolledHost], quick: None
) -> None:
    web1, db1 = pair
    tab = Tab(charlie, f"/live/fleet-updates/{started.id}")
    first = tab.next()

    made = update_rows.attempt(db1.id, "running", cast.NOW, phase="verifying")
    FleetUpdateHost.update(state="updating", attempt_id=made.job_id).where(FleetUpdateHost.host == db1.id).execute()
    bus.publish(FleetUpdateChanged(started.id))
    moved = tab.next()
    UpdateAttempt.update(phase="selftest").execute()
    bus.publish(UpdateChanged(made.job_id, db1.id))
    again = tab.next()

    assert {"#fleet-update-head", "#fleet-update-hosts", "#fleet-update-progress", "#lamps", "#pager"} <= set(
        targets(first)
    )
    assert "db1 is being updated." in " ".join(part(moved, "#fleet-update-head").get_text().split())
    assert "#lamps" not in targets(moved)
    assert f"#update-host-{db1.id}" in targets(again)
    assert f"#update-host-{web1.id}" in targets(again) or "#fleet-update-hosts" not in targets(again)
    assert "Testing itself" in part(again, f"#update-host-{db1.id}").get_text()


def test_a_live_row_is_the_row_of_the_page(
    app: Flask, charlie: Browser, started: FleetUpdate, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    view = FleetUpdateView(app, Query(started.id), role="viewer")
    view.everything(cast.NOW)
    rows = [one for one in view.everything(cast.NOW) if one.target.startswith("#update-host-")]

    page = charlie.get(f"{PATH}/{started.id}")

    assert len(rows) == 2
    for one in rows:
        assert str(page.find(one.target)) == str(BeautifulSoup(one.html, "html.parser").tr)


def test_a_tab_renders_only_the_rows_of_its_page(app: Flask, release: Release) -> None:
    ids = add_many(120)
    made = update_rows.fleet("running", cast.NOW, [(one, "waiting", 1) for one in ids])
    view = FleetUpdateView(app, Query(made.id, page=2), role="admin")
    view.everything(cast.NOW)

    shown = [one.target for one in view.everything(cast.NOW) if one.target.startswith("#update-host-")]

    assert len(shown) == 50


def test_a_fleet_update_is_read_once_for_all_tabs_until_something_happens(
    bus: EventBus, started: FleetUpdate, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    fleets = Fleets(bus)
    first = fleets.get(started, cast.NOW)

    assert fleets.get(started, cast.NOW) is first
    for event in (FleetUpdateChanged(started.id), UpdateChanged("job", pair[0].id)):
        bus.publish(event)
        again = fleets.get(started, cast.NOW)
        assert again is not first
        first = again


def test_hosts_that_wait_alike_are_each_named_for_themselves(charlie: Browser, release: Release) -> None:
    ids = add_many(4)
    made = update_rows.fleet(
        "running", cast.NOW, [(one, "updating" if n == 0 else "waiting", 1) for n, one in enumerate(ids)]
    )

    page = charlie.get(f"{PATH}/{made.id}")

    for n in (1, 2, 3):
        assert f"host-000{n} waits for a free slot: host-0000 is being updated" in page.text(f"#update-host-{ids[n]}")


def test_what_happens_elsewhere_is_not_looked_at(app: Flask, started: FleetUpdate) -> None:
    view = FleetUpdateView(app, Query(started.id), role="viewer")
    view.everything(cast.NOW)

    assert view.changed([FleetUpdateChanged("another"), UpdateChanged("job", "stranger")], cast.NOW) == []
    assert not view.is_behind


def test_many_changes_are_shown_at_most_once_a_second(
    app: Flask, started: FleetUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_update_view, "SUMMARY_SECONDS", 3600.0)
    view = FleetUpdateView(app, Query(started.id), role="viewer")
    view.everything(cast.NOW)

    assert view.changed([FleetUpdateChanged(started.id)] * 5, cast.NOW) == []
    assert view.is_behind


def test_the_live_page_offers_a_viewer_nothing_to_press(
    app: Flask, bus: EventBus, started: FleetUpdate
) -> None:  # fmt: skip
    fail_first(bus, started)

    viewer, admin = (
        "".join(one.html for one in FleetUpdateView(app, Query(started.id), role=role).everything(cast.NOW))
        for role in ("viewer", "admin")
    )

    assert "<form" not in viewer and "data-dialog" not in viewer
    assert "data-dialog" in admin


def test_long_and_strange_names_are_harmless_on_every_page(
    alice: Browser, bus: EventBus, pair: tuple[EnrolledHost, EnrolledHost], started: FleetUpdate
) -> None:
    Host.update(name="<b>\u202e" + "x" * 200).where(Host.id == pair[1].id).execute()
    fail_first(bus, started)

    for path in (PATH, f"{PATH}/{started.id}", f"{PATH}/{started.id}/events", f"{PATH}/{started.id}/skip"):
        page = alice.get(path)
        assert page.status == 200
        assert "\u202e" not in page.text()
        assert "<b>\\u202e" not in str(page.soup) or "&lt;b&gt;" in str(page.soup)


def test_without_scripts_the_page_says_that_it_does_not_move(charlie: Browser, started: FleetUpdate) -> None:
    page = charlie.get(f"{PATH}/{started.id}")

    assert page.find(f'noscript a[href="{PATH}/{started.id}"]')
    assert page.find("#members form")["method"] == "get"


def add_many(count: int) -> list[str]:
    """So many hosts that are connected and one release behind, in the order of their names."""
    rows = [
        {
            "id": new_ulid(), "name": f"host-{n:04}", "hostname": f"host-{n:04}", "os": "linux", "arch": "amd64",
            "init": "systemd", "agent_version": OLD[0], "agent_seq": OLD[1], "enrolled_at": cast.NOW,
            "first_hello_at": cast.NOW, "connected_at": cast.NOW, "last_seen_at": cast.NOW, "guard_version": "2",
        }
        for n in range(count)
    ]  # fmt: skip
    for at in range(0, count, 500):
        Host.insert_many(rows[at : at + 500]).execute()
    return [str(row["id"]) for row in rows]
